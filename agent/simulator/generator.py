"""Seeded believable days: one process gives the live home and its past, at any moment, in any order."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache, partial
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from agent.simulator.chance import dice, spread
from agent.simulator.household import MINUTES, Habits, habits_of, load_day_w
from agent.simulator.profile import HistoryRow
from agent.simulator.sky import Roof, pv_day_w
from coordinator.errors import LocalProtocolError
from coordinator.slots import require_utc

DAYS_KEPT = 40
"""Days held in memory: a month of history and the running day; older ones are made again when asked for."""

QUARTER = 15
"""No zone changes its offset inside a quarter hour."""

MINUTE = timedelta(minutes=1)

Day = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(slots=True, kw_only=True)
class GeneratedHome:
    """A home made of a seed (a `Profile`). Resolution one minute.

    Args:
        seed: The household: its people, habits, appliances and panel orientation.
        weather_seed: The sky; neighbours share it.
        timezone: People live by local time.
        pv_kwp: 0 for a home without PV.
        load_scale: Factor on the household's load (1.0: roughly 2 to 5 MWh a year).
    """

    seed: int
    weather_seed: int
    timezone: ZoneInfo
    latitude: float
    longitude: float
    pv_kwp: float = 0.0
    load_scale: float = 1.0
    habits: Habits = field(init=False)
    roof: Roof = field(init=False)
    _day: Callable[[date], Day] = field(init=False, repr=False, compare=False)
    _local_day: Callable[[date], NDArray[np.float64]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.habits = habits_of(self.seed)
        rng = dice(self.seed, "roof")
        towards_equator = 0.0 if self.latitude >= 0 else 180.0
        self.roof = Roof(
            latitude=self.latitude,
            longitude=self.longitude,
            kwp=self.pv_kwp,
            tilt_deg=spread(rng, 32, 12),
            azimuth_deg=towards_equator + spread(rng, 0, 50),
            seed=self.weather_seed,
        )
        self._day = lru_cache(DAYS_KEPT)(self._make_day)
        self._local_day = lru_cache(DAYS_KEPT)(partial(load_day_w, self.habits))

    @property
    def pv_peak_w(self) -> float:
        return 1000 * self.pv_kwp

    def load_w(self, at: datetime) -> float:
        day, minute = _place(at)
        return float(self._day(day)[0][minute])

    def pv_w(self, at: datetime) -> float:
        day, minute = _place(at)
        return float(self._day(day)[1][minute])

    def next_change(self, at: datetime) -> datetime:
        return at.replace(second=0, microsecond=0) + MINUTE

    def history_rows(self, start_at: datetime, slots: int, slot_s: int) -> list[HistoryRow]:
        """Return the mean load and PV of `slots` slots from `start_at` on.

        Raises:
            LocalProtocolError: If the slots do not begin and end on whole minutes.
        """
        start_at = require_utc(start_at)
        if slot_s <= 0 or slot_s % 60 or start_at != start_at.replace(second=0, microsecond=0):
            raise LocalProtocolError(f"history needs whole minutes, not {slot_s} s from {start_at}")
        first, minute = _place(start_at)
        count = slots * slot_s // 60
        days = [self._day(first + timedelta(days=ahead)) for ahead in range((minute + count + MINUTES - 1) // MINUTES)]
        means = [
            np.concatenate([np.empty(0), *(day[which] for day in days)])[minute : minute + count]
            .reshape(slots, slot_s // 60)
            .mean(axis=1)
            for which in (0, 1)
        ]
        return [
            HistoryRow(start_at=start_at + index * timedelta(seconds=slot_s), load_w=float(load), pv_w=float(pv))
            for index, (load, pv) in enumerate(zip(*means, strict=True))
        ]

    def _make_day(self, day: date) -> Day:
        """Return load and PV per minute of a UTC day."""
        return self._load_of_utc_day(day), pv_day_w(self.roof, day)

    def _load_of_utc_day(self, day: date) -> NDArray[np.float64]:
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
        parts = []
        for quarter in range(0, MINUTES, QUARTER):
            local = (midnight + quarter * MINUTE).astimezone(self.timezone)
            first = local.hour * 60 + local.minute
            parts.append(self._local_day(local.date())[first : first + QUARTER])
        return np.concatenate(parts) * self.load_scale


def _place(at: datetime) -> tuple[date, int]:
    at = require_utc(at)
    return at.date(), at.hour * 60 + at.minute
