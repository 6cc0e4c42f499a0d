from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from made_up_home import START, home

from agent.forecast.forecaster import Forecast, Forecaster
from agent.forecast.history import Floats, History, slot_keys
from agent.forecast.members import LEARNED, members_for
from coordinator.slots import Slot

UTC_ZONE, BERLIN = ZoneInfo("UTC"), ZoneInfo("Europe/Berlin")


def forecaster(slot_s: int = 3600, zone: ZoneInfo = UTC_ZONE, pv_limit_w: float | None = None) -> Forecaster:
    return Forecaster(slot_s=slot_s, timezone=zone, pv_limit_w=pv_limit_w, fuse_limit_w=14_000)


def mean_of_7_days(values: Floats, at: int) -> Floats:
    return np.asarray(values[at - 168 : at].reshape(7, 24).mean(axis=0))


@pytest.mark.parametrize(("seed", "share"), [(1, 0.9), (3, 0.99)])
def test_forecasts_beat_the_seven_day_mean_on_load_and_do_not_lose_on_sun(seed: int, share: float) -> None:
    history, f = home(41, seed), forecaster()
    errors: dict[str, list[Floats]] = {"load": [], "pv": [], "naive_load": [], "naive_pv": []}
    for step in range(23 * 24, 40 * 24, 7):
        first = START.shifted(step)
        if (step - 23 * 24) % 168 == 0:
            f.fit(history.upto(first.key))
        forecast = f.predict(first, 24, history.upto(first.key))
        for name, values, mean in (("load", history.load_w, forecast.load_w), ("pv", history.pv_w, forecast.pv_w)):
            truth = values[step : step + 24]
            errors[name].append(truth - mean)
            errors[f"naive_{name}"].append(truth - mean_of_7_days(values, step))
    for name, at_most in (("load", share), ("pv", 1.01)):
        assert np.mean(np.square(errors[name])) < at_most * np.mean(np.square(errors[f"naive_{name}"]))
    assert abs(np.mean(errors["load"])) < 0.05 * np.mean(history.load_w)


def test_all_members_learn_from_a_season_and_the_mean_beats_the_seven_day_mean() -> None:
    made, f = home(56), forecaster(pv_limit_w=0.0)
    history = History(first=START, load_w=made.load_w, pv_w=np.zeros(made.slots))
    f.fit(history.upto(START.key + 46 * 86_400))
    assert set(f.verdicts()[0].names) == LEARNED | set(members_for(0))
    many = f.predict_many([START.shifted(46 * 24 + step) for step in range(0, 9 * 24, 5)], 24, history)
    index = (many.issues - START.key)[:, None] // 3600 + np.arange(24)
    truth = history.load_w[index]
    week = np.mean([history.load_w[index - 24 * day] for day in range(1, 8)], axis=0)
    assert np.std(truth - many.load_w) < 0.95 * np.std(truth - week)
    assert np.abs(truth - many.load_band_w[:, :, 1]).mean() < np.abs(truth - week).mean()


def test_many_forecasts_at_once_say_the_same_as_one_by_one() -> None:
    history, f = home(30), forecaster()
    stuck = History(first=START, load_w=history.load_w.copy(), pv_w=history.pv_w)
    stuck.load_w[500:530] = 321.0
    f.fit(stuck.upto(START.key + 20 * 86_400))
    firsts = [START.shifted(step) for step in (482, 505, 520, 700)]
    many = f.predict_many(firsts, 24, stuck)
    for row, first in enumerate(firsts):
        one = f.predict(first, 24, stuck)
        np.testing.assert_allclose(many.load_w[row], one.load_w)
        np.testing.assert_allclose(many.load_band_w[row], one.load_band_w)
        np.testing.assert_allclose(many.pv_w[row], one.pv_w)
        np.testing.assert_allclose(many.pv_band_w[row], one.pv_band_w)


def test_on_pure_noise_the_learned_part_does_not_make_it_worse() -> None:
    r = np.random.default_rng(0)
    noise = History(first=START, load_w=r.uniform(0, 1000, 41 * 24), pv_w=np.zeros(41 * 24))
    f = forecaster(pv_limit_w=0.0)
    f.fit(noise.upto(START.key + 34 * 86_400))
    firsts = [START.shifted(34 * 24 + step) for step in range(0, 6 * 24, 4)]
    many = f.predict_many(firsts, 24, noise)
    index = (many.issues - START.key)[:, None] // 3600 + np.arange(24)
    week = np.mean([noise.load_w[index - 24 * day] for day in range(1, 8)], axis=0)
    assert np.std(noise.load_w[index] - many.load_w) < 1.01 * np.std(noise.load_w[index] - week)
    assert not many.pv_w.any()


@pytest.mark.parametrize("again", ["fit", "judge"])
def test_members_are_judged_anew_by_what_came_since(again: str) -> None:
    history, f = home(40), forecaster()
    f.fit(history.upto(START.key + 30 * 86_400))
    first = f.verdicts()[0]
    spoiled = History(first=START, load_w=history.load_w.copy(), pv_w=history.pv_w)
    spoiled.load_w[30 * 24 :] = 250.0 + 500.0 * (np.arange(240) % 2)  # a home whose habits are gone
    getattr(f, again)(spoiled)
    then = f.verdicts()[0]
    naive = [then.names.index(name) for name in ("mean7", "mean28", "kind_mean", "weekday4")]
    assert then.shares[0, naive].sum() > first.shares[0, naive].sum()


def test_judging_before_anything_was_learned_changes_nothing() -> None:
    history, f = home(20), forecaster()
    f.judge(history)
    np.testing.assert_array_equal(f.verdicts()[0].shares, forecaster().verdicts()[0].shares)


def test_the_same_history_gives_the_same_forecast_to_the_bit() -> None:
    history = home(30)
    made = []
    for _ in range(2):
        f = forecaster()
        f.fit(history)
        made.append(f.predict(START.shifted(720), 24, history))
    np.testing.assert_array_equal(made[0].load_band_w, made[1].load_band_w)
    np.testing.assert_array_equal(made[0].pv_w, made[1].pv_w)


def test_holidays_are_forecast_like_other_days_off() -> None:
    days = 35
    keys = slot_keys(START, days * 24)
    hour = keys // 3600 % 24
    weekday = (keys // 86_400 + 3) % 7
    busy = (weekday >= 5) & (hour >= 9) & (hour < 17)
    history = History(first=START, load_w=np.where(busy, 2000.0, 300.0) + hour, pv_w=np.zeros(keys.size))
    good_friday = Slot.at(datetime(2026, 4, 3, tzinfo=UTC), 3600)
    noon = {}
    for country in (None, "DE"):
        f = Forecaster(slot_s=3600, timezone=UTC_ZONE, pv_limit_w=0.0, country=country)
        f.fit(history.upto(good_friday.key))
        noon[country] = f.predict(good_friday, 24, history).load_w[12]
    assert noon[None] < 700
    assert noon["DE"] > noon[None] + 400


def test_an_unknown_country_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'XX'"):
        Forecaster(slot_s=3600, timezone=UTC_ZONE, pv_limit_w=0.0, country="XX")


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


def test_band_holds_about_four_fifths_of_what_comes() -> None:
    history, f = home(41, 5, 900), forecaster(900)
    inside = []
    for day in range(20, 40, 4):
        f.fit(history.upto(START.key + day * 86_400))
        firsts = [Slot(START.key + hour * 3600, 900) for hour in range(day * 24, day * 24 + 96, 8)]
        many = f.predict_many(firsts, 96, history)
        index = (many.issues - START.key)[:, None] // 900 + np.arange(96)
        known = index < history.slots
        truth = history.load_w[np.minimum(index, history.slots - 1)]
        inside.append(((truth >= many.load_band_w[:, :, 0]) & (truth <= many.load_band_w[:, :, 2]))[known])
    assert 0.74 < np.mean(np.concatenate(inside)) < 0.86


def test_a_home_without_sun_and_one_without_consumption_are_learned_without_fuss() -> None:
    history, f = home(20), forecaster()
    nothing = History(first=START, load_w=np.zeros(480), pv_w=np.zeros(480))
    for known in (History(first=START, load_w=history.load_w, pv_w=nothing.pv_w), nothing):
        f.fit(known)
        forecast = f.predict(START.shifted(480), 24, known)
        check_sane(forecast, 24)
        assert not forecast.pv_w.any()
    assert not forecast.load_w.any()


def test_more_than_a_day_ahead_is_refused() -> None:
    with pytest.raises(ValueError, match="up to a day"):
        forecaster().predict(START, 25, home(2))


def test_a_signal_metered_for_a_week_only_is_learned_from_day_by_day() -> None:
    made, f = home(24), forecaster()
    pv_w = made.pv_w.copy()
    pv_w[: 13 * 24] = np.nan  # with the newest days held back there is nothing to learn from
    history = History(first=START, load_w=made.load_w, pv_w=pv_w)
    for day in (20, 21, 22, 23):
        known = history.upto(START.key + day * 86_400)
        f.judge(known)
        f.fit(known)
    forecast = f.predict(START.shifted(23 * 24), 24, history)
    assert "ridge" in f.verdicts()[1].names
    assert np.abs(forecast.pv_w - made.pv_w[23 * 24 :]).mean() < 0.3 * made.pv_w.mean()
