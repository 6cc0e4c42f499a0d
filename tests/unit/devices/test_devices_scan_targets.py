import socket
from pathlib import Path

import pytest

from agent.devices.address import parse_address
from agent.devices.scan_reach import check_reach
from agent.devices.scan_targets import Door, parse_units, targets
from coordinator.errors import ConfigError

DOORS = [Door(port=502), Door(port=8899, rtu=True)]


def urls(*texts: str, many: bool = False) -> list[str]:
    return [address.url for group in targets(texts, DOORS, many=many) for address in group]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.168.1.20", ["tcp://192.168.1.20:502", "rtu+tcp://192.168.1.20:8899"]),
        ("inverter.local:1502", ["tcp://inverter.local:1502"]),
        ("10.0.0.1-2:502", ["tcp://10.0.0.1:502", "tcp://10.0.0.2:502"]),
        ("10.0.0.254-10.0.1.1:502", [f"tcp://10.0.{host}:502" for host in ("0.254", "0.255", "1.0", "1.1")]),
        ("10.0.0.0/30:502", ["tcp://10.0.0.1:502", "tcp://10.0.0.2:502"]),
        ("10.0.0.7/32:502", ["tcp://10.0.0.7:502"]),
        ("rtu+tcp://10.0.0.7:4001", ["rtu+tcp://10.0.0.7:4001"]),
        ("/dev/ttyUSB0", ["serial:///dev/ttyUSB0"]),
        ("::1", ["tcp://[::1]:502", "rtu+tcp://[::1]:8899"]),
    ],
)
def test_what_an_owner_writes_becomes_addresses(text: str, expected: list[str]) -> None:
    assert urls(text) == expected


def test_ports_of_one_host_stand_together_and_no_address_comes_twice() -> None:
    groups = targets(["10.0.0.0/30", "10.0.0.1", "10.0.0.2:1502"], DOORS)
    assert [[address.port for address in group] for group in groups] == [[502, 8899], [502, 8899, 1502]]


@pytest.mark.parametrize("text", ["10.0.0.0/21", "10.0.0.0-10.0.4.0", "fd00::/64"])
def test_more_than_a_thousand_hosts_are_refused_unless_meant(text: str) -> None:
    with pytest.raises(ConfigError, match=r"more than 1024: name the part .* or say --many"):
        urls(text)


def test_many_hosts_are_looked_at_when_the_owner_says_so() -> None:
    assert len(targets(["10.0.0.0/21"], DOORS, many=True)) == 2046
    with pytest.raises(ConfigError, match="makes 18446744073709551616 hosts"):
        urls("fd00::/64", many=True)


def test_many_small_ranges_are_as_much_as_a_large_one() -> None:
    with pytest.raises(ConfigError, match="more than 1024"):
        urls("10.0.0.0/22", "10.0.4.0/22")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("10.0.0.0/33", "is no network"),
        ("10.0.0.9-3", "ends before it begins"),
        ("10.0.0.1-999", "is no range of addresses"),
        ("192.168.1.300", "is no address: an address has four numbers from 0 to 255"),
        ("192.168.1:502", "is no address: an address has four numbers from 0 to 255"),
        ("10.0.0.1:port", "has no port after the colon"),
        ("10.0.0.1:0", "has no port after the colon"),
        ("all of them", "is no host, range or serial port"),
        ("http://10.0.0.1", "is no device address"),
    ],
)
def test_a_text_that_means_nothing_is_refused_with_an_example(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        urls(text)


def test_units_are_named_one_by_one_or_in_ranges_and_are_bounded() -> None:
    assert parse_units("1-3, 71,2") == [1, 2, 3, 71]
    for text, words in (("1-247", "247 unit ids"), ("300", "between 0 and 247"), ("5-2", "between"), ("a", "names no")):
        with pytest.raises(ConfigError, match=words):
            parse_units(text)


def test_a_name_nobody_knows_is_told_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    check_reach([parse_address("tcp://127.0.0.1:502"), parse_address("tcp://[::1]:502")])

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)  # asks no real name server
    with pytest.raises(ConfigError, match=r"^inverter\.lokal: no such host \(Name or service not known\): correct"):
        check_reach([parse_address("tcp://inverter.lokal:502")])


def test_a_serial_port_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    missing = [parse_address(f"serial://{tmp_path}/ttyUSB9")]
    with pytest.raises(ConfigError, match=r"no such serial port; there is none at all: is the adapter plugged in\?"):
        check_reach(missing, tmp_path)
    for name in ("ttyUSB0", "ttyACM1", "ttyS0"):
        (tmp_path / name).touch()
    with pytest.raises(ConfigError, match=f"no such serial port; there are {tmp_path}/ttyACM1, {tmp_path}/ttyUSB0$"):
        check_reach(missing, tmp_path)
    check_reach([parse_address(f"serial://{tmp_path}/ttyUSB0")], tmp_path)
