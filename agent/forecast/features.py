"""What a model may look at, for every pair of an issue time and a slot ahead of it, without a glimpse of the future."""

from dataclasses import dataclass

import numpy as np

from agent.forecast.history import Floats, Ints
from agent.forecast.naive import DAY_S, day_lags

_FADE_H = (1.0, 4.0)
"""How fast the last hour's and the last three hours' surprise stop to matter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One measured quantity and its past, on the slots of the history and of the horizon after it.

    Args:
        values: Shape (t,), NaN where unknown.
        base: 7-day mean per slot, shape (t + n,), NaN where no day is known.
        days: Values one to seven days earlier, shape (t + n, 7).
        clock: Clock seconds of the slots, shape (t + n,).
        surprise: Mean of value minus base over the last 1, 3 and 24 h before each issue index, shape (t + 1, 3).
    """

    step_s: int
    values: Floats
    base: Floats
    days: Floats
    clock: Ints
    surprise: Floats


def signal(values: Floats, clock: Ints, step_s: int) -> Signal:
    """Prepare a quantity; `clock` covers the history and the horizon."""
    known = values.size
    lags = day_lags(values, clock[:known], clock, step_s)
    off = values - lags.mean[:known]
    hour = max(1, 3600 // step_s)
    windows = [_trailing_mean(off, hours * hour) for hours in (1, 3, 24)]
    return Signal(
        step_s=step_s,
        values=values,
        base=lags.mean,
        days=lags.days,
        clock=clock,
        surprise=np.column_stack(windows),
    )


def _trailing_mean(values: Floats, window: int) -> Floats:
    """Return for i = 0..t the mean of the known values among the `window` before i; 0 where none is known."""
    known = np.isfinite(values)
    total = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    count = np.concatenate([[0], np.cumsum(known)])
    start = np.maximum(np.arange(values.size + 1) - window, 0)
    mean: Floats = (total - total[start]) / np.maximum(count - count[start], 1)
    return mean


def features(s: Signal, issues: Ints, targets: Ints) -> Floats:
    """Return the features of pairs, shape (pairs, columns).

    Args:
        issues: Index of the first slot that is not known yet, per pair.
        targets: Index of the slot to forecast, per pair; at least the issue and less than a day after it.
    """
    base = np.nan_to_num(s.base[targets])
    days = np.where(np.isfinite(s.days[targets]), s.days[targets], base[:, None])
    ahead_h = (targets - issues) * s.step_s / 3600
    surprise = s.surprise[issues]
    angle = 2 * np.pi * (s.clock[targets] % DAY_S) / DAY_S
    weekend = ((s.clock[targets] // DAY_S + 3) % 7 >= 5).astype(float)  # 1970-01-01 was a Thursday
    waves = [np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)]
    return np.column_stack(
        [
            base,
            days[:, 0],
            days[:, 1],
            days[:, 6],
            days.max(axis=1),
            days.min(axis=1),
            surprise[:, 0] * np.exp(-ahead_h / _FADE_H[0]),
            surprise[:, 1] * np.exp(-ahead_h / _FADE_H[1]),
            surprise[:, 2],
            *waves,
            weekend,
            *(weekend * wave for wave in waves[:2]),
            weekend * base,
        ]
    )


def pairs(s: Signal, first: int, end: int, horizon: int) -> tuple[Ints, Ints]:
    """Return issue and target indices for learning: an issue every three hours, about 24 targets each.

    Only targets in [first, end) with a known value and a known 7-day mean are returned.
    """
    stride = max(1, 10_800 // s.step_s)
    sparse = max(1, horizon // 24)
    issues = np.arange(max(first, 1), end, stride)
    ahead = np.arange(0, horizon, sparse)
    # shifting by the issue makes every step ahead occur although few are taken per issue
    targets = issues[:, None] + ahead[None, :] + (np.arange(issues.size) % sparse)[:, None]
    issue_index = np.broadcast_to(issues[:, None], targets.shape).ravel()
    target_index = targets.ravel()
    good = (target_index < end) & (target_index < issue_index + DAY_S // s.step_s)
    issue_index, target_index = issue_index[good], target_index[good]
    good = np.isfinite(s.values[target_index]) & np.isfinite(s.base[target_index])
    return issue_index[good], target_index[good]
