import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from agent.forecast.forecaster import Forecast, Forecaster
from agent.forecast.history import Floats, History, slot_keys
from coordinator.slots import Slot

UTC_ZONE, BERLIN = ZoneInfo("UTC"), ZoneInfo("Europe/Berlin")
START = Slot.at(datetime(2026, 3, 2, tzinfo=UTC), 3600)


def home(days: int, seed: int = 1, slot_s: int = 3600) -> History:
    """A home with habits, moods that last hours, cloudy spells, and noise."""
    r = np.random.default_rng(seed)
    per_day = 86_400 // slot_s
    n = days * per_day
    hour = np.arange(n) % per_day * slot_s / 3600
    weekend = np.arange(n) // per_day % 7 >= 5
    habit = 300 + 900 * np.exp(-(((hour - 19) / 2) ** 2)) + 500 * weekend * np.exp(-(((hour - 12) / 3) ** 2))
    mood = np.zeros(n)
    cloud = np.full(n, 0.7)
    for i in range(1, n):
        keep = 0.9 ** (slot_s / 3600)
        mood[i] = keep * mood[i - 1] + r.normal(0, 120) * np.sqrt(1 - keep**2) * 2
        cloud[i] = np.clip(0.95 * cloud[i - 1] + 0.05 * 0.7 + r.normal(0, 0.08), 0.1, 1)
    sun = 4000 * np.maximum(np.sin((hour - 6) / 12 * np.pi), 0) * cloud
    return History(first=Slot(START.key, slot_s), load_w=np.maximum(habit + mood + r.normal(0, 40, n), 20.0), pv_w=sun)


def forecaster(slot_s: int = 3600, zone: ZoneInfo = UTC_ZONE, pv_limit_w: float | None = None) -> Forecaster:
    return Forecaster(slot_s=slot_s, timezone=zone, pv_limit_w=pv_limit_w, fuse_limit_w=14_000)


def mean_of_7_days(values: Floats, at: int) -> Floats:
    return np.asarray(values[at - 168 : at].reshape(7, 24).mean(axis=0))


@pytest.mark.parametrize("seed", [1, 3])
def test_forecasts_beat_the_seven_day_mean_on_load_and_do_not_lose_on_sun(seed: int) -> None:
    history, f = home(60, seed), forecaster()
    errors: dict[str, list[Floats]] = {"load": [], "pv": [], "naive_load": [], "naive_pv": []}
    for step in range(14 * 24, 59 * 24, 7):
        first = START.shifted(step)
        if step % 168 == 0:
            f.fit(history.upto(first.key))
        forecast = f.predict(first, 24, history.upto(first.key))
        for name, values, mean in (("load", history.load_w, forecast.load_w), ("pv", history.pv_w, forecast.pv_w)):
            truth = values[step : step + 24]
            errors[name].append(truth - mean)
            errors[f"naive_{name}"].append(truth - mean_of_7_days(values, step))
    for name, at_most in (("load", 0.95), ("pv", 1.01)):
        assert np.mean(np.square(errors[name])) < at_most * np.mean(np.square(errors[f"naive_{name}"]))
    assert abs(np.mean(errors["load"])) < 0.05 * np.mean(history.load_w)


def test_model_stays_only_while_it_beats_the_mean_on_days_it_did_not_learn_from() -> None:
    r = np.random.default_rng(0)
    noise = History(first=START, load_w=r.uniform(0, 1000, 40 * 24), pv_w=np.zeros(40 * 24))
    f = forecaster(pv_limit_w=0.0)
    f.fit(noise)
    forecast = f.predict(START.shifted(40 * 24), 24, noise)
    load, _ = f.verdicts()
    assert load is not None
    assert (forecast.load_source == "model") == (load.rmse_model < 0.995 * load.rmse_naive)
    assert not forecast.pv_w.any()
    assert forecast.pv_source == "naive"


@pytest.mark.parametrize("days", [1, 3, 6])
def test_less_than_a_week_leaves_the_mean_of_the_days_there_are(days: int) -> None:
    history, f = home(days), forecaster()
    f.fit(history)
    forecast = f.predict(START.shifted(days * 24), 24, history)
    assert forecast.load_source == "naive"
    np.testing.assert_allclose(forecast.load_w, history.load_w.reshape(days, 24).mean(axis=0))


def check_sane(forecast: Forecast, count: int) -> None:
    for values in (forecast.load_w, forecast.pv_w, forecast.load_band_w, forecast.pv_band_w):
        assert len(values) == count
        assert np.isfinite(values).all()
        assert values.min() >= 0


def test_day_one_has_a_default_forecast_without_any_data() -> None:
    nothing = History(first=START, load_w=np.zeros(0), pv_w=np.zeros(0))
    f = forecaster(zone=BERLIN, pv_limit_w=5000.0)
    f.fit(nothing)
    forecast = f.predict(START, 24, nothing)
    check_sane(forecast, 24)
    assert (forecast.load_source, forecast.pv_source) == ("default", "default")
    assert 200 < forecast.load_w.mean() < 800
    assert forecast.load_w.argmax() == 18  # 19:00 in Berlin in winter
    assert 1500 < forecast.pv_w.max() <= 5000
    assert forecast.pv_w[0] == 0


def test_first_hours_set_the_level_of_the_default_shape() -> None:
    history = History(first=START, load_w=np.array([1200.0, 1210.0, 1190.0]), pv_w=np.zeros(3))
    forecast = forecaster(pv_limit_w=0.0).predict(START.shifted(3), 20, history)
    assert forecast.load_source == "default"
    assert 900 < forecast.load_w.mean() < 1600


def test_gaps_in_the_history_never_reach_the_forecast() -> None:
    history, f = home(30), forecaster()
    r = np.random.default_rng(4)
    holes = History(
        first=START,
        load_w=np.where(r.random(720) < 0.3, np.nan, history.load_w),
        pv_w=np.where(r.random(720) < 0.3, np.nan, history.pv_w),
    )
    f.fit(holes)
    forecast = f.predict(START.shifted(720), 24, holes)
    check_sane(forecast, 24)
    np.testing.assert_allclose(
        forecast.load_w, history.upto(START.key + 720 * 3600).load_w[-168:].reshape(7, 24).mean(0), atol=700
    )


def test_agent_that_was_off_for_two_days_still_forecasts_from_the_days_before() -> None:
    history, f = home(20), forecaster()
    f.fit(history)
    forecast = f.predict(START.shifted(22 * 24), 24, history)
    check_sane(forecast, 24)
    assert forecast.load_source != "default"


def test_agent_that_was_off_for_a_month_starts_again_from_the_default() -> None:
    history, f = home(20), forecaster()
    f.fit(history)
    forecast = f.predict(START.shifted(50 * 24), 24, history)
    check_sane(forecast, 24)
    assert forecast.load_source == "default"


def test_nothing_metered_at_or_after_the_first_slot_is_looked_at() -> None:
    history, f = home(30), forecaster()
    f.fit(history.upto(START.key + 20 * 86_400))
    first = START.shifted(20 * 24)
    known, whole = f.predict(first, 24, history.upto(first.key)), f.predict(first, 24, history)
    np.testing.assert_array_equal(known.load_w, whole.load_w)
    np.testing.assert_array_equal(known.pv_w, whole.pv_w)


def test_sun_is_never_forecast_at_night_nor_beyond_what_is_installed() -> None:
    history, f = home(30), forecaster(pv_limit_w=2500.0)
    f.fit(history)
    forecast = f.predict(START.shifted(720), 24, history)
    assert not forecast.pv_w[:5].any()
    assert not forecast.pv_w[20:].any()
    assert 500 < forecast.pv_w.max() <= 2500


def test_load_is_clamped_to_the_fuse() -> None:
    history = History(first=START, load_w=np.full(240, 9000.0) + np.arange(240), pv_w=np.zeros(240))
    f = Forecaster(slot_s=3600, timezone=UTC_ZONE, pv_limit_w=0.0, fuse_limit_w=5000.0)
    f.fit(history)
    assert f.predict(START.shifted(240), 24, history).load_w.max() == 5000.0


@pytest.mark.parametrize(
    ("change_at", "shift_h"),
    [(datetime(2026, 3, 29, 1, tzinfo=UTC), 1), (datetime(2026, 10, 25, 1, tzinfo=UTC), -1)],
)
def test_habits_follow_local_clocks_over_a_daylight_saving_change(change_at: datetime, shift_h: int) -> None:
    first = Slot.at(change_at, 3600).shifted(-14 * 24)
    keys = slot_keys(first, 14 * 24)
    before_h = int(first.start_at.astimezone(BERLIN).utcoffset().total_seconds() // 3600)  # type: ignore[union-attr]
    local_hour = (keys // 3600 + before_h) % 24
    history = History(
        first=first, load_w=np.where(local_hour == 19, 3000.0, 200.0 + local_hour), pv_w=np.zeros(keys.size)
    )
    day_after = Slot.at(change_at, 3600).shifted(2)
    forecast = forecaster(zone=BERLIN, pv_limit_w=0.0).predict(day_after, 20, history)
    peak = day_after.shifted(int(forecast.load_w.argmax()))
    assert peak.start_at.astimezone(BERLIN).hour == 19
    assert peak.start_at.hour == 19 - before_h - shift_h


def test_quarter_hours_are_forecast_in_a_few_milliseconds_after_a_short_fit() -> None:
    history, f = home(60, slot_s=900), forecaster(900)
    first = Slot(START.key, 900).shifted(60 * 96)
    start = time.process_time()
    f.fit(history)
    fitted = time.process_time()
    forecast = f.predict(first, 96, history)
    done = time.process_time()
    check_sane(forecast, 96)
    assert forecast.load_source == "model"
    assert fitted - start < 2.0
    assert done - fitted < 0.05


def test_band_holds_about_four_fifths_of_what_comes() -> None:
    history, f = home(76, 5), forecaster()
    inside = []
    for day in range(40, 75):
        first = START.shifted(day * 24)
        if day % 7 == 5:
            f.fit(history.upto(first.key))
        forecast = f.predict(first, 24, history)
        truth = history.load_w[day * 24 : day * 24 + 24]
        if day > 47:
            inside.append((truth >= forecast.load_band_w[:, 0]) & (truth <= forecast.load_band_w[:, 2]))
    assert 0.65 < np.mean(inside) < 0.92


def test_more_than_a_day_ahead_is_refused() -> None:
    with pytest.raises(ValueError, match="up to a day"):
        forecaster().predict(START, 25, home(2))
