"""Where a scan looks: addresses out of what an owner writes, bounded. Pure."""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agent.devices.address import Address, parse_address
from coordinator.errors import ConfigError

MOST_HOSTS = 1024
"""A home's network is a /24; who means more has probably mistyped it."""
MOST_UNITS = 32
EXAMPLES = "192.168.1.20, 192.168.1.20:1502, 192.168.1.10-40, 192.168.1.0/24 or /dev/ttyUSB0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """A TCP port at which Modbus devices listen, and whether they speak the frames of a serial line there."""

    port: int
    rtu: bool = False

    def at(self, host: str) -> Address:
        return Address(kind="rtu+tcp" if self.rtu else "tcp", host=host, port=self.port)


def targets(texts: Iterable[str], doors: Sequence[Door], *, many: bool = False) -> list[list[Address]]:
    """Return the addresses to look at; those of one host stand together, to be tried one after the other.

    Args:
        texts: Hosts, ranges of them, each perhaps with a port, device URLs, and serial ports.
        doors: Ports to try where a text names none.
        many: Whether more than `MOST_HOSTS` hosts are meant.

    Raises:
        ConfigError: If a text means nothing, or too much.
    """
    found: dict[str, dict[str, Address]] = {}
    for text in texts:
        if "://" in text or text.startswith("/"):
            places = [parse_address(text if "://" in text else f"serial://{text}")]
        else:
            host, port = _without_port(text)
            hosts = _hosts(host, text, many=many)
            places = [door.at(each) for each in hosts for door in ([Door(port=port)] if port else doors)]
        for place in places:
            found.setdefault(place.host or place.path, {})[place.url] = place
        if len(found) > MOST_HOSTS and not many:
            raise _too_many(text, len(found))
    return [list(places.values()) for places in found.values()]


def parse_units(text: str) -> list[int]:
    """Return unit ids out of a text like `1-4,71`.

    Raises:
        ConfigError: If it names none, or more than is polite.
    """
    chosen: dict[int, None] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,3})(?:-(\d{1,3}))?\s*", part)
        if match is None:
            raise ConfigError(f"{text!r} names no unit ids: write them like 1-4,71")
        first, last = int(match[1]), int(match[2] or match[1])
        if not 0 <= first <= last <= 247:
            raise ConfigError(f"{part!r} are no unit ids: they lie between 0 and 247")
        chosen |= dict.fromkeys(range(first, last + 1))
    if len(chosen) > MOST_UNITS:
        raise ConfigError(
            f"{text} are {len(chosen)} unit ids: each silent one costs seconds, so name at most {MOST_UNITS} at a time"
        )
    return list(chosen)


def _without_port(text: str) -> tuple[str, int | None]:
    host, colon, port = text.rpartition(":")
    if not colon or ":" in host:
        return text, None
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise ConfigError(f"{text!r} has no port after the colon: write it like {EXAMPLES}")
    return host, int(port)


def _hosts(host: str, text: str, *, many: bool) -> list[str]:
    if "/" in host:
        return _network(host, text, many=many)
    span = re.fullmatch(r"(\d+\.\d+\.\d+\.\d+)-(?:(\d+\.\d+\.\d+\.\d+)|(\d{1,3}))", host)
    if span is not None:
        first = span[1]
        return _span(first, span[2] or f"{first.rpartition('.')[0]}.{span[3]}", text, many=many)
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f:]*:[0-9A-Fa-f:]*", host):
        raise ConfigError(f"{text!r} is no host, range or serial port: write it like {EXAMPLES}")
    if re.fullmatch(r"[0-9.]+", host) and not _is_address(host):
        raise ConfigError(f"{text!r} is no address: an address has four numbers from 0 to 255, like 192.168.1.20")
    return [f"[{host}]" if ":" in host else host]


def _is_address(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True


def _network(host: str, text: str, *, many: bool) -> list[str]:
    try:
        network = ipaddress.ip_network(host, strict=False)
    except ValueError:
        raise ConfigError(f"{text!r} is no network: write it like 192.168.1.0/24") from None
    if network.num_addresses > MOST_HOSTS and (network.version == 6 or not many):
        raise _too_many(text, network.num_addresses)
    return [f"[{each}]" if network.version == 6 else str(each) for each in network.hosts()]


def _span(first: str, last: str, text: str, *, many: bool) -> list[str]:
    try:
        start, end = int(ipaddress.IPv4Address(first)), int(ipaddress.IPv4Address(last))
    except ValueError:
        raise ConfigError(f"{text!r} is no range of addresses: write it like 192.168.1.10-40") from None
    if end < start:
        raise ConfigError(f"{text!r} ends before it begins: write the lower address first")
    if end - start >= MOST_HOSTS and not many:
        raise _too_many(text, end - start + 1)
    return [str(ipaddress.IPv4Address(number)) for number in range(start, end + 1)]


def _too_many(text: str, count: int) -> ConfigError:
    return ConfigError(
        f"{text} makes {count} hosts, more than {MOST_HOSTS}: name the part where your devices are, or say --many"
    )
