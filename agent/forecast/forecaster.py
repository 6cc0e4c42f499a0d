"""Load and sun of one home for every slot of the horizon, from day one. Knows no clock and no other home."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo
from typing import Literal

import numpy as np

from agent.forecast.evaluation import Verdict, judge
from agent.forecast.features import signal
from agent.forecast.history import Floats, History, Ints, LocalTime, slot_keys
from agent.forecast.model import ResidualModel
from agent.forecast.naive import DAY_S, DAYS, default_load_w, default_pv_w, fill
from coordinator.slots import Slot

Source = Literal["default", "naive", "model"]

_LEARN_DAYS = 120
"""Older habits are not learned from: a season is enough, and fitting stays quick."""

_NIGHT_SHARE = 0.01
"""Sun that stayed below this share of the highest value on all recent days is night."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Mean powers of the slots from `first` on, shape (n,), in W, never negative.

    Args:
        load_band_w: 10, 50 and 90 % quantiles from the errors of recent days, shape (n, 3).
        load_source: What the load forecast rests on: a default (day one), the 7-day mean, or the model.
    """

    first: Slot
    load_w: Floats
    pv_w: Floats
    load_band_w: Floats
    pv_band_w: Floats
    load_source: Source
    pv_source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class _Learned:
    verdict: Verdict
    model: ResidualModel | None


class Forecaster:
    """Forecasts of one home.

    Args:
        slot_s: Slot length.
        timezone: Habits follow its clocks; the sun follows UTC.
        pv_limit_w: Installed PV power; 0 for a home without, None when it is not known.
        fuse_limit_w: Highest load the connection carries.
        horizon: Slots ahead that are learned for; at most a day's.
    """

    def __init__(
        self,
        *,
        slot_s: int,
        timezone: tzinfo,
        pv_limit_w: float | None,
        fuse_limit_w: float = float("inf"),
        horizon: int | None = None,
    ) -> None:
        self._slot_s = slot_s
        self._local = LocalTime(timezone)
        self._pv_limit_w = pv_limit_w
        self._fuse_limit_w = fuse_limit_w
        self._horizon = min(horizon or DAY_S // slot_s, DAY_S // slot_s)
        self._load: _Learned | None = None
        self._pv: _Learned | None = None

    def fit(self, history: History) -> None:
        """Learn from a history; call it about once a day. Less than a week leaves the 7-day mean in charge."""
        recent = history.last_days(_LEARN_DAYS).without_stuck_meters()
        keys = slot_keys(recent.first, recent.slots + self._horizon)
        self._load = self._learn(recent.load_w, self._local.seconds(keys))
        self._pv = self._learn(recent.pv_w, keys)

    def verdicts(self) -> tuple[Verdict | None, Verdict | None]:
        """Return how load and sun forecasts did on recent days, as of the last fit."""
        return (self._load.verdict if self._load else None, self._pv.verdict if self._pv else None)

    def _learn(self, values: Floats, clock: Ints) -> _Learned:
        s = signal(values, clock, self._slot_s)
        verdict = judge(s, self._horizon)
        model = ResidualModel() if verdict.use_model else None
        if model is not None:
            model.fit(s, 0, values.size, self._horizon)
        return _Learned(verdict=verdict, model=model)

    def predict(self, first: Slot, count: int, history: History) -> Forecast:
        """Forecast `count` slots from `first` on (at most a day's), with what was metered before `first`.

        Raises:
            ValueError: If `first` is not on the grid, or more than a day is asked for.
        """
        if first.length_s != self._slot_s or count * self._slot_s > DAY_S:
            raise ValueError(f"forecasts are made for up to a day of slots of {self._slot_s} s")
        past = self._past(first, history)
        keys = slot_keys(past.first, past.slots + count)
        local = self._local.seconds(keys)
        load = self._one(past.load_w, local, self._load, lambda v: default_load_w(local[past.slots :], v))
        limit_w = self._pv_limit(past)
        pv = self._one(past.pv_w, keys, self._pv, lambda _: default_pv_w(local[past.slots :], limit_w))
        day = self._daylight(past, keys)
        return Forecast(
            first=first,
            load_w=np.clip(load[0], 0.0, self._fuse_limit_w),
            pv_w=np.where(day, np.clip(pv[0], 0.0, limit_w), 0.0),
            load_band_w=np.clip(load[1], 0.0, self._fuse_limit_w),
            pv_band_w=np.where(day[:, None], np.clip(pv[1], 0.0, limit_w), 0.0),
            load_source=load[2],
            pv_source=pv[2],
        )

    def _past(self, first: Slot, history: History) -> History:
        """Return the last days before `first`, with unknown slots between the history's end and `first`."""
        known = history.upto(first.key).last_days(DAYS + 1)
        if not known.slots:
            return History(first=first, load_w=np.zeros(0), pv_w=np.zeros(0))
        gap = (first.key - known.end_key) // self._slot_s
        if gap > DAYS * DAY_S // self._slot_s:  # older than anything a forecast looks at
            return History(first=first, load_w=np.zeros(0), pv_w=np.zeros(0))
        pad = np.full(gap, np.nan)
        return History(
            first=known.first,
            load_w=np.concatenate([known.load_w, pad]),
            pv_w=np.concatenate([known.pv_w, pad]),
        ).without_stuck_meters()

    def _one(
        self, values: Floats, clock: Ints, learned: _Learned | None, default: Callable[[Floats], Floats]
    ) -> tuple[Floats, Floats, Source]:
        """Return mean, quantiles and source of one quantity for the slots after `values`."""
        s = signal(values, clock, self._slot_s)
        ahead = np.arange(values.size, clock.size)
        known = np.isfinite(s.base[ahead])
        mean = fill(s.base[ahead], clock[ahead], values, clock[: values.size], default(values))
        source: Source = "naive" if known.any() else "default"
        if learned is not None and learned.model is not None and known.any():
            correction = learned.model.correct(s, np.full(ahead.size, ahead[0]), ahead)
            mean = mean + np.where(known, learned.verdict.weight * correction, 0.0)
            source = "model"
        offsets = learned.verdict.offsets(clock[ahead]) if learned is not None else np.zeros((ahead.size, 3))
        return mean, mean[:, None] + offsets, source

    def _pv_limit(self, past: History) -> float:
        if self._pv_limit_w is not None:
            return self._pv_limit_w
        known = past.pv_w[np.isfinite(past.pv_w)]
        return float(known.max()) if known.size else 0.0

    def _daylight(self, past: History, keys: Ints) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Return for the slots ahead whether the sun was seen at that time, or next to it, on any recent day."""
        times, ahead = keys[: past.slots] % DAY_S, keys[past.slots :]
        known = np.isfinite(past.pv_w)
        highest = float(past.pv_w[known].max()) if known.any() else 0.0
        seen = np.zeros(DAY_S // self._slot_s, dtype=bool)
        ever = np.zeros_like(seen)
        seen[times[known & (past.pv_w > _NIGHT_SHARE * highest)] // self._slot_s] = True
        ever[times[known] // self._slot_s] = True
        light = seen | np.roll(seen, 1) | np.roll(seen, -1) | ~ever
        return light[(ahead % DAY_S) // self._slot_s]
