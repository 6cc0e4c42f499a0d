"""What a model may look at, for every pair of an issue time and a slot ahead of it, without a glimpse of the future.

Two tables. The first says what is usual for a slot, from the 28 days before it; nothing younger than 24 h before the
slot enters, so it holds for every issue time up to a day ahead. The second says what was unusual just before an issue.
"""

import numpy as np

from agent.forecast.history import Floats, Ints
from agent.forecast.naive import DAY_S, mean_known, quantiles_known
from agent.forecast.series import LAG_DAYS, Signal, lags

TRAIL_DAYS = 7
"""Days looked back for what was unusual."""
_FADE_H = (1.0, 4.0)
"""How fast the last hour's and the last three hours' surprise stop to matter."""

USUAL = (
    "day1",
    "day2",
    "day3",
    "day7",
    "day14",
    "low",
    "lower",
    "middle",
    "upper",
    "high",
    "mean7",
    "median7",
    "smooth7",
    "mean28",
    "weekday4",
    "kind_mean",
    "kind_median",
    "kind_mean14",
    "peak",
    "day1_hours",
    "day2_hours",
    "day7_hours",
    "day1_whole",
    "day7_whole",
    "lower14",
    "middle14",
    "upper14",
    "hour",
    "weekday",
    "off",
    "season_cos",
    "season_sin",
    "sun",
    "sin1",
    "cos1",
    "sin2",
    "cos2",
    "off_sin",
    "off_cos",
)
RECENT = ("surprise_1h", "surprise_3h", "surprise_day", "surprise_week", "level_day", "level_week", "ahead")
COLUMNS = (*USUAL, *RECENT)
"""Names of the features' columns; columns of the weather follow."""


def column(name: str) -> int:
    """Return the place of a feature."""
    return COLUMNS.index(name)


def usual(s: Signal, targets: Ints) -> Floats:
    """Return what is usual for each target slot, shape (m, len(USUAL)); unknown days take the mean of the known ones.

    Rows of slots of which no earlier day is known are NaN in all columns but the calendar's.
    """
    found = lags(s, targets)
    days_w, around = found.days, found.around
    mean28 = mean_known(around)
    week, fortnight = ([k * LAG_DAYS + d for k in range(3) for d in range(days)] for days in (7, 14))
    spread = quantiles_known(around, (0.1, 0.25, 0.5, 0.75, 0.9, 1.0))
    habits = np.column_stack(
        [
            days_w[:, [0, 1, 2, 6, 13]],
            spread[:, :5],
            mean_known(days_w[:, :7]),
            quantiles_known(days_w[:, :7], (0.5,)),
            mean_known(around[:, week]),
            mean28,
            mean_known(days_w[:, 6::7]),
            mean_known(found.same_kind),
            quantiles_known(found.same_kind, (0.5,)),
            mean_known(found.same_kind[:, :14]),
            spread[:, 5],
            _levels(s, found.source),
            quantiles_known(around[:, fortnight], (0.25, 0.5, 0.75)),
        ]
    )
    habits = np.where(np.isfinite(habits), habits, mean28[:, None])
    return np.column_stack([habits, _calendar(s, targets)])


def _levels(s: Signal, source: Ints) -> Floats:
    """Return the mean load of the hours around the slot one, two and seven days ago, and of the day around it.

    Yesterday's windows end with the slot itself: what came after is younger than 24 h.
    """
    hours, day = 3 * 3600 // s.step_s, DAY_S // s.step_s
    return np.column_stack(
        [
            _window_mean(s.values, source[:, 0], hours, 0),
            _window_mean(s.values, source[:, 1], hours, hours),
            _window_mean(s.values, source[:, 6], hours, hours),
            _window_mean(s.values, source[:, 0], day, 0),
            _window_mean(s.values, source[:, 6], day // 2, day // 2),
        ]
    )


def _window_mean(values: Floats, at: Ints, before: int, after: int) -> Floats:
    """Return the mean of the known values from `before` slots before to `after` slots after each index; NaN for -1."""
    total, count = _sums(values)
    start, end = np.maximum(at - before, 0), np.minimum(at + after + 1, values.size)
    known = count[end] - count[start]
    return np.where((at >= 0) & (known > 0), (total[end] - total[start]) / np.maximum(known, 1), np.nan)


def _sums(values: Floats) -> tuple[Floats, Ints]:
    """Return sums and counts of the known values before each index, shape (t + 1,)."""
    known = np.isfinite(values)
    total = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    return total, np.concatenate([[0], np.cumsum(known)])


def _calendar(s: Signal, targets: Ints) -> Floats:
    clock, off = s.clock[targets], s.off[targets].astype(float)
    angle = 2 * np.pi * (clock % DAY_S) / DAY_S
    season = 2 * np.pi * (clock / DAY_S % 365.2425) / 365.2425
    weekday = (clock // DAY_S + 3) % 7  # 1970-01-01 was a Thursday
    waves = [np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)]
    return np.column_stack(
        [
            clock % DAY_S / 3600,
            weekday,
            off,
            np.cos(season),
            np.sin(season),
            s.sun_deg[targets],
            *waves,
            off * waves[0],
            off * waves[1],
        ]
    )


def recent(s: Signal, since: int = 0) -> Floats:
    """Return for every issue index 0..t what was unusual before it, shape (t + 1, 6): the first columns of RECENT.

    Args:
        since: Slots before this index are not looked at.
    """
    known = s.values.size
    off = np.full(known, np.nan)
    if known > since:
        off[since:] = s.values[since:] - mean_known(lags(s, np.arange(since, known)).around)
    hour = max(1, 3600 // s.step_s)
    windows = [hour, 3 * hour, DAY_S // s.step_s, TRAIL_DAYS * DAY_S // s.step_s]
    levels = [_trailing_mean(s.values, window) for window in windows[2:]]
    return np.column_stack([*(_trailing_mean(off, window) for window in windows), *levels])


def _trailing_mean(values: Floats, window: int) -> Floats:
    """Return for i = 0..t the mean of the known values among the `window` before i; 0 where none is known."""
    total, count = _sums(values)
    start = np.maximum(np.arange(values.size + 1) - window, 0)
    mean: Floats = (total - total[start]) / np.maximum(count - count[start], 1)
    return mean


def features(usual_rows: Floats, recent_rows: Floats, ahead_h: Floats, weather_rows: Floats) -> Floats:
    """Return the features of pairs, shape (pairs, len(COLUMNS) + k), from the two tables' rows of each pair."""
    faded = recent_rows.copy()
    for place, fade_h in enumerate(_FADE_H):
        faded[:, place] *= np.exp(-ahead_h / fade_h)
    return np.column_stack([usual_rows, faded, ahead_h, weather_rows])
