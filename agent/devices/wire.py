"""The pymodbus clients behind a link, made so that none of them retries, reconnects or decodes on its own."""

import socket
from collections.abc import Callable
from typing import Any

from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException
from pymodbus.framer import FramerType

from agent.devices.address import Address, Line

Client = AsyncModbusTcpClient | AsyncModbusSerialClient
CheckPacket = Callable[[bool, bytes], bytes]
"""Sees each packet (sent?, bytes) and returns what is passed on."""

_USER_TIMEOUT_MS = 10_000
_NEVER = 1_000_000


def make_client(address: Address, line: Line, timeout_s: float, check: CheckPacket) -> Client:
    """Return a client for an address; it is not connected yet. A lost connection ends its request at once."""

    def watch(connected: bool) -> None:
        if not connected:
            _end_request(client)

    common: dict[str, Any] = {
        "timeout": timeout_s,
        "retries": 0,
        "reconnect_delay": 0,
        "trace_packet": check,
        "trace_connect": watch,
    }
    client = _make(address, line, common)
    # Which silent connection is half-open, the link decides; the library would hang up after five silences.
    client.ctx.max_until_disconnect = client.ctx.count_until_disconnect = _NEVER
    return client


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


def _end_request(client: Client) -> None:
    """Let a request fail whose connection is gone; the library would wait for its answer until the timeout."""
    waiting = client.ctx.response_future
    if not waiting.done():
        waiting.set_exception(ConnectionException("the connection was closed"))
        waiting.exception()  # looked at: nobody may be waiting, and that is no fault


def watch_peer(client: Client) -> None:
    """Let the kernel notice a peer that vanished without a word."""
    peer = client.ctx.transport.get_extra_info("socket")
    if peer is not None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
