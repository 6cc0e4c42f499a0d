"""The within-slot rule: what cancels moves no battery, and nobody gives what is worth more later."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.planning.problem import Battery
from agent.planning.shadow import run_battery
from agent.study.within import Fleet, Moment, wanted_w

BATTERY = Battery(capacity_wh=5000.0, charge_max_w=2000.0, discharge_max_w=2500.0, reserve_wh=500.0)
WEAR = 0.01
watts = st.floats(-4000, 4000)


def moment(
    deviation_w: list[float],
    *,
    planned_w: list[float] | None = None,
    grid_w: list[float] | None = None,
    value: float = 0.2,
) -> Moment:
    homes = len(deviation_w)
    return Moment(
        planned_w=np.array(planned_w or [0.0] * homes),
        grid_w=np.array(grid_w or [0.0] * homes),
        deviation_w=np.array(deviation_w),
        value_per_kwh=np.full(homes, value),
        import_per_kwh=np.full(homes, 0.3),
        export_per_kwh=np.full(homes, 0.05),
    )


@given(stored_wh=st.floats(0, 5000), asked_w=watts, hours=st.sampled_from([0.25, 0.5, 1.0]))
def test_a_fleet_of_one_does_what_one_battery_does(stored_wh: float, asked_w: float, hours: float) -> None:
    given_wh, after_wh = run_battery(BATTERY, stored_wh, asked_w * hours, hours)
    battery_w, stored = Fleet.of([BATTERY]).run(np.array([stored_wh]), np.array([asked_w]), hours)
    assert battery_w[0] * hours == pytest.approx(given_wh, abs=1e-6)
    assert stored[0] == pytest.approx(after_wh, abs=1e-6)


def test_a_home_without_a_battery_gives_and_takes_nothing() -> None:
    battery_w, stored = Fleet.of([None]).run(np.zeros(1), np.array([500.0]), 1.0)
    assert battery_w[0] == 0.0
    assert stored[0] == 0.0


def test_deviations_that_cancel_move_no_battery() -> None:
    fleet = Fleet.of([BATTERY, BATTERY])
    wanted = wanted_w(moment([800.0, -800.0]), fleet, np.array([2500.0, 2500.0]), 1.0, WEAR, shared=True)
    assert wanted.tolist() == [0.0, 0.0]


def test_a_shortage_is_shared_by_headroom_also_by_those_who_are_not_short() -> None:
    fleet = Fleet.of([BATTERY, None, BATTERY])
    wanted = wanted_w(
        moment([0.0, 900.0, 0.0], planned_w=[0.0, 0.0, 1250.0]),
        fleet,
        np.array([4000.0, 0.0, 4000.0]),
        1.0,
        WEAR,
        shared=True,
    )
    # 2500 and 1250 W of headroom
    assert wanted == pytest.approx([600.0, 0.0, 1550.0])


def test_a_planned_import_is_answered_like_a_surprise() -> None:
    fleet = Fleet.of([BATTERY])
    stored = np.array([4000.0])
    assert wanted_w(moment([0.0], grid_w=[700.0]), fleet, stored, 1.0, WEAR, shared=True)[0] == pytest.approx(700.0)
    assert wanted_w(moment([0.0], grid_w=[700.0], value=0.4), fleet, stored, 1.0, WEAR, shared=True)[0] == 0.0


@pytest.mark.parametrize(("value", "short_w", "planned_w", "expected_w"), [
    (0.40, 1000.0, 0.0, 0.0),       # worth more later than the grid costs now: buy
    (0.40, 1000.0, -800.0, -800.0),  # and go on charging
    (0.20, 1000.0, -800.0, 200.0),  # worth less: stop charging, then discharge
    (0.305, 1000.0, -800.0, 0.0),   # between charging's and discharging's price: only stop charging
    (0.20, -1000.0, 0.0, -1000.0),  # sun to spare is worth more stored than sold
    (0.055 / 0.95, -1000.0, 0.0, -1000.0),  # all the same: the forecast may be wrong, so keep it
    (0.04, -1000.0, 0.0, 0.0),      # less: sell it
    (0.04, -1000.0, 600.0, 600.0),
])  # fmt: skip
def test_a_battery_moves_only_where_it_pays(value: float, short_w: float, planned_w: float, expected_w: float) -> None:
    for shared in (True, False):
        now = moment([short_w], planned_w=[planned_w], value=value)
        wanted = wanted_w(now, Fleet.of([BATTERY]), np.array([3000.0]), 1.0, WEAR, shared=shared)
        assert wanted[0] == pytest.approx(expected_w)


@given(
    deviation_w=st.lists(watts, min_size=3, max_size=3),
    grid_w=st.lists(watts, min_size=3, max_size=3),
    stored_wh=st.lists(st.floats(0, 5000), min_size=3, max_size=3),
    value=st.floats(0, 0.6),
)
def test_sharing_never_goes_beyond_what_is_missing_nor_against_it(
    deviation_w: list[float], grid_w: list[float], stored_wh: list[float], value: float
) -> None:
    now = moment(deviation_w, grid_w=grid_w, value=value)
    fleet, stored = Fleet.of([BATTERY, BATTERY, None]), np.array(stored_wh)
    shares = wanted_w(now, fleet, stored, 1.0, WEAR, shared=True) - now.planned_w
    total_w = sum(deviation_w) + sum(grid_w)
    assert (shares * np.sign(total_w) >= -1e-9).all()
    assert abs(shares.sum()) <= abs(total_w) + 1e-6
