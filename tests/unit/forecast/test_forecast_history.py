from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np

from agent.forecast.history import Floats, History, Ints, LocalTime, slot_keys
from agent.forecast.series import Signal, lags
from coordinator.slots import Slot

FIRST = Slot.at(datetime(2026, 3, 2, tzinfo=UTC), 900)


def test_rows_in_any_order_become_mean_powers_with_gaps() -> None:
    key = FIRST.key
    history = History.from_rows([(key + 2700, 50.0, None), (key, 100.0, 0.0), (key, 125.0, 25.0)], 900)
    assert history.first == FIRST
    np.testing.assert_array_equal(history.load_w, [500.0, np.nan, np.nan, 200.0])
    np.testing.assert_array_equal(history.pv_w, [100.0, np.nan, np.nan, np.nan])
    assert history.end_key == key + 3600


def test_no_rows_are_an_empty_history() -> None:
    assert History.from_rows([], 900).slots == 0


def test_upto_ends_before_the_slot_and_last_days_keeps_the_newest() -> None:
    history = History(first=FIRST, load_w=np.arange(300.0), pv_w=np.zeros(300))
    assert history.upto(FIRST.shifted(10).key).load_w[-1] == 9
    assert history.upto(FIRST.key - 900).slots == 0
    newest = history.last_days(1)
    assert newest.slots == 96
    assert newest.first == FIRST.shifted(204)
    assert newest.end_key == history.end_key


def test_stuck_load_counts_as_unknown_but_zeros_and_short_runs_stay() -> None:
    stuck = np.concatenate([np.arange(1.0, 11.0), np.full(48, 230.0), np.full(60, 0.0), np.full(47, 90.0)])
    cleaned = History(first=FIRST, load_w=stuck, pv_w=np.zeros(stuck.size)).without_stuck_meters().load_w
    assert np.isnan(cleaned[10:58]).all()
    np.testing.assert_array_equal(cleaned[58:], stuck[58:])
    np.testing.assert_array_equal(cleaned[:10], stuck[:10])


def test_local_seconds_jump_with_the_clocks() -> None:
    local = LocalTime(ZoneInfo("Europe/Berlin"))
    spring = slot_keys(Slot.at(datetime(2026, 3, 29, tzinfo=UTC), 3600), 4)
    assert list((local.seconds(spring) % 86_400) // 3600) == [1, 3, 4, 5]
    autumn = slot_keys(Slot.at(datetime(2026, 10, 25, tzinfo=UTC), 3600), 3)
    assert list((local.seconds(autumn) % 86_400) // 3600) == [2, 2, 3]


def test_stuck_load_counts_as_known_until_half_a_day_has_shown_it() -> None:
    stuck = np.concatenate([np.arange(1.0, 11.0), np.full(60, 230.0)])
    cleaned = History(first=FIRST, load_w=stuck, pv_w=np.zeros(70)).without_stuck_meters(as_seen=True).load_w
    np.testing.assert_array_equal(cleaned[:58], stuck[:58])
    assert np.isnan(cleaned[58:]).all()


def signal(values: Floats, clock: Ints) -> Signal:
    return Signal(
        step_s=900,
        first_key=FIRST.key,
        values=values,
        clock=clock,
        off=np.zeros(clock.size, dtype=bool),
        sun_deg=np.zeros(clock.size),
        weather=np.zeros((clock.size, 0)),
    )


def test_earlier_days_are_looked_up_by_clock_time() -> None:
    found = lags(signal(np.arange(288.0), slot_keys(FIRST, 290)), np.array([288, 289]))
    np.testing.assert_array_equal(found.days[0, :4], [192.0, 96.0, 0.0, np.nan])
    np.testing.assert_array_equal(found.days[1, :4], [193.0, 97.0, 1.0, np.nan])
    np.testing.assert_array_equal(found.around[0, 28:31], [191.0, 95.0, np.nan])


def test_nothing_younger_than_a_day_is_looked_up_after_the_clocks_went_forward() -> None:
    first = Slot.at(datetime(2026, 3, 28, tzinfo=UTC), 900)
    keys = slot_keys(first, 3 * 96)
    clock = LocalTime(ZoneInfo("Europe/Berlin")).seconds(keys)
    noon = 96 + 40  # the same local time the day before is 23 h ago
    found = lags(signal(np.arange(2.0 * 96), clock), np.array([noon, noon + 96]))
    assert np.isnan(found.days[0, 0])
    assert found.days[1, 0] == noon
    assert found.days[1, 1] == noon - 96 + 4
