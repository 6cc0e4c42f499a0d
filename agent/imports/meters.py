"""From values with a time to pieces of time with an energy: counters with resets, and values of intervals."""

from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agent.forecast.history import Floats
from agent.imports.columns import SIGNED, Chosen
from agent.imports.slot_sums import SlotSums

Label = Literal["start", "end"]
"""Whether a time is that of the beginning or of the end of its interval."""

PAUSE_S = 7200.0
"""Over so long a counter's growth is spread evenly. Beyond, nobody knows when it flowed, and the time is missing."""
TICK_WH = 100.0
"""A counter that hardly grew in a longer pause may only not have been worth a row."""
_DIP_WH, _DIP_SHARE = 1000.0, 0.01
"""A counter that falls by no more is noisy; one that falls further began anew."""
_NEW_SHARE = 0.5
"""A counter that fell below this share of its value began at 0; else nobody knows where."""
HELD_S = 900.0
"""A value written down on change only holds so long at least; 0 holds for a day."""
_DAY_S = 86_400.0


class Meter:
    """One column on its way to slots. Feed it batches in order of time, then close it.

    Args:
        step_s: Usual time between two values.
        on_change: The source writes a row where a value changes, not at regular times.
    """

    def __init__(
        self, chosen: Chosen, slot_s: int, *, step_s: float, label: Label = "start", on_change: bool = False
    ) -> None:
        self.chosen = chosen
        self.sums = SlotSums(slot_s)
        self.rows = 0
        self.resets: list[float] = []
        """Unix seconds at which a counter began anew."""
        self.dips = 0
        self.lost_wh = 0.0
        """Flowed in pauses too long to tell when."""
        self._step_s, self._label, self._on_change = step_s, label, on_change
        self._times: Floats = np.zeros(0)
        self._values: Floats = np.zeros(0)

    def feed(self, times_s: Floats, values: Floats) -> None:
        """Take values, NaN where unknown; times ascend, also over batches."""
        if self.chosen.kind == "counter":
            known = np.isfinite(values)
            times_s, values = times_s[known], values[known]
        self.rows += int(np.isfinite(values).sum())
        times_s, values = np.r_[self._times, times_s], np.r_[self._values, values * self.chosen.factor]
        if not times_s.size:
            return
        if self.chosen.kind == "counter":
            self._count(times_s, values)
        elif self._label == "start":
            self._spread(times_s[:-1], times_s[:-1] + self._lengths(np.diff(times_s), values[:-1]), values[:-1])
            self._times, self._values = times_s[-1:], values[-1:]
        else:
            before = np.r_[np.diff(times_s, prepend=times_s[0] - self._step_s)]
            fresh = slice(self._times.size, None)
            lengths = self._lengths(before, values)
            self._spread((times_s - lengths)[fresh], times_s[fresh], values[fresh])
            self._times, self._values = times_s[-1:], values[-1:]

    def intervals(self, start_s: Floats, end_s: Floats, values: Floats) -> None:
        """Take values of intervals whose ends are known, instead of `feed`."""
        self.rows += int(np.isfinite(values).sum())
        self._spread(start_s, end_s, values * self.chosen.factor)

    def close(self) -> None:
        """Count the last value: its interval is as long as usual."""
        if self.chosen.kind != "counter" and self._label == "start" and self._times.size:
            self._spread(self._times, self._times + self._step_s, self._values)
            self._times = self._values = np.zeros(0)

    def _lengths(self, apart_s: Floats, values: Floats) -> Floats:
        """Return how long values hold, from how far rows are apart."""
        if self._on_change:
            longest = np.where(values == 0, _DAY_S, max(HELD_S, 1.5 * self._step_s))
            return np.minimum(apart_s, longest)
        return np.where(apart_s <= 1.5 * self._step_s, apart_s, self._step_s)

    def _spread(self, start_s: Floats, end_s: Floats, values: Floats) -> None:
        known = np.isfinite(values) & (end_s > start_s)
        start_s, end_s, values = start_s[known], end_s[known], values[known]
        energy_wh = values if self.chosen.kind == "energy" else values * (end_s - start_s) / 3600
        self.sums.add(start_s, end_s, energy_wh)

    def _count(self, times_s: Floats, readings_wh: Floats) -> None:
        """Turn a counter's readings into energies between them; the last one opens the next batch."""
        if self.chosen.role in SIGNED:  # the net of both directions may well count back
            self._grew(times_s, readings_wh, np.diff(readings_wh))
            return
        fell = -np.diff(readings_wh)
        old = readings_wh[:-1]
        began: NDArray[np.bool_] = fell > np.minimum(_DIP_WH, _DIP_SHARE * np.abs(old))
        self.dips += int(((fell > 1e-6 * np.abs(old)) & ~began).sum())
        self.resets += times_s[1:][began].tolist()
        starts = np.r_[0, np.flatnonzero(began) + 1, readings_wh.size]
        highest = np.concatenate([np.maximum.accumulate(readings_wh[a:b]) for a, b in pairwise(starts.tolist())])
        grown = np.diff(highest)
        grown[began] = np.where(highest[1:] < _NEW_SHARE * highest[:-1], highest[1:], np.nan)[began]
        self._grew(times_s, highest, grown)

    def _grew(self, times_s: Floats, readings_wh: Floats, grown_wh: Floats) -> None:
        apart_s = np.diff(times_s)
        unknown = (apart_s > max(PAUSE_S, 2 * self._step_s)) & (np.abs(grown_wh) > TICK_WH)
        self.lost_wh += float(grown_wh[unknown].sum())
        known = np.isfinite(grown_wh) & ~unknown & (apart_s > 0)
        self.sums.add(times_s[:-1][known], times_s[1:][known], grown_wh[known])
        self._times, self._values = times_s[-1:], readings_wh[-1:]
