"""Cars, loads that can wait, tanks and further batteries: all served at least cost, or as far as it goes."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from agent.planning.flexible import OtherBattery, Shiftable, Tank, Vehicle
from agent.planning.home_model import Flow, HomeModel, Schedule
from agent.planning.planner import Planner
from agent.planning.problem import Battery, HomeProblem
from agent.planning.tariff import TariffSettings, open_tariff
from coordinator.slots import Slot

N = 12
CHEAP_FROM_SIX = np.where(np.arange(N) < 6, 0.40, 0.20)
BATTERY = Battery(capacity_wh=4000, charge_max_w=2000, discharge_max_w=2000)


def home(*flexible: Any, **more: Any) -> HomeProblem:
    given = {
        "slot_h": 1.0,
        "load_w": np.full(N, 400.0),
        "pv_w": np.zeros(N),
        "import_per_kwh": CHEAP_FROM_SIX,
        "export_per_kwh": np.full(N, 0.06),
        "wear_per_kwh": 0.0,
    }
    return HomeProblem(**(given | more), flexible=flexible)


def car(**more: Any) -> Vehicle:
    given = {
        "name": "car", "arrival": 2, "departure": 10, "needed_wh": 9000.0, "arrival_wh": 4000.0,
        "capacity_wh": 20_000.0, "charge_max_w": 3000.0, "efficiency": 1.0,
    }  # fmt: skip
    return Vehicle(**(given | more))


def flow(plan: Schedule, name: str) -> Flow:
    return next(found for found in plan.flexible if found.name == name)


def check_balance(p: HomeProblem, s: Schedule) -> None:
    supply = s.import_w - s.export_w + s.trade_w + p.pv_w - s.curtailed_w + s.battery_w + s.flexible_w
    np.testing.assert_allclose(supply, p.load_w - s.unserved_w, atol=1e-6)


# Wishes that can be fulfilled


def test_car_charges_in_the_cheap_hours_before_it_leaves() -> None:
    problem = home(car())
    plan = HomeModel(problem).alone()
    check_balance(problem, plan)
    charge_w = flow(plan, "car").charge_w
    np.testing.assert_allclose(charge_w[:6], 0, atol=2)
    assert charge_w[6:10].sum() == pytest.approx(5000, abs=2)
    np.testing.assert_allclose(charge_w[10:], 0, atol=0)
    assert flow(plan, "car").stored_wh[[0, 9, 11]] == pytest.approx([4000, 9000, 9000], abs=2)
    assert plan.gave_way() == {}


def test_car_that_leaves_after_the_horizon_leaves_for_later_what_fits_there() -> None:
    plan = HomeModel(home(car(departure=N + 1, needed_wh=12_000.0, arrival=9))).alone()
    assert flow(plan, "car").stored_wh[-1] == pytest.approx(9000, abs=2)  # 3 kWh fit into the hour after


def test_car_that_can_give_serves_the_home_while_it_is_dear() -> None:
    problem = home(car(arrival=0, departure=N, discharge_max_w=1000.0, arrival_wh=5000.0, needed_wh=5000.0))
    plan = HomeModel(problem).alone()
    check_balance(problem, plan)
    assert flow(plan, "car").discharge_w[:6] == pytest.approx(np.full(6, 400), abs=2)
    assert flow(plan, "car").stored_wh[-1] == pytest.approx(5000, abs=2)


def test_car_never_gives_below_its_reserve() -> None:
    problem = home(
        car(arrival=0, departure=N, discharge_max_w=1000.0, arrival_wh=5000.0, needed_wh=0.0, reserve_wh=4500.0)
    )
    stored_wh = flow(HomeModel(problem).alone(), "car").stored_wh
    assert stored_wh.min() == pytest.approx(4500, abs=2)


def test_load_that_can_wait_runs_once_and_in_time() -> None:
    wash = Shiftable(name="wash", energy_wh=2500, earliest=1, deadline=8, power_max_w=1000)
    problem = home(wash)
    plan = HomeModel(problem).alone()
    check_balance(problem, plan)
    charge_w = flow(plan, "wash").charge_w
    assert charge_w.sum() == pytest.approx(2500, abs=2)
    assert charge_w[6:8] == pytest.approx([1000, 1000], abs=2)
    assert charge_w[[0, *range(8, N)]].max() == 0


def test_tank_stays_in_its_band_and_heats_when_it_is_cheap() -> None:
    tank = Tank.of_water(
        name="tank", litres=200, temperature_c=55, lowest_c=45, highest_c=60, heater_max_w=2000, cop=3.0,
        loss_per_h=0.01, drawn_wh=np.full(N, 300.0),
    )  # fmt: skip
    problem = home(tank)
    plan = HomeModel(problem).alone()
    check_balance(problem, plan)
    kelvin = 200 * 1.163
    celsius = 20 + flow(plan, "tank").stored_wh / kelvin
    assert celsius.min() >= 45 - 0.02
    assert celsius.max() <= 60 + 0.02
    heat = 35 * kelvin
    for t in range(N):
        heat = 0.99 * heat - 300 + 3 * flow(plan, "tank").charge_w[t]
        assert flow(plan, "tank").stored_wh[t] == pytest.approx(heat, abs=2)
    assert flow(plan, "tank").charge_w[:6].sum() < flow(plan, "tank").charge_w[6:].sum()


def test_two_batteries_and_two_cars_do_what_one_of_each_cannot() -> None:
    problem = home(
        OtherBattery(name="cellar", battery=BATTERY, stored_wh=3000),
        car(),
        car(name="van", arrival=5, needed_wh=7000.0),
        battery=BATTERY,
        stored_wh=3000.0,
        load_w=np.full(N, 1500.0),
    )
    plan = HomeModel(problem).alone()
    check_balance(problem, plan)
    assert [found.name for found in plan.flexible] == ["cellar", "car", "van"]
    assert plan.discharge_w[:6].sum() + flow(plan, "cellar").discharge_w[:6].sum() == pytest.approx(5700, abs=10)
    assert plan.gave_way() == {}


def dense_car_cost(p: HomeProblem, v: Vehicle) -> float:
    """The least cost of a home with one charging car, written down a second time: import, export, charge in kW."""
    n, h = p.slots, p.slot_h
    there = [max(v.arrival, 0) <= t < v.departure for t in range(n)]
    missing = 1.0 + 3 * p.import_per_kwh.max()
    eye = np.eye(n)
    result = linprog(
        np.r_[h * p.import_per_kwh, -h * p.export_per_kwh, np.zeros(n), missing],
        A_ub=[[*np.zeros(2 * n), *np.full(n, -h * v.efficiency), -1.0]],
        b_ub=[(v.arrival_wh - v.needed_wh) / 1000],
        A_eq=np.hstack([eye, -eye, -eye, np.zeros((n, 1))]),
        b_eq=(p.load_w - p.pv_w) / 1000,
        bounds=[(0, None)] * (2 * n) + [(0, v.charge_max_w / 1000 if t else 0) for t in there] + [(0, None)],
    )
    assert result.status == 0
    return float(result.fun)


@given(
    needed_wh=st.floats(0, 20_000), charge_max_w=st.floats(300, 8000), arrival=st.integers(-3, 8),
    stay=st.integers(1, 6), seed=st.integers(0, 1000),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_cost_with_a_car_is_what_highs_finds_whether_or_not_it_gets_all(
    needed_wh: float, charge_max_w: float, arrival: int, stay: int, seed: int
) -> None:
    r = np.random.default_rng(seed)
    departure = min(max(arrival, 0) + stay, N)
    v = car(needed_wh=needed_wh, charge_max_w=charge_max_w, arrival=arrival, departure=departure, efficiency=0.9)
    problem = home(v, pv_w=r.uniform(0, 3000, N), import_per_kwh=r.choice([0.15, 0.3, 0.42], N))
    plan = HomeModel(problem).alone()
    assert plan.solved
    check_balance(problem, plan)
    assert plan.cost == pytest.approx(dense_car_cost(problem, v), abs=4e-3)


# Wishes that cannot


def planner(*flexible: Any) -> Planner:
    tariff = TariffSettings.model_validate({"fixed": {"import_per_kwh": 0.3, "export_per_kwh": 0.1}})
    return Planner(
        first=Slot.at(datetime(2026, 5, 4, 9, tzinfo=UTC), 3600), load_w=np.full(N, 400.0), pv_w=np.zeros(N),
        tariff=open_tariff(tariff, "UTC", Path()), battery=None, stored_wh=0, rho_micro=150,
        timezone=ZoneInfo("Europe/Berlin"), flexible=flexible,
    )  # fmt: skip


def test_car_that_cannot_be_full_in_time_gets_all_it_can_and_the_plan_says_so() -> None:
    plan = planner(car(arrival=0, departure=2, needed_wh=12_000.0)).schedule([])
    assert flow(plan.schedule, "car").charge_w[:2] == pytest.approx([3000, 3000], abs=1)
    assert plan.gave_way == ("car: 10.0 of 12.0 kWh by 13:00, 2000 Wh less than wished",)


def test_load_and_tank_that_give_way_are_named_in_their_own_units() -> None:
    wash = Shiftable(name="wash", energy_wh=2500, earliest=0, deadline=2, power_max_w=1000)
    cold = Tank.of_water(
        name="tank", litres=100, temperature_c=40, lowest_c=50, highest_c=60, heater_max_w=581.5, surroundings_c=10
    )
    heat = Tank(name="store", stored_wh=1000, floor_wh=1000, ceiling_wh=2000, heater_max_w=0, loss_per_h=0.1)
    plan = planner(wash, cold, heat).schedule([])
    assert plan.gave_way == (
        "wash: 2.0 of 2.5 kWh by 13:00, 500 Wh less than wished",
        "tank: 45.0 instead of 50.0 °C at 12:00",
        "store: 718 Wh below its band at 23:00",
    )


def test_tank_that_is_too_hot_cools_down_by_itself() -> None:
    tank = Tank(name="tank", stored_wh=3000, floor_wh=0, ceiling_wh=1000, heater_max_w=1000, loss_per_h=0.2)
    plan = HomeModel(home(tank)).alone()
    assert plan.solved
    assert flow(plan, "tank").stored_wh[:2] == pytest.approx([2400, 1920], abs=1)


def test_connection_limit_comes_before_a_wish() -> None:
    problem = home(car(arrival=0, departure=2, needed_wh=9000.0), connection_max_w=1400.0)
    plan = HomeModel(problem).alone()
    assert plan.import_w.max() == pytest.approx(1400, abs=1)
    assert plan.gave_way()["car"] == (1, pytest.approx(3000, abs=3))


def test_trade_that_would_leave_the_car_empty_is_not_kept() -> None:
    greedy = planner(car(arrival=0, departure=1, needed_wh=7000.0, discharge_max_w=3000.0))
    assert greedy.keep(-1000, 290_000) == 0
    assert greedy.keep(1000, 290_000) == 1000


def test_reasons_name_what_runs() -> None:
    sunny = HomeModel(home(car())).alone()
    assert flow(sunny, "car").charge_w.max() > 100
    plan = planner(car(arrival=0, departure=2, needed_wh=9000.0)).schedule([])
    assert plan.reasons[0] == "car takes grid energy while it is cheapest"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"departure": 2}, "departure must come after"),
        ({"needed_wh": 30_000.0}, "more is needed"),
        ({"efficiency": 0.0}, "efficiency"),
        ({"charge_max_w": -1.0}, "negative"),
    ],
)
def test_impossible_cars_are_refused_by_name(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=f"car: .*{words}"):
        car(**change)


def test_two_things_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="share one name"):
        home(car(), car())


def test_bids_count_what_flexible_things_can_take() -> None:
    prices = [100_000] * N
    bids = planner(car(arrival=0, departure=4, needed_wh=16_000.0)).bid(prices, [5000.0] * N)
    assert bids[0] == 3400
