"""Where a battery's energy pays, by hand: the plan's value of a stored kWh against the slot's tariff."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.planning.home_model import HomeModel
from agent.planning.problem import Battery, Floats, HomeProblem
from agent.planning.worth import Worth, reach_w

EVERYTHING = math.inf


def worth(stored_per_kwh: float | Floats) -> Worth:
    return Worth(
        stored_per_kwh=stored_per_kwh,
        import_per_kwh=0.30,
        export_per_kwh=0.06,
        efficiency_charge=0.8,
        efficiency_discharge=0.9,
        wear_per_kwh=0.01,
    )


@pytest.mark.parametrize(
    ("stored_per_kwh", "planned_w", "lowest_w", "highest_w"),
    [
        (0.200, 0, -EVERYTHING, EVERYTHING),
        (0.263, 500, -EVERYTHING, EVERYTHING),  # 0.263 / 0.9 + 0.005 = 0.2972 of the 0.298 that giving must save
        (0.264, 500, -EVERYTHING, 500),  # 0.2983: nothing is given that was not planned
        (0.264, -500, -EVERYTHING, 0),  # but charging less still pays: 0.264 x 0.8 - 0.005 = 0.206
        (0.400, -500, -EVERYTHING, -500),  # 0.315: charging from the grid pays
        (0.079, 0, -EVERYTHING, EVERYTHING),  # 0.079 x 0.8 - 0.005 = 0.0582 where selling brings 0.058
        (0.078, -500, -500, EVERYTHING),  # 0.0574: nothing is taken that was not planned
        (0.078, 500, 0, EVERYTHING),  # but giving less still pays: 0.078 / 0.9 + 0.005 = 0.092
        (0.040, 500, 500, EVERYTHING),  # 0.049: selling stored energy pays
    ],
)
def test_a_battery_goes_only_where_it_pays(
    stored_per_kwh: float, planned_w: float, lowest_w: float, highest_w: float
) -> None:
    assert worth(stored_per_kwh).reach_w(planned_w) == (lowest_w, highest_w)


@given(st.floats(-0.1, 0.6), st.floats(-5000, 5000))
def test_the_plan_is_never_in_question(stored_per_kwh: float, planned_w: float) -> None:
    lowest_w, highest_w = worth(stored_per_kwh).reach_w(planned_w)
    assert lowest_w <= planned_w <= highest_w


def test_many_homes_at_once_are_many_homes() -> None:
    values, planned_w = np.array([0.04, 0.2, 0.264, 0.4]), np.array([500.0, 0.0, -500.0, -500.0])
    lowest, highest = worth(values).reach_w(planned_w)
    each = [worth(value).reach_w(watts) for value, watts in zip(values.tolist(), planned_w.tolist(), strict=True)]
    assert list(zip(lowest, highest, strict=True)) == each


# The value of a stored kWh in a plan

BATTERY = Battery(capacity_wh=5000, charge_max_w=2000, discharge_max_w=2000, reserve_wh=500)


def night(stored_wh: float, load_w: float = 500.0, battery: Battery | None = BATTERY) -> HomeProblem:
    """Return four cheap hours before four dear ones, without sun."""
    return HomeProblem(
        slot_h=1.0, load_w=np.full(8, load_w), pv_w=np.zeros(8), import_per_kwh=np.repeat([0.2, 0.4], 4),
        export_per_kwh=np.full(8, 0.06), battery=battery, stored_wh=stored_wh, wear_per_kwh=0.01, terminal_per_kwh=0.1,
    )  # fmt: skip


@pytest.mark.parametrize("stored_wh", [1000.0, 2000.0])
def test_a_stored_kwh_is_worth_what_it_saves_later(stored_wh: float) -> None:
    """While the battery charges in cheap hours, one kWh more saves charging it: import and half the wear, by losses."""
    plan = HomeModel(night(stored_wh)).alone()
    assert plan.stored_per_kwh == pytest.approx((0.2 + 0.005) / 0.95, abs=1e-3)


def test_the_value_is_the_slope_of_the_cost() -> None:
    """With more load than the battery can serve, every stored kWh saves dear import."""
    small = Battery(capacity_wh=5000, charge_max_w=0, discharge_max_w=2000, reserve_wh=500)
    costs = [HomeModel(night(wh, 3000.0, small)).alone() for wh in (3400.0, 3600.0)]
    assert costs[0].stored_per_kwh == pytest.approx((costs[0].cost - costs[1].cost) / 0.2, abs=1e-3)
    assert costs[0].stored_per_kwh == pytest.approx((0.4 - 0.005) * 0.95, abs=1e-3)


def test_a_home_keeps_its_energy_for_dear_hours_and_uses_it_in_them() -> None:
    cheap = night(4000.0, 1500.0)
    plan = HomeModel(cheap).alone()
    lowest_w, highest_w = reach_w(cheap, plan)
    assert lowest_w <= plan.battery_w[0] <= highest_w < 1, "no discharge for what the grid brings at night"
    dear = replace(cheap, import_per_kwh=np.full(8, 0.4), load_w=np.full(8, 200.0))
    assert reach_w(dear, HomeModel(dear).alone())[1] == math.inf


def test_without_a_battery_nothing_is_asked() -> None:
    home = night(0.0, battery=None)
    plan = HomeModel(home).alone()
    assert plan.stored_per_kwh == 0.0
    assert reach_w(home, plan) == (-math.inf, math.inf)
