"""A whole neighbourhood on one machine: it trades, all ledgers agree, and nothing is left behind."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo_helpers import REPORT_KEYS, check_report, children, descendants, open_ports, threads

from agent.demo.director import Demo, Progress
from agent.demo.home_files import HomeFiles
from agent.demo.launch import Part
from agent.demo.options import DemoOptions
from coordinator.errors import CommonwattError

pytestmark = pytest.mark.timeout(180)
"""A busy machine slows a demo's time down."""

COMMAND = [sys.executable, "-m", "agent.cli.main", "demo", "--no-page"]


@pytest.mark.parametrize(
    ("broker", "hours"), [pytest.param("mosquitto", 1.5, marks=pytest.mark.mosquitto), ("embedded", 0.5)]
)
def test_a_short_demo_trades_agrees_and_leaves_nothing_behind(tmp_path: Path, broker: str, hours: float) -> None:
    threads_before, children_before = threads(), children()
    demo = Demo(DemoOptions(folder=tmp_path, hours=hours, broker=broker, page=False))  # type: ignore[arg-type]
    seen: list[Progress] = []
    report = asyncio.run(demo.run(seen.append))
    check_report(report, 6)
    assert report.keys() == REPORT_KEYS
    assert report["slots"] == 4 * hours
    assert (report["community"], report["currency"]) == ("Demo Street", "EUR")
    assert sum(home["bought_wh"] for home in report["homes"]) == sum(home["sold_wh"] for home in report["homes"]) > 0
    assert sum(home["contracts"] for home in report["homes"]) == 2 * report["contracts_counted"]
    assert 0 < report["trade_share"] <= 1
    assert any(home["bill_traded"] < home["bill_alone"] for home in report["homes"])
    assert [progress.homes_there for progress in seen][-1] == 6
    assert threads() - threads_before == set()
    assert children() - children_before == set()
    assert open_ports(demo) == []


def test_the_first_trading_period_is_traded_however_long_the_homes_took_to_start(tmp_path: Path) -> None:
    async def scenario() -> dict[str, object]:
        demo = Demo(DemoOptions(folder=tmp_path, homes=2, hours=0.25, page=False))
        really_start = demo.launcher.start

        async def slow_start(home: HomeFiles, part: Part) -> None:
            if (home.name, part) == ("home-2", "agent"):
                await asyncio.sleep(3)  # 18 simulated minutes at the demo's speed
            await really_start(home, part)

        demo.launcher.start = slow_start  # type: ignore[method-assign]
        return await demo.run()

    report = asyncio.run(scenario())
    assert report["slots"] == 1
    assert report["rounds_mean"] > 0
    check_report(report, 2)


def test_a_home_that_cannot_start_ends_the_demo_with_the_reason_and_leaves_nothing_behind(tmp_path: Path) -> None:
    threads_before, children_before = threads(), children()
    demo = Demo(DemoOptions(folder=tmp_path, homes=2, hours=1, page=False))

    async def scenario() -> None:
        really_start = demo.launcher.start

        async def start(home: HomeFiles, part: Part) -> None:
            if (home.name, part) == ("home-2", "agent"):
                (home.folder / "key.pem").write_text("no key")
            await really_start(home, part)

        demo.launcher.start = start  # type: ignore[method-assign]
        await demo.run()

    with pytest.raises(CommonwattError, match=r"key\.pem"):
        asyncio.run(scenario())
    assert threads() - threads_before == set()
    assert children() - children_before == set()
    assert open_ports(demo) == []


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A TMPDIR of its own that Mosquitto's own user may enter, too."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o711)
        yield Path(folder)


def test_the_command_prints_the_report_and_removes_its_folder(scratch: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--hours", "0.5", "--json"],
        env={**os.environ, "TMPDIR": str(scratch)},
        capture_output=True,
        timeout=55,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    report = json.loads(done.stdout)
    assert report.keys() == REPORT_KEYS
    check_report(report, 6)
    assert list(scratch.iterdir()) == []


def test_ctrl_c_in_mid_run_leaves_nothing_behind(scratch: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "--homes", "3", "--hours", "12"],
        env={**os.environ, "TMPDIR": str(scratch)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # the terminal's process group, as a shell would make it
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "slots settled" in line:
                break
        family = descendants(process.pid)
        assert list(scratch.iterdir()), "the demo's files were not there to be removed"
        begun = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(10) == 130
        assert time.monotonic() - begun < 20
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    assert "Traceback" not in said
    assert "everything was stopped" in said
    assert "Nothing is left behind." in said
    assert [pid for pid in family if Path(f"/proc/{pid}").exists()] == []
    assert list(scratch.iterdir()) == []
