"""Our own Modbus TCP server: many connections, several units behind one port.

The server moves frames; what a frame is answered with is one function, `Answerer`. `answer_units` is the honest one; a
misbehaving device is another function around it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping

from agent.simulator.frames import (
    HEADER,
    ExceptionCode,
    Frame,
    FrameError,
    ModbusDevice,
    answer,
    parse_header,
    refused,
)
from coordinator.errors import ConfigError

log = logging.getLogger(__name__)

Answerer = Callable[[Frame], Awaitable[bytes | None]]
"""Returns the bytes to send back; None stays silent."""

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
        return Frame(transaction=request.transaction, unit=request.unit, pdu=pdu).encode()

    return reply


class ModbusServer:
    """Serves one TCP port. `start` binds it (port 0 takes a free one, then `port` tells which)."""

    def __init__(self, answerer: Answerer, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._answerer = answerer
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
                "choose another port in the simulator's file, or 0 for any free one"
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
        self._connections.add(task)
        try:
            await self._converse(reader, writer)
        except (OSError, asyncio.IncompleteReadError, TimeoutError, FrameError) as reason:
            log.debug("connection to port %d ended: %r", self.port, reason)
        except asyncio.CancelledError:
            # Only stop() cancels a connection; ending quietly keeps asyncio's stream callback from logging an error.
            log.debug("connection to port %d closed by stop", self.port)
            writer.transport.abort()
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            transaction, unit, size = parse_header(await reader.readexactly(HEADER.size))
            async with asyncio.timeout(REST_OF_FRAME_S):
                pdu = await reader.readexactly(size)
            reply = await self._answerer(Frame(transaction=transaction, unit=unit, pdu=pdu))
            if reply is not None:
                writer.write(reply)
                await writer.drain()
