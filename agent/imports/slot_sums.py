"""Energy of slots, added up from pieces of time of any length; memory grows with the slots, not with the source."""

import numpy as np

from agent.forecast.history import Floats
from agent.simulator.trace import DAY_S, LONGEST_DAYS
from coordinator.errors import ConfigError

_WHOLE = 0.99
"""A slot of which less is covered is missing."""


class SlotSums:
    """One quantity on the slot grid."""

    def __init__(self, slot_s: int) -> None:
        self.slot_s = slot_s
        self.total_wh = 0.0
        self._first = 0
        self._wh: Floats = np.zeros(0)
        self._covered_s: Floats = np.zeros(0)

    @property
    def span(self) -> tuple[int, int] | None:
        """The Unix seconds of the first slot and of the end of the last one; None before anything was added."""
        if not self._wh.size:
            return None
        return self._first * self.slot_s, (self._first + self._wh.size) * self.slot_s

    def add(self, start_s: Floats, end_s: Floats, energy_wh: Floats) -> None:
        """Add pieces of time with the energy that flowed evenly in each; a piece may cover many slots.

        Args:
            start_s: Unix seconds, ascending; the pieces do not overlap, neither each other nor earlier ones.

        Raises:
            ConfigError: If the source spans more time than any home's record.
        """
        if not start_s.size:
            return
        first, end = int(start_s[0] // self.slot_s), int(-(-end_s[-1] // self.slot_s))
        self._reach(first, end)
        edges = np.arange(first, end + 1) * float(self.slot_s)
        knots = np.column_stack([start_s, end_s]).ravel()
        here = slice(first - self._first, end - self._first)
        for sums, amounts in ((self._wh, energy_wh), (self._covered_s, end_s - start_s)):
            until = np.cumsum(amounts)
            reached = np.column_stack([until - amounts, until]).ravel()
            sums[here] += np.diff(np.interp(edges, knots, reached))
        self.total_wh += float(energy_wh.sum())

    def _reach(self, first: int, end: int) -> None:
        """Make room for the slots from `first` up to `end`."""
        if not self._wh.size:
            self._first = first
        before, after = max(0, self._first - first), max(0, end - self._first - self._wh.size)
        days = (before + self._wh.size + after) * self.slot_s // DAY_S
        if days > LONGEST_DAYS:
            raise ConfigError(f"the source spans {days} days: a time in it is wrong, or cut it with --from and --to")
        self._wh, self._covered_s = (np.pad(sums, (before, after)) for sums in (self._wh, self._covered_s))
        self._first -= before

    def power_w(self, first_key: int, slots: int) -> Floats:
        """Return the mean power of slots from the Unix second `first_key` on, shape (slots,) [W]; NaN is missing."""
        power_w = np.full(slots, np.nan)
        shift = first_key // self.slot_s - self._first
        low, high = max(0, -shift), min(slots, self._wh.size - shift)
        if high > low:
            source = slice(low + shift, high + shift)
            known = self._covered_s[source] >= _WHOLE * self.slot_s
            power_w[low:high] = np.where(known, self._wh[source] * 3600 / self.slot_s, np.nan)
        return power_w
