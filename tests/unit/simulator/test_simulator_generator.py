"""Seeded believable days."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from agent.simulator.generator import GeneratedHome
from coordinator.errors import LocalProtocolError

START = datetime(2025, 6, 2, tzinfo=UTC)
QUARTER_S = 900


def home(seed: int = 7, weather_seed: int = 3, **other: float) -> GeneratedHome:
    place = {"latitude": 52.5, "longitude": 13.4, "pv_kwp": 5.0} | other
    return GeneratedHome(seed=seed, weather_seed=weather_seed, timezone=ZoneInfo("Europe/Berlin"), **place)


def means(which: GeneratedHome, start_at: datetime, days: int) -> tuple[np.ndarray, np.ndarray]:
    """Return load and PV by quarter hour, shape (days, 96)."""
    rows = which.history_rows(start_at, 96 * days, QUARTER_S)
    load = np.array([row.load_w for row in rows]).reshape(days, 96)
    return load, np.array([row.pv_w for row in rows]).reshape(days, 96)


def test_a_seed_always_makes_the_same_home() -> None:
    # Written down once: another platform or Python must find the same figures.
    day = home().history_rows(START, 24, 3600)
    assert [row.load_w for row in day[4:8]] == pytest.approx([170.8, 363.2, 261.9, 274.1], abs=0.1)
    assert [row.pv_w for row in day[8:12]] == pytest.approx([3380.6, 3886.9, 4133.5, 3666.3], abs=0.1)


def test_the_order_of_asking_changes_nothing() -> None:
    forward, backward = home(), home()
    days = [START + timedelta(days=ahead) for ahead in range(3)]
    first = [forward.history_rows(day, 24, 3600) for day in days]
    last = [backward.history_rows(day, 24, 3600) for day in reversed(days)]
    assert first == last[::-1]


def test_history_is_the_mean_of_the_life_the_home_lived() -> None:
    lived = home()
    at = START + timedelta(hours=9)
    minutes = [at + timedelta(minutes=ahead) for ahead in range(15)]
    row = lived.history_rows(at, 1, QUARTER_S)[0]
    assert row.load_w == pytest.approx(sum(lived.load_w(minute) for minute in minutes) / 15)
    assert row.pv_w == pytest.approx(sum(lived.pv_w(minute) for minute in minutes) / 15)


def test_values_change_on_the_minute_only() -> None:
    lived = home()
    at = START + timedelta(hours=9, minutes=4, seconds=13)
    assert lived.next_change(at) == START + timedelta(hours=9, minutes=5)
    assert lived.load_w(at) == lived.load_w(START + timedelta(hours=9, minutes=4))


def test_days_look_like_days() -> None:
    load, pv = means(home(), START, 28)
    # 22:00 to 02:00 UTC is night in Berlin in June; 17:00 to 20:00 UTC is the evening.
    assert pv[:, :8].max() == 0
    assert load.min() > 30
    assert load[:, 68:80].mean() > 1.8 * load[:, 4:12].mean()
    assert 2 < load.mean() * 24 / 1000 < 20
    days_kwh = pv.sum(axis=1) / 4000
    assert days_kwh.max() > 2 * days_kwh.min()
    assert 0.75 * 5000 < pv.max() <= 5000


def test_bad_weather_comes_in_spells() -> None:
    _, pv = means(home(), datetime(2025, 5, 1, tzinfo=UTC), 90)
    days = pv.sum(axis=1)
    together = np.corrcoef(days[:-1], days[1:])[0, 1]
    assert together > 0.2


def test_winter_gives_a_fraction_of_the_summer_sun() -> None:
    _, summer = means(home(), datetime(2025, 6, 1, tzinfo=UTC), 28)
    _, winter = means(home(), datetime(2025, 12, 1, tzinfo=UTC), 28)
    assert winter.mean() < 0.35 * summer.mean()


def test_the_southern_hemisphere_has_its_summer_in_january() -> None:
    south = home(latitude=-33.9, longitude=18.4)
    _, january = means(south, datetime(2025, 1, 5, tzinfo=UTC), 14)
    _, july = means(south, datetime(2025, 7, 5, tzinfo=UTC), 14)
    assert january.mean() > 1.3 * july.mean()


def test_neighbours_share_the_sky_but_not_the_kettle() -> None:
    one_load, one_pv = means(home(seed=1), START, 14)
    two_load, two_pv = means(home(seed=2), START, 14)
    assert np.corrcoef(one_pv.ravel(), two_pv.ravel())[0, 1] > 0.95
    assert np.corrcoef(one_load.ravel(), two_load.ravel())[0, 1] < 0.8


def test_habits_follow_local_time_across_the_change_of_clocks() -> None:
    spring = datetime(2025, 3, 29, 23, tzinfo=UTC)  # local midnight of the day with 23 hours
    lived = home()
    rows = [lived.load_w(spring + timedelta(minutes=minute)) for minute in range(23 * 60)]
    whole_day = lived._local_day(date(2025, 3, 30))
    assert rows[:120] == list(whole_day[:120])
    assert rows[120:] == list(whole_day[180:])


def test_history_refuses_slots_off_the_minute() -> None:
    for start_at, slot_s in ((START + timedelta(seconds=5), 900), (START, 90)):
        with pytest.raises(LocalProtocolError, match="whole minutes"):
            home().history_rows(start_at, 1, slot_s)


def test_a_home_without_pv_has_no_sun_to_sell() -> None:
    dark = home(pv_kwp=0.0)
    assert dark.pv_peak_w == 0
    assert means(dark, START, 1)[1].max() == 0


def test_history_rows_follow_each_other_without_gap() -> None:
    rows = home().history_rows(START, 100, QUARTER_S)
    assert all(later.start_at - row.start_at == timedelta(seconds=QUARTER_S) for row, later in pairwise(rows))
