"""Every part of every home a process of its own: any one of them may be killed, and the others go on trading."""

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo_helpers import RunningDemo, check_report, children, open_ports, running_demo
from ledger_checks import prove_by_exports

from agent.demo.launch import PARTS, Part, last_line
from agent.demo.options import DEFAULT_START, DemoOptions


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name: a guard's socket lies in it, and a socket's path may not be long."""
    with tempfile.TemporaryDirectory(prefix="cw-") as name:
        yield Path(name)


HOMES = ("home-1", "home-2", "home-3")
"""Sun and battery, sun, battery: the third buys from either of the others."""


def kill(street: RunningDemo, home: str, part: Part) -> int:
    """Kill a process without a warning; return its id."""
    pid = street.demo.launcher.pids()[home][part]
    os.kill(pid, signal.SIGKILL)
    return pid


async def killed_and_restarted(street: RunningDemo, home: str, part: Part) -> None:
    others = [name for name in HOMES if name != home]
    pid = kill(street, home, part)
    after_kill = street.soon()
    await street.until(
        lambda: (home, part) in street.progress.ended, f"the demo notices that the {part} of {home} is gone"
    )
    assert "SIGKILL" in street.progress.ended[home, part]
    await street.until(
        lambda: street.trades_among(others, after_kill), f"the others trade without the {part} of {home}"
    )
    await street.demo.launcher.start(street.file(home), part)
    assert street.demo.launcher.pids()[home][part] != pid
    after_restart = street.soon()
    await street.until(
        lambda: street.partners(home, after_restart), f"{home} trades again after its {part}'s return", 60
    )
    await street.until(lambda: street.home(home).state.quality == "valid", f"{home} reads its devices")


@pytest.mark.mosquitto
@pytest.mark.timeout(240)
def test_a_killed_agent_broker_or_device_stops_nobody_else_and_comes_back(folder: Path) -> None:
    before = children()

    async def scenario() -> RunningDemo:
        options = DemoOptions(folder=folder, homes=3, hours=12, speed=360.0, page=False, processes=True)
        async with running_demo(options) as street:
            pids = street.demo.launcher.pids()
            assert {name: set(parts) for name, parts in pids.items()} == {name: set(PARTS) for name in HOMES}
            assert len({pid for parts in pids.values() for pid in parts.values()}) == 9
            for name in HOMES:
                await street.until(lambda name=name: street.partners(name, DEFAULT_START), f"{name} trades")
            await killed_and_restarted(street, "home-1", "agent")
            await killed_and_restarted(street, "home-2", "broker")
            await killed_and_restarted(street, "home-2", "simulator")
            pids = street.demo.launcher.pids()
            report = await street.report()
            check_report(report, 3)
            assert report["pids"] == pids
        return street

    street = asyncio.run(scenario())
    assert children() - before == set()
    assert open_ports(street.demo) == []
    prove_by_exports(street, HOMES, folder)
    for name in HOMES:
        for part in PARTS:
            assert "Traceback" not in (street.file(name).folder / f"{part}.log").read_text(), (name, part)
            assert last_line(street.file(name).folder / f"{part}.log")
