"""A wire between two programs that somebody holds in hand: it is cut, goes silent, or says something else.

Whoever carries the neighbours' messages, or runs a broker or a name server, can do no more than what is here.
"""

import asyncio
import contextlib
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

sys.path.append(str(Path(__file__).parents[1] / "integration"))

from mqtt_helpers import mqtt_string, packet

CONNECT, PUBLISH, PUBACK = 1, 3, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A message on its way from a broker to one of its readers."""

    reader: str
    topic: str
    payload: bytes


Trick = Callable[[Heard], Iterator[tuple[float, str, bytes]]]
"""What is said instead: (delay in wall seconds, topic, payload) of any number of messages."""


@dataclass
class Wire:
    """A TCP wire to `target` on this machine.

    Attributes:
        state: `open` passes everything on, `cut` closes every connection, `silent` takes all and answers nothing.
        garble: Changes what the far end answers.
        on_request: Called when the near end asks something.
    """

    port: int
    target: int
    state: Literal["open", "cut", "silent"] = "open"
    garble: Callable[[bytes], bytes] | None = None
    on_request: Callable[[], None] | None = None
    _server: asyncio.Server | None = None
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._hang_up()

    async def become(self, state: Literal["open", "cut", "silent"]) -> None:
        """Change over; connections that lost something in between begin anew."""
        self.state = state
        if state != "silent":
            await self._hang_up()

    async def _hang_up(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, near: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self.state != "cut":
                await self._carry(near, answer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # cancelled by us: Python 3.11 would log it as an error of the server
        finally:
            self._tasks.discard(task)
            answer.transport.abort()

    async def _carry(self, near: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        far, ask = await asyncio.open_connection("127.0.0.1", self.target)
        try:
            await _both(self._up(near, ask), self._down(far, answer, ask))
        finally:
            ask.transport.abort()

    async def _up(self, near: asyncio.StreamReader, ask: asyncio.StreamWriter) -> None:
        while data := await near.read(65536):
            if self.on_request is not None:
                self.on_request()
            if self.state == "open":
                ask.write(data)
                await ask.drain()

    async def _down(self, far: asyncio.StreamReader, answer: asyncio.StreamWriter, ask: asyncio.StreamWriter) -> None:
        while data := await far.read(65536):
            if self.state == "open":
                answer.write(self.garble(data) if self.garble else data)
                await answer.drain()


@dataclass
class BrokerWire(Wire):
    """The wire from a broker to its readers, in the hands of who runs the broker.

    Attributes:
        trick: What readers are told instead of what the broker says; it is told with QoS 0.
        no_way_for: Readers (user names) whose connections are closed.
    """

    trick: Trick | None = None
    no_way_for: frozenset[str] = frozenset()
    told: int = 0
    """How many messages came of tricks."""

    async def refuse(self, readers: frozenset[str]) -> None:
        self.no_way_for = readers
        await self._hang_up()

    async def _carry(self, near: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        first, body = await read_packet(near)
        reader = user_of(body) if first >> 4 == CONNECT else ""
        if reader in self.no_way_for:
            return
        far, ask = await asyncio.open_connection("127.0.0.1", self.target)
        ask.write(packet(first, body))
        try:
            await _both(self._up(near, ask), self._read_out(far, answer, ask, reader))
        finally:
            ask.transport.abort()

    async def _read_out(
        self, far: asyncio.StreamReader, answer: asyncio.StreamWriter, ask: asyncio.StreamWriter, reader: str
    ) -> None:
        while True:
            first, body = await read_packet(far)
            if self.state != "open":
                continue
            if first >> 4 != PUBLISH or self.trick is None:
                answer.write(packet(first, body))
            else:
                topic, payload, number = opened(first, body)
                if number is not None:
                    ask.write(packet(PUBACK << 4, number))
                for delay_s, said_on, said in self.trick(Heard(reader=reader, topic=topic, payload=payload)):
                    on = mqtt_string(said_on.encode(errors="surrogateescape"))
                    self._say(answer, delay_s, packet(PUBLISH << 4, on + said))
            await answer.drain()

    def _say(self, answer: asyncio.StreamWriter, delay_s: float, data: bytes) -> None:
        self.told += 1

        def now() -> None:
            if not answer.transport.is_closing():
                answer.write(data)

        if delay_s <= 0:
            now()
        else:
            asyncio.get_running_loop().call_later(delay_s, now)


async def _both(*ways: "asyncio.Future[None] | object") -> None:
    """Carry both ways until one of them ends."""
    tasks = [asyncio.ensure_future(way) for way in ways]  # type: ignore[arg-type]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)


async def read_packet(stream: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return first byte and body of the next MQTT packet."""
    first = (await stream.readexactly(1))[0]
    length = shift = 0
    while True:
        byte = (await stream.readexactly(1))[0]
        length |= (byte & 127) << shift
        shift += 7
        if not byte & 128:
            return first, await stream.readexactly(length)


def user_of(connect: bytes) -> str:
    """Return the user name in the body of a CONNECT without a will."""
    rest = connect[10:]  # protocol name, level, flags, keepalive
    for _ in range(2):  # client id, user name
        length = struct.unpack("!H", rest[:2])[0]
        field_, rest = rest[2 : 2 + length], rest[2 + length :]
    return field_.decode()


def opened(first: int, body: bytes) -> tuple[str, bytes, bytes | None]:
    """Return topic, payload and packet number (None with QoS 0) of a PUBLISH."""
    length = struct.unpack("!H", body[:2])[0]
    topic, rest = body[2 : 2 + length].decode(), body[2 + length :]
    return (topic, rest[2:], rest[:2]) if first & 6 else (topic, rest, None)
