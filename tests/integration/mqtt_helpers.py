"""What the MQTT and broker tests share: homes' users, links, waiting, and a client without manners."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
from pydantic import SecretStr

from coordinator.broker import BrokerUser, home_users
from coordinator.clock import WallClock
from coordinator.links import Inbound, LinkNotice, LinkOptions, LinkSettings
from coordinator.mosquitto import open_broker
from coordinator.sealing import Sealer
from coordinator.transport import Transport

COMMUNITY = "00112233445566aa"
HOME = "homeaaaaaaaaaaaa"
PEER = "peerbbbbbbbbbbbb"
OTHER = "peercccccccccccc"
PUB = f"cw/1/{COMMUNITY}/{HOME}/pub"
TO_PEER = f"cw/1/{COMMUNITY}/{HOME}/to/{PEER}"
TO_OTHER = f"cw/1/{COMMUNITY}/{HOME}/to/{OTHER}"

BROKER_KINDS = [
    "embedded",
    pytest.param("mosquitto", marks=pytest.mark.mosquitto),
    pytest.param("mosquitto", marks=pytest.mark.mosquitto_2_1, id="mosquitto-2.1"),
]

QUICK = LinkOptions(retry_min_s=0.05, retry_max_s=0.2, watch_s=0.1, flood_per_s=1e6)


def users(owner_password: str = "owner-pw") -> tuple[BrokerUser, ...]:
    return home_users(COMMUNITY, HOME, owner_password, {PEER: "peer-pw", OTHER: "other-pw"})


def broker(kind: str, port: int = 0, owner_password: str = "owner-pw"):
    return open_broker(kind, port=port, users=users(owner_password))


def owner_link(
    url: str, name: str = "own", subscribe: tuple[str, ...] = (), password: str = "owner-pw"
) -> LinkSettings:
    return LinkSettings(
        name=name, url=url, username="owner", password=SecretStr(password), publish=True, subscribe=subscribe
    )


def peer_link(
    url: str, subscribe: tuple[str, ...] = (PUB, TO_PEER), publish: bool = False, who: str = PEER, name: str = "home-1"
) -> LinkSettings:
    password = {PEER: "peer-pw", OTHER: "other-pw"}[who]
    return LinkSettings(
        name=name, url=url, username=who, password=SecretStr(password), publish=publish, subscribe=subscribe
    )


@dataclass
class Station:
    """A transport, all it received so far and all it told its owner."""

    transport: Transport
    received: list[Inbound] = field(default_factory=list)
    notices: list[LinkNotice] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        return [notice.text for notice in self.notices]

    @property
    def payloads(self) -> list[bytes]:
        return [inbound.payload for inbound in self.received]

    @property
    def up(self) -> bool:
        return all(link.connected for link in self.transport.links)


@contextlib.asynccontextmanager
async def station(
    *links: LinkSettings, options: LinkOptions = QUICK, wait: bool = True, sealer: Sealer | None = None
) -> AsyncIterator[Station]:
    notices: list[LinkNotice] = []
    transport = Transport(links, WallClock(), notices.append, options=options, sealer=sealer)
    async with transport:
        here = Station(transport, notices=notices)

        async def read() -> None:
            async for inbound in transport:
                here.received.append(inbound)

        reader = asyncio.create_task(read())
        if wait:
            await until(lambda: here.up)
        yield here
    await reader


async def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


def mqtt_string(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("!H", len(data)) + data


def packet(first_byte: int, body: bytes) -> bytes:
    length, encoded = len(body), bytearray()
    while True:
        length, low = divmod(length, 128)
        encoded.append(low | (128 if length else 0))
        if not length:
            return bytes([first_byte]) + bytes(encoded) + body


def raw_client(
    port: int,
    client_id: str,
    password: str,
    keepalive_s: int = 0,
    will: tuple[str, bytes] | None = None,
    *,
    user: str = "owner",
    will_retained: bool = False,
) -> socket.socket:
    """Connect with a bare socket; the caller reads the answer, or does not."""
    flags = 0x80 | 0x40 | 0x02 | (0x04 if will else 0) | (0x20 if will_retained else 0)
    body = mqtt_string("MQTT") + bytes([4, flags]) + struct.pack("!H", keepalive_s) + mqtt_string(client_id)
    if will:
        body += mqtt_string(will[0]) + mqtt_string(will[1])
    body += mqtt_string(user) + mqtt_string(password)
    sock = socket.create_connection(("127.0.0.1", port), timeout=10)
    sock.sendall(packet(0x10, body))
    return sock
