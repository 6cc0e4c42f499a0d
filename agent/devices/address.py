"""Where a device is reached: three kinds of link, one way to write each. Pure."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from coordinator.errors import ConfigError

Kind = Literal["tcp", "rtu+tcp", "serial"]
"""Modbus TCP; the frames of a serial line inside a TCP connection; a serial line."""

EXAMPLES = "tcp://192.168.1.20:502, rtu+tcp://192.168.1.20:8899 or serial:///dev/ttyUSB0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """How a serial line is set.

    Attributes:
        format: Data bits, parity, stop bits: `8N1`.
        echo: Whether the adapter hears its own requests.
    """

    baud: int = 9600
    format: str = "8N1"
    echo: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a link leads; `host` and `port` for the network, `path` for a serial port."""

    kind: Kind
    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def url(self) -> str:
        """The address as it is written; equal addresses are one link."""
        return f"serial://{self.path}" if self.kind == "serial" else f"{self.kind}://{self.host}:{self.port}"


def parse_address(url: str) -> Address:
    """Return the address in a URL.

    Raises:
        ConfigError: If it is none.
    """
    refusal = ConfigError(f"{url!r} is no device address; write it like {EXAMPLES}")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 0
    except ValueError:
        raise refusal from None
    bare = not parts.query and not parts.fragment and not parts.username
    if parts.scheme == "serial" and bare and not parts.netloc and len(parts.path) > 1:
        return Address(kind="serial", path=parts.path)
    if parts.scheme in ("tcp", "rtu+tcp") and bare and host and port and parts.path in ("", "/"):
        shown = f"[{host}]" if ":" in host else host
        return Address(kind="tcp" if parts.scheme == "tcp" else "rtu+tcp", host=shown, port=port)
    raise refusal
