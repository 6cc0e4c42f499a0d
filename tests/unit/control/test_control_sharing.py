"""What a home tells of its slot and offers, computed by hand beside it."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from agent.control.controller import Shared
from agent.control.headroom import Room
from agent.control.sharing import Sharing, Situation
from coordinator.balancing import Numbers
from coordinator.charter import Rules
from coordinator.slots import Slot

RULES = Rules()
SLOT = Slot.at(datetime(2026, 6, 1, 9, tzinfo=UTC), 900)
ROOM = Room(least_w=-3000, most_w=2000, planned_w=500)
DAY = date(2026, 6, 1)
PEER = Numbers(power_w=0, give_w=1000, take_w=1000)


def sharing(**options: float) -> Sharing:
    return Sharing(rules=RULES, interval_s=5, life_s=60, range_w=options.pop("range_w", 6000), **options)


def home(
    deviation_w: float = 0.0, room: Room | None = ROOM, smooth_w: float | None = None, grid_w: float = 0.0
) -> Situation:
    return Situation(
        net_w=1000 + deviation_w,
        smooth_w=1000 + (deviation_w if smooth_w is None else smooth_w),
        planned_w=1000,
        grid_w=grid_w,
        room=room,
        day=DAY,
    )


def at(second: float) -> datetime:
    return SLOT.start_at + timedelta(seconds=second)


def told(mine: Sharing, second: float, situation: Situation, others: tuple[Numbers, ...] = ()) -> Numbers:
    mine.step(at(second), SLOT, situation, others)
    assert mine.news is not None
    return mine.news


# What is told


def test_told_is_the_deviation_and_what_the_battery_could_still_do() -> None:
    assert told(sharing(), 0, home(0)) == Numbers(power_w=0, give_w=1500, take_w=3500)
    # 4000 on others' word, as the charter's 1000 Wh allow; from taking 300 for its own home that is 4300.
    large = Room(least_w=-5000, most_w=6000, planned_w=0)
    assert told(sharing(), 0, home(0, large)) == Numbers(power_w=0, give_w=4000, take_w=4000)
    assert told(sharing(), 0, home(-300, large)) == Numbers(power_w=-300, give_w=3700, take_w=4300)


def test_what_the_plan_would_take_from_the_grid_is_told_too() -> None:
    assert told(sharing(), 0, home(-300, grid_w=900)).power_w == 600
    assert told(sharing(range_w=0), 0, home(250, room=None, grid_w=-1000)).power_w == -750


def test_a_home_without_a_battery_tells_its_deviation_alone() -> None:
    assert told(sharing(range_w=0), 0, home(250, room=None)) == Numbers(power_w=250)


def test_numbers_stay_within_the_charter() -> None:
    large = Room(least_w=-90_000, most_w=90_000, planned_w=0)
    assert told(sharing(), 0, home(70_000, large)) == Numbers(power_w=12_000, give_w=12_000, take_w=0)
    assert told(sharing(), 0, home(-70_000, large)) == Numbers(power_w=-12_000, give_w=0, take_w=12_000)


def test_it_is_told_at_intervals_and_at_once_in_a_new_slot() -> None:
    mine = sharing()
    said = []
    for second in (0, 2, 4, 6, 8, 10, 12):
        mine.step(at(second), SLOT, home(0), ())
        said.append(mine.news is not None)
    assert said == [True, False, False, True, False, False, True]
    mine.step(at(899), SLOT, home(0), ())
    mine.step(at(901), SLOT.shifted(1), home(0), ())
    assert mine.news is not None


def test_the_energy_told_is_the_energy_of_the_deviation_however_it_is_smoothed() -> None:
    """A kettle of 6 minutes that smoothing hardly shows."""
    mine, told_wh, said_w = sharing(), 0.0, 0.0
    for second in range(900):
        deviation_w = 2000.0 if 100 <= second < 460 else 0.0
        mine.step(at(second), SLOT, home(deviation_w, smooth_w=0.1 * deviation_w), ())
        said_w = said_w if mine.news is None else mine.news.power_w
        told_wh += said_w / 3600
    assert told_wh == pytest.approx(200, rel=0.1)


def test_nothing_is_made_up_for_a_time_nobody_saw() -> None:
    mine = sharing()
    told(mine, 0, home(1000))
    assert told(mine, 400, home(0, smooth_w=0)) == Numbers(power_w=0, give_w=1500, take_w=3500)


def test_what_the_battery_cannot_do_of_its_plan_is_told_as_a_shortage() -> None:
    assert told(sharing(), 0, home(0, Room(least_w=-3000, most_w=100, planned_w=500))).power_w == 400


# What is done


def test_the_own_deviation_is_shared_by_headroom() -> None:
    mine = sharing()
    mine.step(at(0), SLOT, home(1000), ())
    shared = mine.step(at(5), SLOT, home(1000), (replace(PEER, give_w=1500),))
    assert shared.left_w == pytest.approx(500, abs=1), "half of it is left to the meter, the neighbour gives it"
    assert (shared.given_w, shared.homes) == (pytest.approx(-500, abs=1), 1)


def test_the_battery_gives_its_share_of_a_neighbours_shortage() -> None:
    mine = sharing()
    mine.step(at(0), SLOT, home(0), ())
    shared = mine.step(at(5), SLOT, home(0), (Numbers(power_w=600),))
    assert (shared.left_w, shared.given_w) == (-600, 600)


def test_a_planned_import_is_given_by_whoever_has_most_to_give() -> None:
    """The plan takes 1200 W from the grid; the neighbour's battery has twice this one's headroom."""
    mine = sharing()
    mine.step(at(0), SLOT, home(0, grid_w=1200), ())
    shared = mine.step(at(5), SLOT, home(0, grid_w=1200), (Numbers(give_w=3000),))
    assert shared.given_w == pytest.approx(400 - 1200, abs=1)
    assert shared.left_w == pytest.approx(-400, abs=1), "800 of the 1200 W planned still come through the meter"


def test_a_shortage_beyond_all_headroom_takes_all_of_it() -> None:
    mine = sharing()
    mine.step(at(0), SLOT, home(1400), ())
    shared = mine.step(at(5), SLOT, home(1400), (Numbers(power_w=3000),))
    assert shared.given_w == pytest.approx(100)
    assert shared.left_w == pytest.approx(-100)


def test_a_lone_home_makes_up_what_it_would_exchange_with_the_grid() -> None:
    mine = sharing()
    for second in range(0, 900, 5):
        assert mine.step(at(second), SLOT, home(700), ()) == Shared()
    mine = sharing()
    assert mine.step(at(0), SLOT, home(0, grid_w=700), ()) == Shared(left_w=-700)


def test_a_lone_home_leaves_to_the_grid_what_does_not_pay_or_cannot_be_done() -> None:
    for room, left_w in ((ROOM, 2500), (Room(least_w=500, most_w=500, planned_w=500), 4000)):
        shared = sharing().step(at(0), SLOT, home(4000, room), ())
        assert (shared.left_w, shared.given_w) == (left_w, 0)


def test_a_battery_that_is_not_steered_moves_nothing_for_anybody() -> None:
    mine = sharing()
    mine.step(at(0), SLOT, home(0, room=None), ())
    assert mine.step(at(5), SLOT, home(0, room=None), (Numbers(power_w=900),)) == Shared(homes=1)


def test_a_new_slot_begins_with_nothing_left_over() -> None:
    mine = sharing()
    for second in range(0, 900, 5):
        last = mine.step(at(second), SLOT, home(0), (Numbers(power_w=600),))
    assert last.left_wh == pytest.approx(-150, rel=0.05)
    first = mine.step(at(900), SLOT.shifted(1), home(0), (Numbers(power_w=600),))
    assert first.left_wh == 0


# Limits


def test_what_is_moved_on_others_word_ends_with_the_charters_energy() -> None:
    mine, moved_wh = sharing(), 0.0
    large = Room(least_w=-9000, most_w=9000, planned_w=0)
    for second in range(900):
        shared = mine.step(at(second), SLOT, home(0, large), (Numbers(power_w=5000),))
        moved_wh += abs(shared.given_w) / 3600
    assert 0.9 * RULES.sharing_limit_wh < moved_wh <= RULES.sharing_limit_wh


def test_the_owners_daily_limit_counts_over_slots_and_begins_anew_the_next_day() -> None:
    mine, given_wh = sharing(wear_limit_wh=100.0), [0.0, 0.0, 0.0]
    for number in range(3):
        slot = SLOT.shifted(number)
        day = DAY if number < 2 else DAY + timedelta(days=1)
        for second in range(900):
            now = slot.start_at + timedelta(seconds=second)
            shared = mine.step(now, slot, replace(home(0), day=day), (Numbers(power_w=2000),))
            given_wh[number] += shared.given_w / 3600
    assert 60 < sum(given_wh[:2]) <= 100
    assert 60 < given_wh[2] <= 100


def test_what_was_moved_before_a_restart_counts_on_its_day_only() -> None:
    for worn_on, left_wh in ((DAY, 10.0), (DAY - timedelta(days=1), 100.0)):
        mine = Sharing(
            rules=RULES, interval_s=5, life_s=60, range_w=6000, wear_limit_wh=100, worn_wh=90, worn_on=worn_on
        )
        given_wh = 0.0
        for second in range(900):
            given_wh += mine.step(at(second), SLOT, home(0), (Numbers(power_w=2000),)).given_w / 3600
        assert 0.6 * left_wh < given_wh <= left_wh


def test_sparing_the_battery_wears_nothing() -> None:
    """A neighbour's surplus meets the own shortage: the battery rests instead of giving."""
    mine = sharing(wear_limit_wh=0.0)
    mine.step(at(0), SLOT, home(800), ())
    assert mine.step(at(5), SLOT, home(800), (Numbers(power_w=-800),)).given_w == pytest.approx(-800, abs=2)
    assert mine.worn_wh == 0


def test_the_owners_limit_is_stronger_than_the_ramp() -> None:
    """The own deviation turns round faster than what was left to the meter may."""
    mine = sharing(range_w=10, wear_limit_wh=0.0)
    for second in range(0, 600, 5):
        sign = 1 if second % 100 < 50 else -1
        mine.step(at(second), SLOT, home(sign * 900), (replace(PEER, power_w=-sign * 500),))
    assert mine.worn_wh == 0
