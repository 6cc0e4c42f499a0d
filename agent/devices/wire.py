"""The connection behind a link: one request at a time, its bytes out and the bytes of its answer in.

Requests are awaited without a task of their own, for a home asks a dozen times a second all day. Opening a serial port
is left to pymodbus.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from pymodbus.pdu import ModbusPDU
from pymodbus.transport.serialtransport import create_serial_connection

from agent.devices.address import Address, Line

FindAnswer = Callable[[bytes, bytes], ModbusPDU | None]
"""Returns the answer among all bytes since a frame was sent, None while there is none: `find(data, frame)`."""

_USER_TIMEOUT_MS = 10_000
_MOST_BYTES = 516
"""More than any answer and what may stand around it; whoever sends more says nothing sensible."""


class Wire(asyncio.Protocol):
    """One connection.

    Args:
        find: Finds the answer to a request.

    Attributes:
        transport: None once the connection is lost or closed.
    """

    def __init__(self, find: FindAnswer) -> None:
        self.transport: Any = None
        self._find = find
        self._frame = self._received = b""
        self._answer: asyncio.Future[ModbusPDU] | None = None

    async def ask(self, frame: bytes, timeout_s: float) -> ModbusPDU:
        """Send a frame and return its answer. The caller sees to it that there is only one at a time.

        Raises:
            TimeoutError: There was no answer in time.
            ConnectionError: The connection is lost.
        """
        if self.transport is None:
            raise ConnectionResetError
        loop = asyncio.get_running_loop()
        self._frame, self._received = frame, b""
        self._answer = loop.create_future()
        timer = loop.call_later(timeout_s, self._end, TimeoutError)
        try:
            self.transport.write(frame)
            return await self._answer
        finally:
            timer.cancel()
            self._answer = None

    def close(self) -> None:
        """Close the connection."""
        if self.transport is not None:
            self.transport.close()
        self.connection_lost(None)

    def data_received(self, data: bytes) -> None:
        """Take bytes; those that come when nobody waits any more are late."""
        if self._answer is None or self._answer.done():
            return
        self._received += data
        if len(self._received) > _MOST_BYTES:
            self._received = b""
        elif (answer := self._find(self._received, self._frame)) is not None:
            self._answer.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let the request fail that gets no answer any more."""
        self.transport = None
        self._end(ConnectionResetError)

    def _end(self, why: type[OSError]) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(why())
            self._answer.exception()  # looked at: who asked may be cancelled by now, and that is no fault


async def connect(address: Address, line: Line, find: FindAnswer, timeout_s: float) -> Wire:
    """Connect.

    Raises:
        OSError: Nobody is there, or not in time.
    """
    loop, wire = asyncio.get_running_loop(), Wire(find)
    # Not wait_for: before Python 3.12 that loses a cancellation which comes together with the connection.
    async with asyncio.timeout(timeout_s):
        if address.kind == "serial":
            wire.transport, _ = await create_serial_connection(
                loop,
                lambda: wire,
                address.path,
                baudrate=line.baud,
                bytesize=int(line.format[0]),
                parity=line.format[1],
                stopbits=int(line.format[2]),
                timeout=timeout_s,
            )
        else:
            wire.transport, _ = await loop.create_connection(lambda: wire, address.host.strip("[]"), address.port)
            _watch_peer(wire.transport.get_extra_info("socket"))
    return wire


def _watch_peer(peer: socket.socket) -> None:
    """Let the kernel notice a peer that vanished without a word."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
