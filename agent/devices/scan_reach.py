"""Whether what a scan shall look at is there at all: a name that nobody knows, a serial port that does not exist."""

import os
import socket
from collections.abc import Iterable
from pathlib import Path

from agent.devices.address import Address
from coordinator.errors import ConfigError

_PORTS = ("ttyUSB*", "ttyACM*", "ttyAMA*")
"""As the kernel calls the serial ports of adapters, boards and the Pi's pins; a ttyS is there even where none is."""


def check_reach(addresses: Iterable[Address], devices: Path = Path("/dev")) -> None:
    """Refuse what no waiting would find; nothing is connected.

    Args:
        devices: Where serial ports lie.

    Raises:
        ConfigError: If a host has no address, or a port does not exist or is closed to this user.
    """
    hosts: dict[str, None] = {}
    for address in addresses:
        if address.kind == "serial":
            _check_port(Path(address.path), devices)
        else:
            hosts[address.host.strip("[]")] = None
    for host in hosts:
        _check_host(host)


def _check_port(port: Path, devices: Path) -> None:
    if not port.exists():
        there = sorted(str(path) for pattern in _PORTS for path in devices.glob(pattern))
        cure = f"there are {', '.join(there)}" if there else "there is none at all: is the adapter plugged in?"
        raise ConfigError(f"{port}: no such serial port; {cure}")
    if not os.access(port, os.R_OK | os.W_OK):
        raise ConfigError(f"{port} is closed to this user: put it into the port's group (usermod -aG dialout USER)")


def _check_host(host: str) -> None:
    try:
        socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        why = error.strerror if isinstance(error, socket.gaierror) else "it is no name"
        raise ConfigError(f"{host}: no such host ({why}): correct the name, or write its address") from None
