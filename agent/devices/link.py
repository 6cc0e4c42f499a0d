"""One Modbus TCP connection: one request in flight, paced, with our own backoff and our own checks.

pymodbus stays behind this module (its minor releases change the API). What it leaves unchecked is checked here:
function code, number of registers, byte count, acknowledgement of writes.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU

from agent.devices.errors import BadAnswerError, DeviceRefusedError, LinkDownError, NoAnswerError
from agent.devices.mbap import find_fault
from coordinator.clock import Clock

# The library logs each failed request as an error; we raise it, and the poller says it once.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)

_FIRST_BACKOFF_S = 0.5
_LAST_BACKOFF_S = 10.0
_SILENT_LIMIT = 2
"""Requests without any answer after which the connection counts as half-open and is closed."""
_USER_TIMEOUT_MS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLimits:
    """What the far end bears; of several units behind one link, the slowest counts."""

    timeout_s: float = 1.0
    gap_s: float = 0.0
    connect_wait_s: float = 0.0

    def slower(self, other: "LinkLimits") -> "LinkLimits":
        return LinkLimits(
            timeout_s=max(self.timeout_s, other.timeout_s),
            gap_s=max(self.gap_s, other.gap_s),
            connect_wait_s=max(self.connect_wait_s, other.connect_wait_s),
        )


@dataclass(slots=True)
class LinkCounters:
    """What happened on a link since it was made."""

    connects: int = 0
    requests: int = 0
    answers: int = 0
    refusals: int = 0
    silences: int = 0
    bad_answers: int = 0


class ModbusLink:
    """The only connection of this process to one host and port.

    Attributes:
        generation: Grows with each new connection: whoever is behind it must be identified again.
    """

    def __init__(self, url: str, clock: Clock, limits: LinkLimits) -> None:
        parts = urlsplit(url)
        self.url = url
        self.limits = limits
        self.counters = LinkCounters()
        self.generation = 0
        self._host, self._port = parts.hostname or "", parts.port or 502
        self._clock = clock
        self._client: AsyncModbusTcpClient | None = None
        self._lock = asyncio.Lock()
        self._failed_connects = 0
        self._silent = 0
        self._quiet_until_s = self._retry_at_s = clock.monotonic()
        self._why_down = f"no answer from {url}"
        self._request = b""
        self._fault: str | None = None

    @property
    def connected(self) -> bool:
        return self._client is not None and self._client.connected

    async def open(self) -> int:
        """Connect if needed, and return the connection's generation.

        Raises:
            LinkDownError: There is no connection, or it is too early to try again.
        """
        async with self._lock:
            await self._connected()
            return self.generation

    async def read(self, generation: int, unit: int, fc: int, address: int, count: int) -> list[int]:
        """Return `count` registers by function `fc` (3 or 4), over the connection of that generation only.

        Raises:
            LinkDownError, NoAnswerError, BadAnswerError, DeviceRefusedError: Nothing was read.
        """

        def send(client: AsyncModbusTcpClient) -> Awaitable[ModbusPDU]:
            function = client.read_holding_registers if fc == 3 else client.read_input_registers
            return function(address, count=count, device_id=unit)

        answer = await self._execute(generation, unit, fc, send)
        if len(answer.registers) != count:
            raise self._bad(f"{len(answer.registers)} registers instead of {count}")
        return list(answer.registers)

    async def write(self, generation: int, unit: int, address: int, words: list[int], *, single: bool) -> None:
        """Write registers, one by function 6 if `single`, else all in one function 16; only over that connection.

        Raises:
            LinkDownError, NoAnswerError, BadAnswerError, DeviceRefusedError: Whether it was written is unknown, except
                after a refusal.
        """

        def send(client: AsyncModbusTcpClient) -> Awaitable[ModbusPDU]:
            if single:
                return client.write_register(address, words[0], device_id=unit)
            return client.write_registers(address, words, device_id=unit)

        answer = await self._execute(generation, unit, 6 if single else 16, send)
        confirmed = answer.registers == words if single else answer.count == len(words)
        if answer.address != address or not confirmed:
            raise self._bad(f"an acknowledgement of another write than that of register {address}")

    async def close(self) -> None:
        """Close the connection; `open` makes a new one."""
        if self._client is not None:
            self._client.close()
            self._client = None

    async def _execute(
        self, generation: int, unit: int, fc: int, send: Callable[[AsyncModbusTcpClient], Awaitable[ModbusPDU]]
    ) -> ModbusPDU:
        async with self._lock:
            client = self._client
            if client is None or not client.connected or generation != self.generation:
                raise LinkDownError(self._why_down)
            await asyncio.sleep(max(0.0, self._quiet_until_s - self._clock.monotonic()))
            self._fault = None
            self.counters.requests += 1
            try:
                answer = await send(client)
            except (ModbusException, OSError):
                raise await self._no_answer(unit) from None
            finally:
                self._quiet_until_s = self._clock.monotonic() + self.limits.gap_s
            self._silent = self._failed_connects = 0
            self._retry_at_s = self._quiet_until_s
            self.counters.answers += 1
        if answer.isError():
            self.counters.refusals += 1
            raise DeviceRefusedError(f"unit {unit} at {self.url}", answer.exception_code)
        if answer.function_code != fc:
            raise self._bad(f"an answer to function {answer.function_code} instead of {fc}")
        return answer

    async def _connected(self) -> None:
        if self.connected:
            return
        await self.close()
        if self._clock.monotonic() < self._retry_at_s:
            raise LinkDownError(self._why_down)
        client = AsyncModbusTcpClient(
            self._host,
            port=self._port,
            timeout=self.limits.timeout_s,
            retries=0,
            reconnect_delay=0,
            trace_packet=self._check_packet,
        )
        if not await client.connect():
            client.close()
            self._back_off()
            self._why_down = f"no answer from {self.url}"
            raise LinkDownError(self._why_down)
        # Only an answer ends the backoff: a peer that accepts and hangs up must not cause a storm of connections.
        self._back_off()
        self._client = client
        self._silent = 0
        self.generation += 1
        self.counters.connects += 1
        _watch_peer(client)
        await asyncio.sleep(self.limits.connect_wait_s)

    def _back_off(self) -> None:
        delay_s = min(_FIRST_BACKOFF_S * 2.0**self._failed_connects, _LAST_BACKOFF_S)
        self._failed_connects = min(self._failed_connects + 1, 10)
        self._retry_at_s = self._clock.monotonic() + delay_s

    async def _no_answer(self, unit: int) -> NoAnswerError | BadAnswerError | LinkDownError:
        if self._fault is not None:
            self._silent = 0
            return self._bad(self._fault)
        if not self.connected:
            await self.close()
            self._why_down = f"{self.url} closes the connection: is another program connected to it?"
            return LinkDownError(self._why_down)
        self._silent += 1
        self.counters.silences += 1
        why = f"device at {self.url} answered nothing for unit {unit}: is the unit id right?"
        if self._silent >= _SILENT_LIMIT:
            await self.close()
            self._why_down = why
        return NoAnswerError(why)

    def _bad(self, why: str) -> BadAnswerError:
        self.counters.bad_answers += 1
        return BadAnswerError(f"device at {self.url} sent {why}; dropped")

    def _check_packet(self, sending: bool, data: bytes) -> bytes:
        """Keep answers from pymodbus that it would take for right, or that would make its decoder fail."""
        if sending:
            self._request = data
            return data
        fault = find_fault(data, self._request)
        if fault is None:
            return data
        self._fault = fault
        return b""


def _watch_peer(client: AsyncModbusTcpClient) -> None:
    """Let the kernel notice a peer that vanished without a word."""
    peer = client.ctx.transport.get_extra_info("socket")
    if peer is not None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
