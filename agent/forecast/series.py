"""A measured quantity with its past and the calendar, and the look-up of the same time on earlier days."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from agent.forecast.history import Floats, Ints
from agent.forecast.naive import DAY_S, quantiles_known

LAG_DAYS = 28
"""Days looked back for what is usual."""
_NIGHT_SHARE = 0.01
"""Sun that stayed below this share of the highest value on all recent days is night."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One measured quantity with its past and the calendar, on the slots of the history and of the horizon after it.

    Args:
        first_key: Unix second of the first slot.
        values: Shape (t,), NaN where unknown.
        clock: Clock seconds of the slots, shape (t + n,): local ones for habits, UTC for the sun.
        off: Whether the slot lies on a day off, shape (t + n,).
        sun_deg: Height of the sun, shape (t + n,); 0 everywhere where nobody said where the home stands.
        weather: What was forecast for the slots, shape (t + n, k), NaN where not known.
    """

    step_s: int
    first_key: int
    values: Floats
    clock: Ints
    off: NDArray[np.bool_]
    sun_deg: Floats
    weather: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Lags:
    """Values of the same clock time on the days before each target, shape (m, LAG_DAYS) each, NaN where unknown.

    Args:
        same_kind: The same where that day was of the target's kind (working day or day off), else NaN.
        around: With the slots just before and after, shape (m, 3 * LAG_DAYS).
        source: Index of the slot each of `days` comes from, -1 for none.
    """

    days: Floats
    same_kind: Floats
    around: Floats
    source: Ints


def lags(s: Signal, targets: Ints) -> Lags:
    """Look up earlier days of the targets (indices of slots)."""
    known = s.values.size
    index = s.clock // s.step_s
    first = int(index.min())
    slot_at = np.full(int(index.max()) - first + 1, -1)
    slot_at[index[:known] - first] = np.arange(known)
    per_day = DAY_S // s.step_s
    wanted = (index[targets] - first)[:, None] - per_day * np.arange(1, LAG_DAYS + 1)[None, :]

    def look_up(shift: int) -> Ints:
        """Return the source slot, -1 where there is none that lies at least 24 h before its target.

        On the day after clocks went forward the same time yesterday was 23 h ago: younger than some issue times.
        """
        place = wanted + shift
        inside = (place >= 0) & (place < slot_at.size)
        source = np.where(inside, slot_at[np.clip(place, 0, slot_at.size - 1)], -1)
        found: Ints = np.where(source <= (targets - per_day)[:, None], source, -1)
        return found

    values = np.append(s.values, np.nan)  # index -1 is unknown
    source = look_up(0)
    days = values[source]
    same_kind = np.where(s.off[source] == s.off[targets][:, None], days, np.nan)
    around = np.concatenate([days, values[look_up(-1)], values[look_up(1)]], axis=1)
    return Lags(days=days, same_kind=same_kind, around=around, source=source)


def daylight(s: Signal, first: int, count: int) -> NDArray[np.bool_]:
    """Return whether the sun was seen at each slot's time, or next to it, on any of the 28 days before the first."""
    before = replace(s, values=s.values[:first], clock=s.clock[: first + count])
    highest = float(np.nanmax(before.values, initial=0.0))
    peak = quantiles_known(lags(before, np.arange(first, first + count)).around, (1.0,))[:, 0]
    return ~(peak <= _NIGHT_SHARE * highest)  # where nothing is known, the sun may shine
