"""The energy of each slot, from the meter's counters and the powers. Pure."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.devices.counter import SteadyCounter
from agent.devices.reading import HomeReading
from coordinator.slots import Slot

_POWERS = ("load_w", "pv_w", "battery_w")
_LEAST_COVERAGE = 0.5
"""Share of a slot that must have been seen for its energy to be scaled up to the whole."""
_WHOLE = 0.99
_GAP_SHARE = 1 / 3
"""A gap between readings longer than this share of a slot makes the slot's figures estimates."""
BEHIND_S = 2 * 3600
"""A clock so far behind the newest reading is not set yet: a Raspberry Pi begins with the hour it last wrote down."""
AWAY_S = 2 * 86400
"""What flowed over a longer pause is in no slot: nobody waits for its bills any more, and most of it is a guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotEnergy:
    """What one slot brought.

    Attributes:
        import_wh: From the grid, by the meter's counter at the slot's ends, floored: sums over slots lose nothing.
        export_wh: Into the grid, likewise.
        load_wh: By integrating the power; None when less than half of the slot was seen.
        pv_wh: Likewise.
        battery_wh: Likewise, + discharged.
        soc_pct: Charge at the slot's end.
        estimated: Whether a long gap, missing powers, or a counter that had to be held lie in the slot.
    """

    slot: Slot
    import_wh: int
    export_wh: int
    load_wh: float | None
    pv_wh: float | None
    battery_wh: float | None
    soc_pct: float | None
    estimated: bool

    @property
    def net_wh(self) -> int:
        """Import minus export, as the slot is settled."""
        return self.import_wh - self.export_wh


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Where the meter's counters stood at a moment."""

    at: datetime
    import_wh: float
    export_wh: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Point(Counters):
    held: bool


class _Integral:
    """One power over time, per slot: straight lines between what is known."""

    def __init__(self, slot_s: int) -> None:
        self._slot_s = slot_s
        self._last: tuple[datetime, float] | None = None
        self._sums: dict[int, tuple[float, float]] = {}
        self._closed_until: datetime | None = None

    def add(self, at: datetime, value: float) -> None:
        if self._last is not None:
            last_at, last = self._last
            span_s = (at - last_at).total_seconds()
            since = last_at if self._closed_until is None else max(last_at, self._closed_until)
            for begin, end in _pieces(since, at, self._slot_s):
                middle = begin + (end - begin) / 2
                mean = last + (value - last) * ((middle - last_at).total_seconds() / span_s)
                seconds = (end - begin).total_seconds()
                joules, seen_s = self._sums.get(Slot.at(begin, self._slot_s).key, (0.0, 0.0))
                self._sums[Slot.at(begin, self._slot_s).key] = (joules + mean * seconds, seen_s + seconds)
        self._last = (at, value)

    def pop(self, slot: Slot) -> tuple[float | None, bool]:
        """Close a slot; return its energy [Wh], scaled up where a part is missing, and whether that was so."""
        self._closed_until = slot.end_at
        joules, seen_s = self._sums.pop(slot.key, (0.0, 0.0))
        coverage = seen_s / self._slot_s
        energy_wh = joules / coverage / 3600 if coverage >= _LEAST_COVERAGE else None
        return energy_wh, coverage < _WHOLE


class SlotMeter:
    """Cuts the stream of readings into slots.

    The first slot is left out unless its start was seen. A slot is closed by the first reading at or after its end.
    After a clock that was far ahead, or a pause of days, it begins anew.

    Args:
        slot_s: Length of a slot [s].
        power_max_w: Faster growth of a counter is a misread [W].
        since: Where the counters stood at the newest slot's start that an earlier process saw.
        on_anew: Is told why it begins anew.
    """

    def __init__(
        self,
        slot_s: int,
        power_max_w: float = 100_000.0,
        *,
        since: Counters | None = None,
        on_anew: Callable[[str], None] = lambda why: None,
    ) -> None:
        self._slot_s = slot_s
        self._power_max_w = power_max_w
        self._on_anew = on_anew
        self._begin()
        if since is not None:
            self._take(since.at, since.import_wh, since.export_wh, held=False)

    def _begin(self) -> None:
        self._import, self._export = SteadyCounter(self._power_max_w), SteadyCounter(self._power_max_w)
        self._powers = {name: _Integral(self._slot_s) for name in _POWERS}
        self._last: _Point | None = None
        self._start: _Point | None = None
        self._soc: tuple[datetime, float] | None = None
        self._estimated = False

    @property
    def since(self) -> Counters | None:
        """Where the counters stood when the running slot began, for the next process; None if that was not seen."""
        return self._start

    def add(self, reading: HomeReading) -> list[SlotEnergy]:
        """Take one reading; return the slots it closes, oldest first.

        A reading without counters, or not newer than the last one (a meter that is away), counts for nothing.
        """
        if reading.import_wh is None or reading.export_wh is None:
            return []
        if self._last is not None:
            gone_s = (reading.at - self._last.at).total_seconds()
            if why := _broken_off(gone_s):
                self._begin()
                self._on_anew(why)
            elif gone_s <= 0:
                return []
        if reading.quality == "valid":
            for name, integral in self._powers.items():
                integral.add(reading.at, getattr(reading, name))
        held = not {"import_wh", "export_wh"}.isdisjoint(reading.missing)
        closed = self._take(reading.at, reading.import_wh, reading.export_wh, held=held, soc_pct=reading.soc_pct)
        if reading.soc_pct is not None:
            self._soc = (reading.at, reading.soc_pct)
        return closed

    def _take(
        self, at: datetime, import_wh: float, export_wh: float, *, held: bool, soc_pct: float | None = None
    ) -> list[SlotEnergy]:
        steady_import_wh, import_held = self._import.add(at, import_wh)
        steady_export_wh, export_held = self._export.add(at, export_wh)
        held = held or import_held or export_held
        point = _Point(at=at, import_wh=steady_import_wh, export_wh=steady_export_wh, held=held)
        closed = self._close_until(point, soc_pct)
        self._last = point
        return closed

    def so_far(self, now: datetime) -> tuple[float, float] | None:
        """Return import and export [Wh] of the slot that `now` lies in, up to the newest reading.

        None when unknown: the slot's start was not seen, or the newest reading is too old.
        """
        if self._last is None or (now - self._last.at).total_seconds() > _GAP_SHARE * self._slot_s:
            return None
        start_at = Slot.at(now, self._slot_s).start_at
        if self._last.at < start_at:
            return (0.0, 0.0)
        if self._start is None or self._start.at != start_at:
            return None
        return (self._last.import_wh - self._start.import_wh, self._last.export_wh - self._start.export_wh)

    def _close_until(self, point: _Point, soc_pct: float | None) -> list[SlotEnergy]:
        last = self._last
        if last is None:
            self._start = point if point.at == Slot.at(point.at, self._slot_s).start_at else None
            return []
        gap = (point.at - last.at).total_seconds() > _GAP_SHARE * self._slot_s
        self._estimated |= gap or point.held
        closed: list[SlotEnergy] = []
        boundary = Slot.at(last.at, self._slot_s).end_at
        while boundary <= point.at:
            share = (boundary - last.at) / (point.at - last.at)
            at_boundary = _Point(
                at=boundary,
                import_wh=last.import_wh + share * (point.import_wh - last.import_wh),
                export_wh=last.export_wh + share * (point.export_wh - last.export_wh),
                held=point.held,
            )
            slot = Slot.at(boundary - timedelta(seconds=1), self._slot_s)
            powers = {name: integral.pop(slot) for name, integral in self._powers.items()}
            self._estimated |= any(partial for _, partial in powers.values())
            if self._start is not None:
                soc = self._soc_at(boundary, point.at, soc_pct)
                closed.append(self._closed(slot, self._start, at_boundary, powers, soc))
            self._start = at_boundary
            # What follows belongs to the next slot; the reading that closed this one still spans into it.
            self._estimated = (gap or point.held) and boundary < point.at
            boundary += timedelta(seconds=self._slot_s)
        return closed

    def _closed(
        self,
        slot: Slot,
        start: _Point,
        end: _Point,
        powers: dict[str, tuple[float | None, bool]],
        soc_pct: float | None,
    ) -> SlotEnergy:
        return SlotEnergy(
            slot=slot,
            import_wh=math.floor(end.import_wh) - math.floor(start.import_wh),
            export_wh=math.floor(end.export_wh) - math.floor(start.export_wh),
            load_wh=powers["load_w"][0],
            pv_wh=powers["pv_w"][0],
            battery_wh=powers["battery_w"][0],
            soc_pct=soc_pct,
            estimated=self._estimated,
        )

    def _soc_at(self, at: datetime, newest_at: datetime, newest_pct: float | None) -> float | None:
        if self._soc is None or newest_pct is None:
            return newest_pct if self._soc is None else self._soc[1]
        before_at, before_pct = self._soc
        share = (at - before_at) / (newest_at - before_at)
        return before_pct + share * (newest_pct - before_pct)


def _broken_off(gone_s: float) -> str:
    """Return why the readings before say nothing of this one, which is so much later; nothing where they do."""
    if gone_s < -BEHIND_S:
        return f"the clock is {-gone_s / 3600:.1f} h behind the newest reading: it was wrong then, or is now"
    if gone_s > AWAY_S:
        return f"no reading for {gone_s / 86400:.1f} days: what flowed meanwhile is in no bill"
    return ""


def _pieces(begin: datetime, end: datetime, slot_s: int) -> Iterator[tuple[datetime, datetime]]:
    """Yield `[begin, end)` cut at the slots' boundaries."""
    while begin < end:
        boundary = min(Slot.at(begin, slot_s).end_at, end)
        yield begin, boundary
        begin = boundary
