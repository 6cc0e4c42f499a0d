"""Our own Modbus server: TCP, or RTU frames in TCP; many connections, several units behind one port.

The server moves frames; what a frame is answered with is one function, `Answerer`. `answer_units` is the honest one; a
misbehaving device is another function around it, and a `Door` decides who may connect.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from agent.simulator.frames import (
    HEADER,
    ExceptionCode,
    Frame,
    FrameError,
    ModbusDevice,
    answer,
    parse_header,
    refused,
    take_rtu,
)
from coordinator.errors import ConfigError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer that is sent in an unusual way.

    Attributes:
        after_s: Sent so much later, without the server waiting for it: the next request may come before.
        one_by_one: Every byte in a packet of its own.
        hang_up: The connection is closed after it.
    """

    data: bytes = b""
    after_s: float = 0.0
    one_by_one: bool = False
    hang_up: bool = False


Answerer = Callable[[Frame], Awaitable[bytes | Reply | None]]
"""Returns what to send back; None stays silent."""


class Door(Protocol):
    """Decides who may connect."""

    @property
    def idle_s(self) -> float | None:
        """Seconds without a request after which a connection is closed."""
        ...

    def open(self, others: int) -> bool:
        """Return whether a new connection beside so many others is let in."""
        ...

    def drops_others(self) -> bool:
        """Return whether a new connection ends the others."""
        ...

    def closed(self) -> None:
        """Note that a connection ended."""
        ...


class HangUpError(Exception):
    """The device closes the connection."""


MAX_CONNECTIONS = 32
"""More than any home needs; a client that leaks connections must not take the simulator's file handles."""

REST_OF_FRAME_S = 5.0
"""A peer that sends half a frame and pauses longer is gone or confused."""


def answer_units(units: Mapping[int, ModbusDevice]) -> Answerer:
    """Return the answerer of devices that behave. A unit that is not there stays silent, as on most real gateways."""

    async def reply(request: Frame) -> bytes | None:
        device = units.get(request.unit)
        if device is None:
            return None
        try:
            pdu = answer(device, request.pdu)
        except Exception:
            log.exception("unit %d failed on request %s", request.unit, request.pdu.hex())
            pdu = refused(request.pdu, ExceptionCode.DEVICE_FAILURE)
        return replace(request, pdu=pdu).encode()

    return reply


class Mouth:
    """Sends one connection's answers, each after the one before, as a device does that answers in order."""

    def __init__(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        self._send = send
        self._last: asyncio.Task[None] | None = None

    async def say(self, reply: bytes | Reply) -> None:
        """Send a reply now, or when it is due.

        Raises:
            HangUpError: The reply was the connection's last.
        """
        if isinstance(reply, bytes):
            reply = Reply(data=reply)
        if reply.after_s or (self._last is not None and not self._last.done()):
            self._last = asyncio.create_task(self._later(self._last, reply))
            return
        await self._now(reply)
        if reply.hang_up:
            raise HangUpError

    def shut(self) -> None:
        """Send nothing more."""
        if self._last is not None:
            self._last.cancel()

    async def _later(self, before: asyncio.Task[None] | None, reply: Reply) -> None:
        await asyncio.sleep(reply.after_s)
        if before is not None:
            await before
        with contextlib.suppress(OSError):
            await self._now(reply)

    async def _now(self, reply: Reply) -> None:
        if not reply.one_by_one:
            await self._send(reply.data)
            return
        for byte in reply.data:
            await self._send(bytes((byte,)))
            await asyncio.sleep(0)


class ModbusServer:
    """Serves one TCP port. `start` binds it (port 0 takes a free one, then `port` tells which).

    Args:
        rtu: Speak the frames of a serial line instead of Modbus TCP.
    """

    def __init__(
        self, answerer: Answerer, host: str, port: int, *, door: Door | None = None, rtu: bool = False
    ) -> None:
        self.host = host
        self.port = port
        self._answerer = answerer
        self._door = door
        self._rtu = rtu
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Bind and listen.

        Raises:
            ConfigError: If the address cannot be bound.
        """
        try:
            self._server = await asyncio.start_server(self._accept, self.host, self.port)
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {self.host}:{self.port} ({error.strerror or error}): "
                "choose another port (--port with --profile, else in the --config file), or 0 for any free one"
            ) from error
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is None:
            return
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= MAX_CONNECTIONS:
            writer.close()
            return
        if self._door is not None:
            if not self._door.open(len(self._connections)):
                writer.transport.abort()
                return
            if self._door.drops_others():
                for other in self._connections:
                    other.cancel()
        self._connections.add(task)
        mouth = Mouth(_sender(writer))
        try:
            await (self._converse_rtu(reader, mouth) if self._rtu else self._converse(reader, mouth))
        except HangUpError:
            log.debug("connection to port %d ended by the device", self.port)
        except (OSError, asyncio.IncompleteReadError, TimeoutError, FrameError) as reason:
            log.debug("connection to port %d ended: %r", self.port, reason)
        except asyncio.CancelledError:
            # Only stop() cancels a connection; ending quietly keeps asyncio's stream callback from logging an error.
            log.debug("connection to port %d closed by stop", self.port)
            writer.transport.abort()
        finally:
            mouth.shut()
            self._connections.discard(task)
            if self._door is not None:
                self._door.closed()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, mouth: Mouth) -> None:
        while True:
            async with asyncio.timeout(self._door.idle_s if self._door else None):
                transaction, unit, size = parse_header(await reader.readexactly(HEADER.size))
            async with asyncio.timeout(REST_OF_FRAME_S):
                pdu = await reader.readexactly(size)
            reply = await self._answerer(Frame(transaction=transaction, unit=unit, pdu=pdu))
            if reply is not None:
                await mouth.say(reply)

    async def _converse_rtu(self, reader: asyncio.StreamReader, mouth: Mouth) -> None:
        heard = b""
        while True:
            async with asyncio.timeout(self._door.idle_s if self._door else None):
                more = await reader.read(512)
            if not more:
                return
            heard = await answer_rtu(heard + more, self._answerer, mouth)


async def answer_rtu(heard: bytes, answerer: Answerer, mouth: Mouth) -> bytes:
    """Answer every whole request in the bytes of a serial line; return the bytes that are left."""
    while True:
        request, heard = take_rtu(heard)
        if request is None:
            return heard
        reply = await answerer(request)
        if reply is not None:
            await mouth.say(reply)


def _sender(writer: asyncio.StreamWriter) -> Callable[[bytes], Awaitable[None]]:
    async def send(data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    return send
