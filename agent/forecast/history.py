"""What the meters said, as arrays on the slot grid; slots that nobody metered are NaN."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

import numpy as np
from numpy.typing import NDArray

from coordinator.slots import Slot

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_STUCK_S = 12 * 3600
"""A load that repeats one non-zero value for so long comes from a stuck or imputed meter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Metered mean powers of consecutive slots, oldest first.

    Args:
        first: The slot of the first entry.
        load_w: Shape (n,), NaN where unknown.
        pv_w: Shape (n,), NaN where unknown.
    """

    first: Slot
    load_w: Floats
    pv_w: Floats

    def __post_init__(self) -> None:
        if self.load_w.shape != self.pv_w.shape or self.load_w.ndim != 1:
            raise ValueError("load and pv must be arrays of one length")

    @classmethod
    def from_rows(cls, rows: Iterable[tuple[int, float | None, float | None]], slot_s: int) -> "History":
        """Build a history from (slot key, load_wh, pv_wh) in any order; None and missing slots become NaN.

        Without rows the history is empty. A later row of the same slot replaces an earlier one; keys off the grid of
        the oldest row are left out.
        """
        by_key = {key: (load, pv) for key, load, pv in rows}
        if not by_key:
            return cls(first=Slot(0, slot_s), load_w=np.zeros(0), pv_w=np.zeros(0))
        start, end = min(by_key), max(by_key)
        values = np.full((2, (end - start) // slot_s + 1), np.nan)
        for key, pair in by_key.items():
            if (key - start) % slot_s == 0:
                values[:, (key - start) // slot_s] = [np.nan if wh is None else wh * 3600 / slot_s for wh in pair]
        return cls(first=Slot(start, slot_s), load_w=values[0], pv_w=values[1])

    @property
    def slots(self) -> int:
        return int(self.load_w.size)

    @property
    def end_key(self) -> int:
        """The key of the first slot after the history."""
        return self.first.key + self.slots * self.first.length_s

    def upto(self, key: int) -> "History":
        """Return the part before the slot `key`: what was known when that slot began."""
        count = max(0, min(self.slots, (key - self.first.key) // self.first.length_s))
        return History(first=self.first, load_w=self.load_w[:count], pv_w=self.pv_w[:count])

    def last_days(self, days: int) -> "History":
        """Return the newest `days` days."""
        keep = min(self.slots, days * 86_400 // self.first.length_s)
        skip = self.slots - keep
        return History(first=self.first.shifted(skip), load_w=self.load_w[skip:], pv_w=self.pv_w[skip:])

    def without_stuck_meters(self, *, as_seen: bool = False) -> "History":
        """Return a copy in which load that did not move for half a day counts as unknown.

        A night without sun and a home without consumption are no fault: zeros stay.

        Args:
            as_seen: Spare the first half day: when it came, nobody could know that the meter was stuck.
        """
        load_w = self.load_w.copy()
        run_min = max(2, _STUCK_S // self.first.length_s)
        edges = np.flatnonzero(np.diff(load_w) != 0) + 1
        for start, end in zip(np.r_[0, edges], np.r_[edges, load_w.size], strict=True):
            if end - start >= run_min and load_w[start] > 0:
                load_w[start + (run_min if as_seen else 0) : end] = np.nan
        return History(first=self.first, load_w=load_w, pv_w=self.pv_w)


def slot_keys(first: Slot, count: int) -> Ints:
    """Return the keys of `count` slots, shape (count,)."""
    return first.key + first.length_s * np.arange(count, dtype=np.int64)


class LocalTime:
    """Local wall-clock seconds of many slots at once; people's habits follow these, the sun follows UTC."""

    def __init__(self, timezone: tzinfo) -> None:
        self._timezone = timezone
        self._offsets: dict[int, int] = {}

    def seconds(self, keys: Ints) -> Ints:
        """Return for Unix seconds the seconds that local clocks show, counted from 1970 as if there were no offset.

        On the autumn day with 25 hours two slots share a value, on the spring day one hour of values has no slot.
        """
        quarters, index = np.unique(keys // 900, return_inverse=True)
        return keys + np.array([self._offset(int(quarter)) for quarter in quarters], dtype=np.int64)[index]

    def _offset(self, quarter: int) -> int:
        offset = self._offsets.get(quarter)
        if offset is None:
            local = datetime.fromtimestamp(quarter * 900, UTC).astimezone(self._timezone)
            delta = local.utcoffset()
            offset = self._offsets[quarter] = 0 if delta is None else int(delta.total_seconds())
        return offset
