"""A line that misbehaves: an answerer around the honest one, and a door that lets only some in."""

from collections.abc import Callable
from dataclasses import replace

from agent.simulator.frames import Frame, RtuFrame
from agent.simulator.knobs import LineKnobs
from agent.simulator.server import Answerer, HangUpError, Reply

_FIRST_OF_TEN = 10


class FaultyLine:
    """Answers through `honest` while `on` is False, and by the knobs otherwise. It is its own door.

    Args:
        now_s: A clock that never jumps.
        clients: Connections that a device in order bears; None is any number.
        idle_s: Seconds after which a device in order closes an idle connection.
    """

    def __init__(
        self,
        honest: Answerer,
        knobs: LineKnobs,
        now_s: Callable[[], float],
        *,
        clients: int | None = None,
        idle_s: float | None = None,
    ) -> None:
        self.on = True
        self.requests = 0
        self._honest = honest
        self._knobs = knobs
        self._now_s = now_s
        self._clients = clients
        self._idle_s = idle_s
        self._of_connection = 0
        self._opened_s = self._answered_s = self._closed_s = float("-inf")

    @property
    def idle_s(self) -> float | None:
        return self._knobs.idle_close_s if self.on and self._knobs.idle_close_s else self._idle_s

    def open(self, others: int) -> bool:
        """Decide whether a new connection is let in (see `Door`)."""
        self._opened_s, self._of_connection = self._now_s(), 0
        if self._clients is not None and others >= self._clients:
            return False
        if not self.on:
            return True
        if self._now_s() - self._closed_s < self._knobs.busy_after_close_s:
            return False
        return self._knobs.clients is None or others < self._knobs.clients or self._knobs.newest_wins

    def drops_others(self) -> bool:
        return self.on and self._knobs.newest_wins

    def closed(self) -> None:
        self._closed_s = self._now_s()

    async def __call__(self, request: Frame) -> Reply | None:
        """Answer one request (see `Answerer`)."""
        self.requests += 1
        self._of_connection += 1
        honest = await self._honest(request)
        data = honest.data if isinstance(honest, Reply) else honest
        if not self.on or data is None:
            return None if data is None else Reply(data=data)
        if self._ignored():
            return None
        self._answered_s = self._now_s()
        return self._spoilt(request, data)

    def _ignored(self) -> bool:
        knobs, now_s = self._knobs, self._now_s()
        first = knobs.silent == "first" and self._of_connection <= knobs.silent_first
        too_soon = now_s - self._answered_s < knobs.min_gap_s
        too_early = now_s - self._opened_s < knobs.ready_after_s
        return knobs.silent == "always" or knobs.half_open or first or too_soon or too_early

    def _spoilt(self, request: Frame, data: bytes) -> Reply:
        knobs = self._knobs
        hang_up = knobs.hang_up if self.requests % knobs.hang_up_every == 0 else "never"
        if hang_up == "before" or knobs.clients == 0:
            raise HangUpError
        answer = self._answer(request, data)
        data = answer.encode()
        if knobs.crc_wrong_every and self.requests % knobs.crc_wrong_every == 0 and isinstance(request, RtuFrame):
            data = data[:-1] + bytes((data[-1] ^ 0xFF,))
        data = (request.encode() if knobs.echo else b"") + knobs.before + data * knobs.copies
        late = knobs.delay_s if self.requests % knobs.late_every == 0 else 0.0
        if hang_up == "middle":
            return Reply(data=data[: len(data) // 2], hang_up=True)
        return Reply(data=data, after_s=late, one_by_one=knobs.one_by_one, hang_up=hang_up == "after")

    def _answer(self, request: Frame, data: bytes) -> Frame:
        knobs = self._knobs
        pdu = data[1:-2] if isinstance(request, RtuFrame) else data[7:]
        refused = self._refused(request)
        if refused is not None:
            pdu = bytes((request.pdu[0] | 0x80, refused))
        else:
            pdu = _wrong_length(knobs.length, request.pdu, pdu)
        transaction = {"right": request.transaction, "zero": 0, "wrong": request.transaction + 7 & 0xFFFF}
        unit = request.unit if knobs.answers_as is None else knobs.answers_as
        return replace(request, pdu=pdu, unit=unit, transaction=transaction[knobs.transaction])

    def _refused(self, request: Frame) -> int | None:
        if self._knobs.refuse_all is not None and (self.requests - 1) % _FIRST_OF_TEN < self._knobs.refuse_count:
            return self._knobs.refuse_all
        address = int.from_bytes(request.pdu[1:3], "big")
        return next((code for first, last, code in self._knobs.refuse if first <= address <= last), None)


def _wrong_length(length: str, request: bytes, pdu: bytes) -> bytes:
    reads = request[0] in (3, 4) and pdu[0] == request[0]
    match length:
        case "short" if reads:
            return bytes((pdu[0], pdu[1] - 2)) + pdu[2:-2]
        case "long" if reads:
            return bytes((pdu[0], pdu[1] + 2)) + pdu[2:] + b"\x12\x34"
        case "odd" if reads:
            return bytes((pdu[0], pdu[1] - 1)) + pdu[2:-1]
        case "undecodable":
            return b"\x41\x00\x00"
        case "echo" if request[0] == 16:
            return request
        case _:
            return pdu
