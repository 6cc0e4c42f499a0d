"""What the date says about a slot: the local clock, days off, how high the sun stands."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo

import numpy as np
from astral import Observer
from astral.sun import elevation
from numpy.typing import NDArray

from agent.forecast.history import Floats, Ints, LocalTime
from agent.forecast.naive import DAY_S

_SUN_STEP_S = 3600
"""The sun's height is computed hourly and interpolated; at that step its path is straight to a tenth of a degree."""
_SUN_DAYS = 4
"""An hour's height is computed for every fourth day and interpolated: it drifts evenly, to a fiftieth of a degree.
At the horizon, where the air bends the light, to half a degree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a home stands, as far as its owner tells. No value leaves the home.

    Args:
        country: Two letters, for public holidays; None: only weekends are days off.
        latitude: Degrees; together with `longitude` it gives the sun's height.
    """

    timezone: tzinfo
    country: str | None = None
    latitude: float | None = None
    longitude: float | None = None


class Calendar:
    """Calendar facts of many slots at once.

    Raises:
        ValueError: If the country is not known.
    """

    def __init__(self, place: Place) -> None:
        self._local = LocalTime(place.timezone)
        self._sun = None
        if place.latitude is not None and place.longitude is not None:
            self._sun = Observer(latitude=place.latitude, longitude=place.longitude)
        self._country = place.country
        self._days_off: dict[int, bool] = {}
        self._holidays: dict[int, frozenset[date]] = {}
        self._heights: dict[int, float] = {}
        if place.country is not None:
            self._is_holiday(date(2020, 1, 1))

    def seconds(self, keys: Ints) -> Ints:
        """Return what local clocks show, as `LocalTime.seconds`."""
        return self._local.seconds(keys)

    def days_off(self, local_seconds: Ints) -> NDArray[np.bool_]:
        """Return whether each slot lies on a weekend or a public holiday."""
        days, index = np.unique(local_seconds // DAY_S, return_inverse=True)
        return np.array([self._day_off(int(day)) for day in days], dtype=bool)[index]

    def _day_off(self, day: int) -> bool:
        off = self._days_off.get(day)
        if off is None:
            at = datetime.fromtimestamp(day * DAY_S, UTC).date()
            off = self._days_off[day] = at.weekday() >= 5 or self._is_holiday(at)
        return off

    def _is_holiday(self, day: date) -> bool:
        if self._country is None:
            return False
        if day.year not in self._holidays:
            self._holidays[day.year] = _holidays(self._country, day.year)
        return day in self._holidays[day.year]

    def sun_deg(self, keys: Ints) -> Floats:
        """Return the sun's height above the horizon at each slot's start, 0 for an unknown place."""
        if self._sun is None or not keys.size:
            return np.zeros(keys.size)
        hours = np.arange(keys.min() // _SUN_STEP_S, keys.max() // _SUN_STEP_S + 2)
        return np.interp(keys, hours * _SUN_STEP_S, [self._height(self._sun, int(hour)) for hour in hours])

    def _height(self, observer: Observer, hour: int) -> float:
        day, hour_of_day = divmod(hour, 24)
        ago = day % _SUN_DAYS
        before, after = (
            self._computed(observer, 24 * known + hour_of_day) for known in (day - ago, day - ago + _SUN_DAYS)
        )
        return before + (after - before) * ago / _SUN_DAYS

    def _computed(self, observer: Observer, hour: int) -> float:
        height = self._heights.get(hour)
        if height is None:
            at = datetime.fromtimestamp(hour * _SUN_STEP_S, UTC)
            height = self._heights[hour] = float(elevation(observer, at))
        return height


def _holidays(country: str, year: int) -> frozenset[date]:
    from holidays import country_holidays

    try:
        return frozenset(country_holidays(country, years=year))
    except NotImplementedError:
        raise ValueError(f"no public holidays are known for the country {country!r}") from None
