"""One Modbus connection (TCP, serial, or RTU over TCP): one request in flight, paced, with our own backoff and checks.

pymodbus stays behind this module, `framing.py`, `rtu.py` and `wire.py` (its minor releases change the API). What counts
as an answer is exact (`framing.py`). Answers without a number (all those of RTU, and of some Modbus TCP devices, which
always say 0) may come late, and are told from others here.
"""

import asyncio
import math
from collections.abc import Callable

from pymodbus.pdu import ModbusPDU

from agent.devices.address import Kind, Line, parse_address
from agent.devices.errors import (
    BadAnswerError,
    DeviceError,
    DeviceRefusedError,
    LinkDownError,
    NoAnswerError,
    TooLateError,
)
from agent.devices.framing import RtuFraming, TcpFraming, acknowledges, read_request, write_request
from agent.devices.link_limits import LinkCounters, LinkLimits
from agent.devices.rests import Rests
from agent.devices.rtu import Owed, other_count
from agent.devices.wire import Wire, connect
from coordinator.clock import Clock

_FIRST_BACKOFF_S = 0.5
_LAST_BACKOFF_S = 10.0
_SILENT_LIMIT: dict[Kind, int] = {"tcp": 2, "rtu+tcp": 4, "serial": 10}
"""Requests without any answer after which the connection counts as half-open and is closed. Lines lose more of them."""
_MOST_REGISTERS = 123


class ModbusLink:
    """The only connection of this process to one host and port, or to one serial port.

    Args:
        line: How a serial line is set; without meaning on the network, but for the echo.

    Attributes:
        generation: Grows with each new connection: whoever is behind it must be identified again.
    """

    def __init__(self, url: str, clock: Clock, limits: LinkLimits, line: Line | None = None) -> None:
        self.address = parse_address(url)
        self.url = self.address.url
        self.limits = limits
        self.line = line or Line()
        self.counters = LinkCounters()
        self.generation = 0
        self._clock = clock
        self._wire: Wire | None = None
        self._lock = asyncio.Lock()
        self._failed_connects = 0
        self._silent = 0
        self._quiet_until_s = self._retry_at_s = clock.monotonic()
        self._why_down = f"no answer from {url}"
        self._numberless = self.address.kind != "tcp"
        self._framing = RtuFraming(echo=self.line.echo) if self._numberless else TcpFraming()
        self._owed = Owed()
        self._rests = Rests()

    @property
    def connected(self) -> bool:
        return self._wire is not None and self._wire.transport is not None

    @property
    def silent_limit(self) -> int:
        """Requests in a row without an answer after which the connection is given up."""
        return self.limits.silences or _SILENT_LIMIT[self.address.kind]

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
        for tries_left in range(self.limits.retries, -1, -1):
            try:
                return await self._read(generation, unit, fc, address, count)
            except (NoAnswerError, BadAnswerError):
                if not tries_left or not self.connected:
                    raise
        raise AssertionError("unreachable")

    async def write(
        self,
        generation: int,
        unit: int,
        address: int,
        words: list[int],
        *,
        single: bool,
        not_after_s: float = math.inf,
        leaving: Callable[[], None] = lambda: None,
    ) -> None:
        """Write registers, one by function 6 if `single`, else all in one function 16; only over that connection.

        Args:
            not_after_s: The last moment at which the request may leave.
            leaving: Called when it leaves: from then on it may have been carried out, whatever is answered.

        Raises:
            TooLateError: Nothing was sent.
            LinkDownError, NoAnswerError, BadAnswerError, DeviceRefusedError: Whether it was written is unknown, except
                after a refusal.
        """
        request = write_request(unit, address, words, single=single)
        async with self._lock:
            self._owed.forget_old(self._clock.monotonic())
            if self._numberless and self._owed:
                raise NoAnswerError(
                    f"an answer from {self.url} is overdue; nothing is written until a read settled that"
                )
            answer = await self._execute(generation, request, not_after_s, leaving)
        if not acknowledges(answer, request):
            raise self._bad(f"an acknowledgement of another write than that of register {address}")

    async def close(self) -> None:
        """Close the connection; `open` makes a new one."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    async def _read(self, generation: int, unit: int, fc: int, address: int, count: int) -> list[int]:
        async with self._lock:
            request = read_request(unit, fc, address, count)
            # Looked at under the lock: while we waited for it, another task's request may have timed out.
            if self._numberless and self._owed and self._owes(request):
                await self._resync(generation, unit, fc, address, count)
            return list((await self._execute(generation, request)).registers)

    async def _resync(self, generation: int, unit: int, fc: int, address: int, count: int) -> None:
        """Ask for an answer that no late one can be taken for; once it is here, nothing older will come.

        Raises:
            NoAnswerError: The line is still in doubt.
        """
        request = read_request(unit, fc, address, other_count(count))
        while self._owes(request) and request.count < _MOST_REGISTERS:
            request.count += 2
        self.counters.resyncs += 1
        try:
            await self._execute(generation, request)
        except DeviceRefusedError:
            # There are not so many registers: an answer all the same.
            self._owed.settled()

    def _owes(self, request: ModbusPDU) -> bool:
        self._owed.forget_old(self._clock.monotonic())
        return self._owed.could_be(self._framing.asked(self._framing.frame(request)))

    async def _execute(
        self,
        generation: int,
        request: ModbusPDU,
        not_after_s: float = math.inf,
        leaving: Callable[[], None] = lambda: None,
    ) -> ModbusPDU:
        """Send one request and return its answer. The caller holds the lock."""
        wire, unit = self._wire, request.dev_id
        if wire is None or wire.transport is None or generation != self.generation:
            raise LinkDownError(self._why_down)
        now_s = self._clock.monotonic()
        if (why := self._rests.why_not(unit, now_s)) is not None:
            raise NoAnswerError(why)
        if (pause_s := self._quiet_until_s - now_s) > 0:
            await asyncio.sleep(pause_s)
        if not_after_s < math.inf and self._clock.monotonic() > not_after_s:
            raise TooLateError(f"a command to {self.url} came too late and was not sent")
        leaving()
        self.counters.requests += 1
        frame = self._framing.frame(request)
        try:
            answer = await wire.ask(frame, self.limits.timeout_s)
        except OSError:
            raise await self._no_answer(unit, frame) from None
        finally:
            self._quiet_until_s = self._clock.monotonic() + self.limits.gap_s
        self._silent = self._failed_connects = 0
        self._rests.answered(unit)
        self._retry_at_s = self._quiet_until_s
        self.counters.answers += 1
        self._numberless = answer.transaction_id == 0
        if self._owed:
            self._settle(self._framing.asked(frame), refused=answer.isError())
        if answer.isError():
            self.counters.refusals += 1
            raise DeviceRefusedError(f"unit {unit} at {self.url}", answer.exception_code)
        return answer

    def _settle(self, asked: bytes, *, refused: bool) -> None:
        """Note what an answer says about older ones, which are still owed.

        Raises:
            BadAnswerError: It may be one of them.
        """
        if not self._numberless:
            self._owed.settled()
        elif refused:
            # Nothing in a refusal says what was asked. If it is an older one, the answer to this request is late now.
            self._owed.add(asked, self._clock.monotonic())
        elif self._owed.could_be(asked):
            raise self._bad("an answer without a number, which may be one that was overdue")
        else:
            self._owed.settled()

    async def _connected(self) -> None:
        if self.connected:
            return
        await self.close()
        if self._clock.monotonic() < self._retry_at_s:
            raise LinkDownError(self._why_down)
        try:
            wire = await connect(self.address, self.line, self._framing.find, self.limits.timeout_s)
        except OSError:
            self._back_off()
            self._why_down = f"no answer from {self.url}"
            raise LinkDownError(self._why_down) from None
        # Only an answer ends the backoff: a peer that accepts and hangs up must not cause a storm of connections.
        self._back_off()
        self._wire = wire
        self._silent = 0
        self.generation += 1
        self.counters.connects += 1
        await asyncio.sleep(self.limits.connect_wait_s)

    def _back_off(self) -> None:
        delay_s = min(_FIRST_BACKOFF_S * 2.0**self._failed_connects, _LAST_BACKOFF_S)
        self._failed_connects = min(self._failed_connects + 1, 10)
        self._retry_at_s = self._clock.monotonic() + delay_s

    async def _no_answer(self, unit: int, frame: bytes) -> DeviceError:
        self._owed.add(self._framing.asked(frame), self._clock.monotonic())
        if self._framing.fault is not None:
            self._silent = 0
            return self._bad(self._framing.fault)
        if not self.connected:
            await self.close()
            alone = " (it allows one connection only)" if self.limits.max_connections == 1 else ""
            self._why_down = f"{self.url} closes the connection: is another program connected to it?{alone}"
            return LinkDownError(self._why_down)
        self._silent += 1
        self.counters.silences += 1
        why = f"device at {self.url} answered nothing for unit {unit}: is the unit id right?"
        self._rests.silent(unit, self._clock.monotonic(), why)
        if self._silent >= self.silent_limit:
            await self.close()
            self._why_down = why
        return NoAnswerError(why)

    def _bad(self, why: str) -> BadAnswerError:
        self.counters.bad_answers += 1
        return BadAnswerError(f"device at {self.url} sent {why}; dropped")
