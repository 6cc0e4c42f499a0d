"""Load and sun of one home for every slot of the horizon, from day one. Knows no clock and no other home."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agent.forecast.calendar import Calendar, Place
from agent.forecast.history import Floats, History, Ints, slot_keys
from agent.forecast.learner import Learner
from agent.forecast.members import BOOSTING_DAYS_MIN
from agent.forecast.mixing import Verdict
from agent.forecast.naive import DAY_S, default_load_w, default_pv_w, fill
from agent.forecast.series import LAG_DAYS, Signal, daylight
from agent.forecast.sky import follow_sky
from agent.forecast.weather import Weather
from coordinator.slots import Slot

Source = Literal["default", "naive", "model"]

LEARN_DAYS = 400
"""Older habits are not learned from; a year and a month shows every season once."""
LOOK_BACK_DAYS = LAG_DAYS + 8
"""Older values do not enter a prediction."""
_DOUBT = (0.5, 1.0, 1.6)
"""Band of a home nobody knows yet, as shares of its mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Mean powers of the slots from `first` on, shape (n,), in W, never negative.

    Args:
        load_band_w: 10, 50 and 90 % quantiles, shape (n, 3); the middle one is the median, the best guess of one slot.
        load_source: What the load forecast rests on: a default (day one), means of earlier days, or learned members.
    """

    first: Slot
    load_w: Floats
    pv_w: Floats
    load_band_w: Floats
    pv_band_w: Floats
    load_source: Source
    pv_source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecasts:
    """Forecasts of many issue times: as `Forecast`, with one row per issue in front.

    Args:
        issues: Key of the first slot of each row.
        load_known: Per issue, whether any earlier day was known for any of its slots.
    """

    issues: Ints
    load_w: Floats
    pv_w: Floats
    load_band_w: Floats
    pv_band_w: Floats
    load_known: NDArray[np.bool_]
    pv_known: NDArray[np.bool_]


class Forecaster:
    """Forecasts of one home.

    Args:
        slot_s: Slot length.
        timezone: Habits follow its clocks; the sun follows UTC.
        pv_limit_w: Installed PV power; 0 for a home without, None when it is not known.
        fuse_limit_w: Highest load the connection carries.
        horizon: Slots ahead that are learned for; at most a day's.
        country: Two letters, for public holidays.
        latitude: Degrees; with `longitude`, for the height of the sun.

    Raises:
        ValueError: If no public holidays are known for the country.
    """

    def __init__(
        self,
        *,
        slot_s: int,
        timezone: tzinfo,
        pv_limit_w: float | None,
        fuse_limit_w: float = float("inf"),
        horizon: int | None = None,
        country: str | None = None,
        latitude: float | None = None,
        longitude: float | None = None,
    ) -> None:
        self._slot_s = slot_s
        self._calendar = Calendar(Place(timezone=timezone, country=country, latitude=latitude, longitude=longitude))
        self._pv_limit_w = pv_limit_w
        self._fuse_limit_w = fuse_limit_w
        horizon = min(horizon or DAY_S // slot_s, DAY_S // slot_s)
        self._load = Learner(horizon)
        self._pv = Learner(horizon)
        self._weather_columns = 0
        self._follows_sky = False

    def fit(self, history: History, weather: Weather | None = None) -> None:
        """Learn from a history; call it about once a day. Less than two weeks leaves naive members in charge."""
        columns = 0 if weather is None else weather.values.shape[1]
        if columns != self._weather_columns:  # members that know other features cannot be judged on these
            self._load.forget()
            self._pv.forget()
        self._weather_columns = columns
        recent = history.last_days(LEARN_DAYS).without_stuck_meters()
        load, pv = self._signals(recent, recent.slots, weather)
        self._load.fit(load)
        self._pv.fit(pv)
        self._follows_sky = recent.slots * self._slot_s < BOOSTING_DAYS_MIN * DAY_S

    def judge(self, history: History, weather: Weather | None = None) -> None:
        """Mix anew by what came since the last fit or call; takes milliseconds, where a fit takes seconds."""
        known = history.last_days(LEARN_DAYS).without_stuck_meters()
        load, pv = self._signals(known, known.slots, weather)
        self._load.judge(load)
        self._pv.judge(pv)

    def verdicts(self) -> tuple[Verdict, Verdict]:
        """Return how the members of load and sun did on recent days, as of the last fit."""
        return self._load.verdict, self._pv.verdict

    def predict(self, first: Slot, count: int, history: History, weather: Weather | None = None) -> Forecast:
        """Forecast `count` slots from `first` on (at most a day's), with what was metered before `first`.

        Raises:
            ValueError: If `first` is not on the grid, or more than a day is asked for.
        """
        past = _padded(history.upto(first.key).last_days(LOOK_BACK_DAYS), first)
        many = self._predict(past, np.array([past.slots]), count, weather)
        return Forecast(
            first=first,
            load_w=many.load_w[0],
            pv_w=many.pv_w[0],
            load_band_w=many.load_band_w[0],
            pv_band_w=many.pv_band_w[0],
            load_source=_source(self._load, many.load_known[0]),
            pv_source=_source(self._pv, many.pv_known[0]),
        )

    def predict_many(
        self, firsts: Sequence[Slot], count: int, history: History, weather: Weather | None = None
    ) -> Forecasts:
        """Forecast from many slots on at once, each with what was metered before it: for walking forward fast.

        The same numbers as `predict` one by one.

        Args:
            firsts: In any order; at least one.
        """
        newest = max(firsts, key=lambda slot: slot.key)
        oldest = min(first.key for first in firsts)
        days = (newest.key - oldest) // DAY_S + 1
        past = _padded(history.upto(newest.key).last_days(LOOK_BACK_DAYS + days), newest)
        issues = np.array([(first.key - past.first.key) // self._slot_s for first in firsts])
        return self._predict(past, issues, count, weather)

    def _predict(self, past: History, issues: Ints, count: int, weather: Weather | None) -> Forecasts:
        if past.first.length_s != self._slot_s or count * self._slot_s > DAY_S:
            raise ValueError(f"forecasts are made for up to a day of slots of {self._slot_s} s")
        past = past.without_stuck_meters(as_seen=True)
        load, pv = self._signals(past, past.slots + count, weather)
        load_w, load_band_w = self._load.predict(load, issues, count)
        pv_w, pv_band_w = self._pv.predict(pv, issues, count)
        if self._follows_sky:
            follow_sky(pv_w, pv_band_w, pv, issues)
        load_known, pv_known = (np.asarray(np.isfinite(mean).any(axis=1)) for mean in (load_w, pv_w))
        for row, issue in enumerate(issues):
            local = load.clock[issue : issue + count]
            newest = past.load_w[max(0, issue - LOOK_BACK_DAYS * DAY_S // self._slot_s) : issue]
            _complete(load_w[row], load_band_w[row], load, issue, default_load_w(local, newest))
            limit_w = self._pv_limit(past.pv_w[:issue])
            _complete(pv_w[row], pv_band_w[row], pv, issue, default_pv_w(local, limit_w))
            light = daylight(pv, issue, count)
            pv_w[row] = np.where(light, np.clip(pv_w[row], 0.0, limit_w), 0.0)
            pv_band_w[row] = np.where(light[:, None], np.clip(pv_band_w[row], 0.0, limit_w), 0.0)
        return Forecasts(
            issues=past.first.key + issues * self._slot_s,
            load_w=np.clip(load_w, 0.0, self._fuse_limit_w),
            pv_w=pv_w,
            load_band_w=np.clip(load_band_w, 0.0, self._fuse_limit_w),
            pv_band_w=pv_band_w,
            load_known=load_known,
            pv_known=pv_known,
        )

    def _signals(self, past: History, slots: int, weather: Weather | None) -> tuple[Signal, Signal]:
        """Return load and sun with the calendar of `slots` slots from the history's first on."""
        keys = slot_keys(past.first, slots)
        local, sun_deg = self._calendar.seconds(keys), self._calendar.sun_deg(keys)
        columns = np.full((slots, self._weather_columns), np.nan)
        if weather is not None and self._weather_columns:
            columns = weather.at(keys)
        step_s, first_key = self._slot_s, past.first.key
        load = Signal(
            step_s=step_s,
            first_key=first_key,
            values=past.load_w,
            clock=local,
            off=self._calendar.days_off(local),
            sun_deg=sun_deg,
            weather=columns,
        )
        pv = Signal(
            step_s=step_s,
            first_key=first_key,
            values=past.pv_w,
            clock=keys,
            off=np.zeros(slots, dtype=bool),
            sun_deg=sun_deg,
            weather=columns,
        )
        return load, pv

    def _pv_limit(self, known_w: Floats) -> float:
        if self._pv_limit_w is not None:
            return self._pv_limit_w
        return float(np.nanmax(known_w, initial=0.0))


def _padded(known: History, first: Slot) -> History:
    """Return the history up to `first`, with unknown slots where it ends earlier."""
    gap = (first.key - known.end_key) // first.length_s
    if not known.slots or gap > LAG_DAYS * DAY_S // first.length_s:  # older than anything a forecast looks at
        return History(first=first, load_w=np.zeros(0), pv_w=np.zeros(0))
    pad = np.full(gap, np.nan)
    return History(
        first=known.first,
        load_w=np.concatenate([known.load_w, pad]),
        pv_w=np.concatenate([known.pv_w, pad]),
    )


def _complete(mean_w: Floats, band_w: Floats, s: Signal, issue: int, default_w: Floats) -> None:
    """Fill in place what no earlier day tells: from all known values at that time of day, then from the default."""
    unknown = ~np.isfinite(mean_w)
    if unknown.any():
        ahead = s.clock[issue : issue + mean_w.size]
        mean_w[:] = fill(mean_w, ahead, s.values[:issue], s.clock[:issue], default_w)
        band_w[unknown] = mean_w[unknown, None] * np.array(_DOUBT)


def _source(learner: Learner, known: bool) -> Source:
    if not known:
        return "default"
    return "model" if learner.learned else "naive"
