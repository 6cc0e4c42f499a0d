"""Weather as forecast for the home's place, as further features: optional, kept on disk, usable without the internet.

Open-Meteo needs no key and no account; it learns the coordinates asked for, so these are rounded to a tenth of a degree
(about 10 km). When it cannot be reached, what was kept is used; when nothing was kept, forecasts do without.
"""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent.forecast.history import Floats, Ints
from coordinator.clock import Clock, WallClock
from coordinator.errors import ConfigError

log = logging.getLogger(__name__)

Rows = dict[int, list[float | None]]
"""Hourly values by Unix second, in the order of `VARIABLES`."""

URL = "https://api.open-meteo.com/v1/forecast"
VARIABLES = ("temperature_2m", "shortwave_radiation", "cloud_cover")
PAST_DAYS = 92
"""Past days the service tells again: enough to learn from after the first call."""
KEPT_DAYS, AHEAD_DAYS = 400, 7
"""Rows of other days are not believed, and not kept: forecasts learn from a year at most."""
_HOUR_S = 3600
_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """Hourly values from `first_key` on.

    Args:
        first_key: Unix second, a whole hour.
        values: Shape (hours, k), NaN where not known.
    """

    first_key: int
    values: Floats

    def at(self, keys: Ints) -> Floats:
        """Return the values of the hour each key lies in, shape (n, k); NaN outside."""
        place = (keys - self.first_key) // _HOUR_S
        inside = (place >= 0) & (place < len(self.values))
        padded = np.vstack([self.values, np.full((1, self.values.shape[1]), np.nan)])
        return padded[np.where(inside, place, len(self.values))]


class WeatherError(Exception):
    """The service said something that is no weather."""


def parse(answer: Mapping[str, Any], variables: Sequence[str] = VARIABLES) -> Rows:
    """Return the hourly rows of the service's answer by Unix second; what is no finite number is None.

    Raises:
        WeatherError: If the answer is not of the documented form.
    """
    try:
        hourly = answer["hourly"]
        columns = [hourly[name] for name in variables]
        rows = {
            int(at): [None if value is None or not math.isfinite(value) else float(value) for value in row]
            for at, *row in zip(hourly["time"], *columns, strict=True)
        }
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise WeatherError(f"the weather service's answer is not of the known form ({error!r})") from None
    if any(at % _HOUR_S for at in rows):
        raise WeatherError("the weather service's times are not whole hours")
    return rows


class WeatherSource:
    """Asks the service and keeps what it said, one JSON file.

    A later answer replaces what an earlier one forecast for the same hour, so the past is what was forecast last.

    Args:
        path: The file; made when missing.
        latitude: Degrees; rounded before anybody is asked.
        url: Another server of the same interface.

    Raises:
        ConfigError: If the extra `weather` is not installed.
    """

    def __init__(
        self, path: Path, *, latitude: float, longitude: float, url: str = URL, clock: Clock | None = None
    ) -> None:
        try:
            import httpx  # noqa: F401
        except ImportError as error:
            raise ConfigError(f"home.weather needs {error.name}: pip install 'commonwatt[weather]'") from None
        self._path = path
        self._url = url
        self._clock = clock or WallClock()
        self._query = {
            "latitude": str(round(latitude, 1)),
            "longitude": str(round(longitude, 1)),
            "hourly": ",".join(VARIABLES),
            "past_days": str(PAST_DAYS),
            "forecast_days": "3",
            "timeformat": "unixtime",
            "timezone": "UTC",
        }

    def kept(self) -> Weather | None:
        """Return what is on disk, or None."""
        return _weather(self._near(self._rows()))

    def refresh(self) -> Weather | None:
        """Ask the service, keep its answer, and return all that is known; without an answer, what was kept."""
        import httpx

        rows = self._near(self._rows())
        try:
            answer = httpx.get(self._url, params=self._query, timeout=_TIMEOUT_S)
            answer.raise_for_status()
            rows |= self._near(parse(answer.json()))
        except (httpx.HTTPError, ValueError, WeatherError) as error:
            log.warning("weather: %s; going on with what was kept", error)
            return _weather(rows)
        try:
            part = self._path.with_suffix(".part")
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(rows))
            part.replace(self._path)
        except OSError as error:
            log.warning("weather: %s cannot be written (%s); it is asked again after a restart", self._path, error)
        return _weather(rows)

    def _near(self, rows: Rows) -> Rows:
        """Return the rows that can be true and of use: one absurd time would ask for all the memory there is."""
        now_s = self._clock.now().timestamp()
        first, last = now_s - KEPT_DAYS * 86_400, now_s + AHEAD_DAYS * 86_400
        return {at: row for at, row in rows.items() if first <= at <= last}

    def _rows(self) -> Rows:
        try:
            kept = json.loads(self._path.read_text())
            usable = ((int(at), row) for at, row in kept.items() if len(row) == len(VARIABLES))
            return {at: [*row] for at, row in usable if at % _HOUR_S == 0}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, TypeError) as error:
            log.warning("weather: %s cannot be read (%s); asking anew", self._path, error)
            return {}


def _weather(rows: Mapping[int, Sequence[float | None]]) -> Weather | None:
    if not rows:
        return None
    first = min(rows)
    values = np.full(((max(rows) - first) // _HOUR_S + 1, len(VARIABLES)), np.nan)
    for at, row in rows.items():
        values[(at - first) // _HOUR_S] = [np.nan if value is None else value for value in row]
    return Weather(first_key=first, values=values)
