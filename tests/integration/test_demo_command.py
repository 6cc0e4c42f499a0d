"""What the demo's command says and chooses before anything is started."""

import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from agent.cli.demo import DEFAULT_PORT, _page_port, demo
from agent.demo.home_files import end_of
from agent.demo.launch import allow_open_files
from agent.demo.neighbours import built_in
from agent.demo.options import DemoOptions
from agent.demo.settle_in import settle_in
from coordinator.clock import WallClock
from coordinator.errors import ConfigError


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else uses."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def test_a_taken_port_is_refused_when_it_was_asked_for(taken: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agent.cli.main", "demo", "--port", str(taken)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 2
    assert f"--port {taken}: another program uses it" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_next_free_port_is_taken_when_none_was_asked_for(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.cli.demo.DEFAULT_PORT", taken)
    chosen = _page_port(None)
    assert taken < chosen < taken + 20
    with socket.create_server(("127.0.0.1", chosen)):
        pass  # it is free indeed
    assert DEFAULT_PORT == 8080


def test_no_free_port_is_told_with_its_cure(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.cli.demo.DEFAULT_PORT", taken)
    monkeypatch.setattr("agent.cli.demo.PORTS_TRIED", 1)
    with pytest.raises(ConfigError, match="--port"):
        _page_port(None)


def test_the_demo_may_open_as_many_files_as_the_system_allows() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        allow_open_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(("hours", "periods"), [(0.25, 1), (0.3, 2), (1.5, 6), (24, 96)])
def test_the_books_end_after_whole_trading_periods(tmp_path: Path, hours: float, periods: int) -> None:
    options = DemoOptions(folder=tmp_path, hours=hours)
    street = built_in(options)
    assert (end_of(options, street) - street.start_at).total_seconds() == periods * 900


def test_a_report_or_a_folder_that_cannot_be_written_is_told_before_the_demo_begins(tmp_path: Path) -> None:
    """Not after the minutes it takes, with its table thrown away."""
    nowhere = tmp_path / "none" / "report.json"
    with pytest.raises(ConfigError, match=r"--report .* cannot be written: No such file or directory"):
        demo(report=nowhere, no_page=True)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"--keep .* cannot be made: File exists"):
        demo(keep=tmp_path / "file", no_page=True)


def test_an_interrupted_demo_says_where_the_kept_files_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("agent.cli.demo_play.play", lambda options, *, quiet: None)
    with pytest.raises(typer.Exit):
        demo(keep=tmp_path / "kept", no_page=True)
    assert f"Its files are kept in {tmp_path}/kept." in capsys.readouterr().err


def test_a_recorded_home_whose_name_no_charter_takes_is_named_with_the_cure(tmp_path: Path) -> None:
    options = DemoOptions(folder=tmp_path, homes=2)
    street = built_in(options)
    first = replace(street.homes[0], name="Number 12 (the blue house)")
    with pytest.raises(ConfigError, match=r"home 'Number 12 \(the blue house\)' cannot be a member .* change it in"):
        settle_in(options, replace(street, homes=(first, street.homes[1])), WallClock().now())
