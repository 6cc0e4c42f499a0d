"""What systemd hears of the guard, and what its unit file makes of silence."""

import configparser
import socket
from pathlib import Path

import pytest

from agent.control.pulse import BEAT_S
from agent.guard_watchdog import notify_systemd

UNIT = Path(__file__).parents[2] / "firmware-config/raspberry-pi/commonwatt-guard.service"


def unit(section: str) -> dict[str, str]:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(UNIT)
    return dict(parser[section])


@pytest.mark.parametrize("abstract", [False, True])
def test_s7_systemd_hears_each_word_on_the_socket_it_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool
) -> None:
    name = f"@{tmp_path.name}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name.replace("@", "\0", 1))
        systemd.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        for word in ("READY=1", "WATCHDOG=1"):
            notify_systemd(word)
            assert systemd.recv(100) == word.encode()


def test_a_guard_nobody_watches_says_nothing_and_one_whose_watcher_is_gone_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify_systemd("WATCHDOG=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify_systemd("WATCHDOG=1")


def test_s7_the_unit_ends_a_silent_guard_and_gives_it_no_network_but_the_home_s_own() -> None:
    service = unit("Service")
    assert (service["Type"], service["Restart"], service["IPAddressDeny"]) == ("notify", "always", "any")
    assert 10 * BEAT_S <= float(service["WatchdogSec"]) <= 10
    assert unit("Unit")["StartLimitBurst"] == "5"
