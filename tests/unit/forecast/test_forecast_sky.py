"""A home with little history: what the last hour's sun says of the next ones."""

from zoneinfo import ZoneInfo

import numpy as np
import pytest
from made_up_home import START, home

from agent.forecast.forecaster import Forecast, Forecaster
from agent.forecast.history import Floats, History
from agent.forecast.naive import DAY_S
from coordinator.slots import Slot

UTC_ZONE = ZoneInfo("UTC")
PER_DAY = 96


def forecaster() -> Forecaster:
    return Forecaster(slot_s=900, timezone=UTC_ZONE, pv_limit_w=5000.0)


def days_of(*shares: float) -> History:
    """Return days whose sun is such a share of 4 kW at noon."""
    hour = np.arange(PER_DAY) / 4
    bell_w = 4000 * np.maximum(np.sin((hour - 6) / 12 * np.pi), 0)
    pv_w = np.concatenate([share * bell_w for share in shares])
    return History(first=Slot(START.key, 900), load_w=np.full(pv_w.size, 300.0) + np.arange(pv_w.size) % 7, pv_w=pv_w)


def forecast_at(hour: float, *shares: float, learn: bool = True) -> Forecast:
    """Return what is forecast on the last day, learned from the days before."""
    known, f = days_of(*shares), forecaster()
    if learn:
        f.fit(known.upto(START.key + (len(shares) - 1) * DAY_S))
    first = Slot(START.key + int((len(shares) - 1) * DAY_S + hour * 3600), 900)
    return f.predict(first, PER_DAY, known.upto(first.key))


def test_after_hours_of_cloud_a_young_home_expects_little_sun_for_the_next_hours_and_the_usual_for_tomorrow() -> None:
    sunny, dull = forecast_at(11, *[1.0] * 15), forecast_at(11, *[1.0] * 14, 0.2)
    came_w = days_of(0.2).pv_w[11 * 4 :]
    assert sunny.pv_w[:8] == pytest.approx(came_w[:8] / 0.2, rel=0.1)
    assert dull.pv_w[0] < 1.5 * came_w[0], "not five times what comes"
    assert (dull.pv_w[:4] < 2.6 * came_w[:4]).all()
    assert (dull.pv_w[4:8] < 0.8 * sunny.pv_w[4:8]).all()
    tomorrow = slice(20 * 4, 22 * 4)
    assert dull.pv_w[tomorrow] == pytest.approx(sunny.pv_w[tomorrow], rel=0.2)
    assert (dull.pv_band_w[:8, 0] <= dull.pv_band_w[:8, 1]).all()
    assert (dull.pv_band_w[:8, 2] < 0.8 * sunny.pv_band_w[:8, 2]).all(), "the band comes down with the mean"


def test_when_the_sun_comes_back_it_is_expected_to_stay_for_some_hours() -> None:
    bright, dull = forecast_at(11, *[0.4] * 14, 0.8), forecast_at(11, *[0.4] * 15)
    assert (bright.pv_w[:4] > 1.5 * dull.pv_w[:4]).all()
    assert (bright.pv_w[:4] < 2.1 * dull.pv_w[:4]).all()


@pytest.mark.parametrize("hour", [0, 4, 6.25, 19, 23])
def test_what_little_comes_at_night_and_at_dawn_says_little(hour: float) -> None:
    usual, dull = forecast_at(hour, *[1.0] * 15), forecast_at(hour, *[1.0] * 14, 0.2)
    assert dull.pv_w[:16] == pytest.approx(usual.pv_w[:16], rel=0.15, abs=60)


def test_a_forecaster_that_never_learned_says_the_mean_of_the_days_before() -> None:
    dull = forecast_at(11, *[1.0] * 14, 0.2, learn=False)
    assert dull.pv_w[:8] == pytest.approx(days_of(1.0).pv_w[11 * 4 : 13 * 4])


def test_hours_nobody_metered_say_nothing() -> None:
    known, f = days_of(*[1.0] * 14, 0.2), forecaster()
    f.fit(known.upto(START.key + 14 * DAY_S))
    first = Slot(START.key + 14 * DAY_S + 11 * 3600, 900)
    pv_w = known.pv_w.copy()
    pv_w[-(PER_DAY - 9 * 4) : -(PER_DAY - 11 * 4)] = np.nan
    gap = History(first=known.first, load_w=known.load_w, pv_w=pv_w)
    assert f.predict(first, 8, gap).pv_w == pytest.approx(days_of(1.0).pv_w[11 * 4 : 13 * 4], rel=0.2)


@pytest.mark.parametrize("seed", [1, 2])
def test_over_weeks_of_clouds_the_next_hours_are_forecast_better_and_the_day_no_worse(seed: int) -> None:
    """Next to the mean of seven days, which is what a home of two weeks mostly goes by."""
    known, f = home(30, seed, 900), forecaster()
    errors: dict[str, list[Floats]] = {"ours": [], "mean": []}
    for day in range(15, 29):
        f.fit(known.upto(known.first.key + day * DAY_S))
        at = range(day * PER_DAY, (day + 1) * PER_DAY, 12)
        many = f.predict_many([known.first.shifted(issue) for issue in at], PER_DAY, known)
        for issue, said_w in zip(at, many.pv_w, strict=True):
            came_w = known.pv_w[issue : issue + PER_DAY]
            week_w = known.pv_w[issue - 7 * PER_DAY : issue].reshape(7, PER_DAY).mean(axis=0)
            errors["ours"].append(said_w - came_w)
            errors["mean"].append(week_w - came_w)
    ours, mean = (np.sqrt(np.mean(np.square(errors[name]), axis=0)) for name in ("ours", "mean"))
    assert np.mean(ours[:4]) < 0.8 * np.mean(mean[:4])
    assert np.mean(ours[4:12]) < 0.95 * np.mean(mean[4:12])
    assert np.mean(ours) < np.mean(mean)
