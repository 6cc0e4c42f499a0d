"""Daily habits of cars, machines and tanks become what one horizon knows of them."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from agent.planning.flexible import Shiftable, Tank, Vehicle
from agent.simulator.wishes import Wishes
from agent.wishes import flexible_of
from coordinator.slots import Slot

BERLIN = ZoneInfo("Europe/Berlin")
CAR = {
    "name": "car", "capacity_kwh": 40, "charge_kw": 11, "arrives": "18:00", "leaves": "07:00",
    "arrives_with_kwh": 15, "needed_kwh": 25,
}  # fmt: skip
LAUNDRY = {"name": "laundry", "energy_kwh": 2, "power_kw": 2, "from": "09:00", "to": "17:00"}
TANK = {
    "name": "hot water", "litres": 200, "heater_kw": 2, "lowest_c": 45, "highest_c": 60, "drawn_kwh_per_day": 4,
    "drawn_at": ["07:10", "19:00"], "loss_pct_per_day": 0,
}  # fmt: skip


def wishes(**lists: object) -> Wishes:
    return Wishes.model_validate(lists)


def at(hour: int, minute: int = 0, length_s: int = 3600) -> Slot:
    return Slot.at(datetime(2026, 7, 1, hour, minute, tzinfo=UTC), length_s)


def test_car_of_the_evening_is_one_stay_in_local_time() -> None:
    (stay,) = flexible_of(wishes(vehicles=[CAR]), at(10), 24, BERLIN)  # 12:00 in Berlin
    assert isinstance(stay, Vehicle)
    assert (stay.name, stay.arrival, stay.departure) == ("car", 6, 19)
    assert (stay.arrival_wh, stay.needed_wh, stay.charge_max_w) == (15_000, 25_000, 11_000)


def test_car_at_home_has_what_is_known_and_comes_again() -> None:
    now, again = flexible_of(wishes(vehicles=[CAR]), at(2), 24, BERLIN, {"car": 21_000.0})  # 04:00 in Berlin
    assert isinstance(now, Vehicle)
    assert isinstance(again, Vehicle)
    assert (now.name, now.arrival, now.departure, now.arrival_wh) == ("car", -10, 3, 21_000)
    assert (again.name, again.arrival, again.departure, again.arrival_wh) == ("car (2)", 14, 27, 15_000)


def test_slots_that_a_window_covers_in_part_do_not_count() -> None:
    (window,) = flexible_of(wishes(shiftables=[LAUNDRY | {"from": "12:10", "to": "16:50"}]), at(10), 24, BERLIN)
    assert isinstance(window, Shiftable)
    assert (window.earliest, window.deadline) == (1, 4)


def test_load_whose_window_has_begun_wants_what_it_has_not_got() -> None:
    today, tomorrow = flexible_of(wishes(shiftables=[LAUNDRY]), at(10), 24, BERLIN, {"laundry": 1500.0})
    assert isinstance(today, Shiftable)
    assert isinstance(tomorrow, Shiftable)
    assert (today.earliest, today.deadline, today.energy_wh) == (-3, 5, 500)
    assert (tomorrow.earliest, tomorrow.deadline, tomorrow.energy_wh) == (21, 29, 2000)


def test_window_that_has_just_closed_is_left_out() -> None:
    assert flexible_of(wishes(shiftables=[LAUNDRY]), at(15), 12, BERLIN) == ()


def test_tank_draws_at_its_times_and_starts_in_the_middle_of_its_band() -> None:
    (tank,) = flexible_of(wishes(tanks=[TANK]), at(4, 0, 900), 96, BERLIN)  # 06:00 in Berlin
    assert isinstance(tank, Tank)
    assert tank.drawn_wh is not None
    assert {i: wh for i, wh in enumerate(tank.drawn_wh) if wh} == {4: 2000, 52: 2000}
    assert tank.stored_wh == pytest.approx(200 * 1.163 * (52.5 - 20))
    (known,) = flexible_of(wishes(tanks=[TANK]), at(4), 24, BERLIN, {"hot water": 7000.0})
    assert isinstance(known, Tank)
    assert known.stored_wh == 7000


@pytest.mark.parametrize(
    ("kind", "entry", "words"),
    [
        ("vehicles", CAR | {"needed_kwh": 50}, "must not exceed capacity_kwh"),
        ("vehicles", CAR | {"arrives": "6 pm"}, "write a time of day like 18:00"),
        ("vehicles", CAR | {"leaves": "18:00"}, "the same time"),
        ("vehicles", CAR | {"name": "battery"}, "are called battery"),
        ("shiftables", LAUNDRY | {"to": "09:00"}, "the same time"),
        ("shiftables", LAUNDRY | {"power_kw": 0}, "greater than 0"),
        ("tanks", TANK | {"lowest_c": 60}, "lowest_c must lie below highest_c"),
        ("tanks", TANK | {"drawn_at": []}, "drawn_at must name a time"),
    ],
)
def test_what_cannot_be_is_refused_with_words(kind: str, entry: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        wishes(**{kind: [entry]})


def test_two_things_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="two things of the home are called car"):
        wishes(vehicles=[CAR], tanks=[TANK | {"name": "car"}])
