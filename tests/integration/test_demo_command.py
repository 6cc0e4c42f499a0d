"""What the demo's command says and chooses before anything is started."""

import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.cli.demo import DEFAULT_PORT, _page_port
from agent.demo.home_files import end_of
from agent.demo.launch import allow_open_files
from agent.demo.neighbours import built_in
from agent.demo.options import DemoOptions
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
