"""What a recorded home would have forecast, day after day: one way for the study and the backtest.

Every forecast is made from what was metered before its first slot.
"""

from collections.abc import Iterator
from datetime import tzinfo
from typing import Protocol

import numpy as np

from agent.forecast.forecaster import Forecaster, Forecasts
from agent.forecast.history import History, Ints
from agent.forecast.naive import DAY_S
from agent.forecast.weather import Weather
from coordinator.errors import ConfigError
from coordinator.slots import Slot

REFIT_DAYS = 14
"""The live agent learns anew every day; members hardly change within two weeks, and learning is what takes long."""
JUDGE_DAYS = 1
"""Members are mixed anew as often as in the live agent: that is quick, and a bad member is out within days."""


class Place(Protocol):
    """Where recorded homes stand; a `Community` or `Lives`."""

    @property
    def timezone(self) -> tzinfo: ...
    @property
    def slot_s(self) -> int: ...
    @property
    def country(self) -> str | None: ...
    @property
    def latitude(self) -> float | None: ...
    @property
    def longitude(self) -> float | None: ...


class Limits(Protocol):
    """What a home can at most draw and generate; a `CommunityHome` or `Life`."""

    @property
    def pv_limit_w(self) -> float | None: ...
    @property
    def fuse_limit_w(self) -> float: ...


def forecaster_of(place: Place, home: Limits) -> Forecaster:
    """Return an unfitted forecaster of a recorded home.

    Raises:
        ConfigError: If no public holidays are known for the community's country.
    """
    try:
        return Forecaster(
            slot_s=place.slot_s,
            timezone=place.timezone,
            pv_limit_w=home.pv_limit_w,
            fuse_limit_w=home.fuse_limit_w,
            country=place.country,
            latitude=place.latitude,
            longitude=place.longitude,
        )
    except ValueError as error:
        raise ConfigError(f"community.toml: country: {error}: two letters such as GB, or leave it out") from None


def walk_forward(
    forecaster: Forecaster,
    history: History,
    issues: Ints,
    count: int,
    *,
    refit_days: int = REFIT_DAYS,
    weather: Weather | None = None,
) -> Iterator[Forecasts]:
    """Yield the forecasts of `count` slots from each issue on, JUDGE_DAYS of issues at a time.

    Before each of these members are judged and mixed anew, and every `refit_days` they also learn anew.

    Args:
        issues: Keys of the forecasts' first slots, ascending.
    """
    fitted = -1
    blocks = (issues - issues[0]) // (JUDGE_DAYS * DAY_S)
    for block in np.unique(blocks):
        keys = issues[blocks == block]
        past = history.upto(int(keys[0]))
        due = int(keys[0] - issues[0]) // (refit_days * DAY_S)
        if due > fitted:
            forecaster.fit(past, weather)
            fitted = due
        else:
            forecaster.judge(past, weather)
        yield forecaster.predict_many([Slot(int(key), history.first.length_s) for key in keys], count, history, weather)
