"""How often a register may be written: flash wears out, and a loop that writes it kills the device. Pure."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from agent.devices.rules import STORED_WRITES_PER_DAY
from agent.devices.schema import Profile

BLOCKS_PER_DAY = 200
"""A register's writes are made durable ahead, in so many blocks a day: a counter that is kept with every write would
wear out our own memory instead. A crash costs the rest of a block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DayCounts:
    """How often each register may have been written on a day (UTC), by point name."""

    day: date
    writes: Mapping[str, int] = field(default_factory=dict)


def _keep_nothing(counts: DayCounts) -> None:
    """Forget the counts with this process."""


class WriteBudget:
    """Counts the writes of each register over the day.

    Volatile registers without a stated budget are free; stored ones, and those of which nobody knows, bear
    `STORED_WRITES_PER_DAY` unless the profile states more.

    Args:
        counts: What was kept of an earlier run. Of a day to come, they hold until that day is over: a clock that was
            wrong must not give a second budget.
        keep: Makes counts durable; called before the writes that they allow.
    """

    def __init__(
        self, profile: Profile, counts: DayCounts | None = None, keep: Callable[[DayCounts], None] = _keep_nothing
    ) -> None:
        self._points = profile.points
        control = profile.control.battery_w if profile.control else None
        self._stated = control.write_budget_per_day if control else None
        self._keep = keep
        self._day = counts.day if counts else date.min
        self._kept = dict(counts.writes) if counts else {}
        self._writes = dict(self._kept)

    def spent(self, names: Collection[str], today: date) -> str | None:
        """Return the first of the registers that may not be written once more today, or None."""
        self._turn(today)
        return next((name for name in names if self._used(name) >= self._most(name)), None)

    def pace_s(self, names: Collection[str], now: datetime) -> float:
        """Return the seconds between writes of all these registers that last until the day ends (UTC)."""
        self._turn(now.date())
        ends_at = datetime.combine(self._day + timedelta(days=1), time(), UTC)
        left = min(self._most(name) - self._used(name) for name in names)
        return (ends_at - now).total_seconds() / left if left > 0 else math.inf

    def reserve(self, names: Collection[str], today: date) -> None:
        """Make durable that these registers are about to be written once."""
        self._turn(today)
        short = [name for name in names if self._most(name) < _FREE and self._used(name) >= self._kept.get(name, 0)]
        if short:
            ahead = {name: self._used(name) + max(1, self._most(name) // BLOCKS_PER_DAY) for name in short}
            self._kept |= ahead
            self._keep(DayCounts(day=self._day, writes=dict(self._kept)))

    def written(self, name: str) -> None:
        """Note a write that leaves now."""
        if self._most(name) < _FREE:
            self._writes[name] = self._used(name) + 1

    def close(self) -> None:
        """Keep what was really written."""
        if self._kept != self._writes:
            self._keep(DayCounts(day=self._day, writes=dict(self._writes)))
            self._kept = dict(self._writes)

    def _turn(self, today: date) -> None:
        if today > self._day:
            self._day, self._kept, self._writes = today, {}, {}

    def _used(self, name: str) -> int:
        return self._writes.get(name, 0)

    def _most(self, name: str) -> int:
        match self._points[name].memory:
            case "stored":
                return STORED_WRITES_PER_DAY
            case "volatile":
                return self._stated or _FREE
            case _:
                return self._stated or STORED_WRITES_PER_DAY


_FREE = 1_000_000_000
"""More than anybody writes in a day."""
