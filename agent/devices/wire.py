"""The pymodbus clients behind a link, made so that none of them retries, reconnects or decodes on its own."""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusException, ModbusIOException
from pymodbus.framer import FramerType
from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.register_message import ReadHoldingRegistersResponse

from agent.devices.address import Address, Line

Client = AsyncModbusTcpClient | AsyncModbusSerialClient
CheckPacket = Callable[[bool, bytes], bytes]
"""Sees each packet (sent?, bytes) and returns what is passed on."""

_USER_TIMEOUT_MS = 10_000


class _Registers(ReadHoldingRegistersResponse):
    """Registers in one go: the library takes them one by one, and then spells them all out for a log nobody keeps."""

    def decode(self, data: bytes) -> None:
        self.registers = list(struct.unpack_from(f">{data[0] // 2}H", data, 1))

    def __str__(self) -> str:
        return f"{len(self.registers)} registers by function {self.function_code}"


class _InputRegisters(_Registers):
    function_code = 4


def make_client(address: Address, line: Line, timeout_s: float, check: CheckPacket) -> Client:
    """Return a client for an address; it is not connected yet. A lost connection ends its request at once."""

    def watch(connected: bool) -> None:
        if not connected:
            _end_request(client, ConnectionException("the connection was closed"))

    common: dict[str, Any] = {
        "timeout": timeout_s,
        "retries": 0,
        "reconnect_delay": 0,
        "trace_packet": check,
        "trace_connect": watch,
    }
    client = _make(address, line, common)
    for answer in (_Registers, _InputRegisters):
        client.register(answer)
    return client


async def connect(client: Client) -> bool:
    """Connect; return whether that worked.

    The library uses `asyncio.wait_for`, which before Python 3.12 loses a cancellation that comes together with the
    result: the caller would go on for ever.
    """
    task = asyncio.current_task()
    asked = task.cancelling() if task else 0
    connected = await client.connect()
    if task is not None and task.cancelling() > asked:
        raise asyncio.CancelledError
    return connected


async def ask(client: Client, request: ModbusPDU, timeout_s: float) -> ModbusPDU:
    """Send one request and return its answer. The caller sees to it that there is only one at a time.

    What the library does about a request besides (a lock, retries, hanging up after silences) is the link's affair.

    Raises:
        ModbusException, OSError: There was no answer, or none that can be decoded.
    """
    ctx, loop = client.ctx, asyncio.get_running_loop()
    if ctx.transport is None:
        raise ConnectionException("the connection was closed")
    ctx.response_future = loop.create_future()
    request.transaction_id = ctx.getNextTID()
    timer = loop.call_later(timeout_s, _end_request, client, ModbusIOException("no answer in time"))
    try:
        ctx.pdu_send(request)
        answer: ModbusPDU = await ctx.response_future
    finally:
        timer.cancel()
    return answer


def _make(address: Address, line: Line, common: dict[str, Any]) -> Client:
    if address.kind == "serial":
        return AsyncModbusSerialClient(
            address.path,
            framer=FramerType.RTU,
            baudrate=line.baud,
            bytesize=int(line.format[0]),
            parity=line.format[1],
            stopbits=int(line.format[2]),
            **common,
        )
    framer = FramerType.SOCKET if address.kind == "tcp" else FramerType.RTU
    return AsyncModbusTcpClient(address.host.strip("[]"), port=address.port, framer=framer, **common)


def _end_request(client: Client, why: ModbusException) -> None:
    """Let a request fail that gets no answer any more; the library would wait for it until its own timeout."""
    waiting = client.ctx.response_future
    if not waiting.done():
        waiting.set_exception(why)
        waiting.exception()  # looked at: nobody may be waiting, and that is no fault


def watch_peer(client: Client) -> None:
    """Let the kernel notice a peer that vanished without a word."""
    peer = client.ctx.transport.get_extra_info("socket")
    if peer is not None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
