from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.planning.problem import Battery, HomeProblem
from agent.planning.shadow import Shadow, by_itself, no_battery, run_battery

BATTERY = Battery(
    capacity_wh=6000, charge_max_w=3000, discharge_max_w=2500, efficiency_charge=0.95, efficiency_discharge=0.93,
    reserve_wh=300,
)  # fmt: skip


@given(
    stored_wh=st.floats(0, 6000), wanted_wh=st.floats(-8000, 8000), hours=st.sampled_from([0.25, 0.5, 1.0])
)  # fmt: skip
def test_battery_conserves_energy_and_keeps_its_limits(stored_wh: float, wanted_wh: float, hours: float) -> None:
    given_wh, after_wh = run_battery(BATTERY, stored_wh, wanted_wh, hours)
    loss = given_wh / BATTERY.efficiency_discharge if given_wh > 0 else given_wh * BATTERY.efficiency_charge
    assert after_wh == pytest.approx(stored_wh - loss, abs=1e-6)
    assert -1e-9 <= after_wh <= BATTERY.capacity_wh + 1e-6
    assert after_wh >= min(stored_wh, BATTERY.reserve_wh) - 1e-6
    assert -BATTERY.charge_max_w * hours - 1e-9 <= given_wh <= BATTERY.discharge_max_w * hours + 1e-9
    assert given_wh * wanted_wh >= 0
    assert abs(given_wh) <= abs(wanted_wh)


def test_a_battery_is_filled_as_far_as_its_owner_lets_it() -> None:
    most = replace(BATTERY, max_wh=4800)
    assert run_battery(most, 4700, -3000, 1.0) == (pytest.approx(-100 / 0.95), pytest.approx(4800))
    assert run_battery(most, 5500, -3000, 1.0) == (0, 5500)


def day(load_w: float, pv_w: float, battery: Battery | None = BATTERY) -> HomeProblem:
    prices = np.array([0.15] * 6 + [0.4] * 6)
    return HomeProblem(
        slot_h=0.5, load_w=np.full(12, load_w), pv_w=np.full(12, pv_w), import_per_kwh=prices,
        export_per_kwh=np.full(12, 0.06), battery=battery,
    )  # fmt: skip


@given(seed=st.integers(0, 500))
@settings(max_examples=6, deadline=None)
def test_shadow_conserves_energy_over_a_day_of_wrong_forecasts(seed: int) -> None:
    r = np.random.default_rng(seed)
    shadow = Shadow(r.uniform(300, 6000))
    start_wh, lost_wh, balance_wh = shadow.stored_wh, 0.0, 0.0
    for _ in range(12):
        load_wh, pv_wh = r.uniform(0, 1500), r.uniform(0, 2500)
        slot = shadow.advance(day(r.uniform(0, 3000), r.uniform(0, 4000)), load_wh, pv_wh)
        assert slot.net_wh == pytest.approx(load_wh - pv_wh - slot.battery_wh, abs=0.51)
        assert slot.import_wh - slot.export_wh == slot.net_wh
        assert 0 in (slot.import_wh, slot.export_wh)
        b = slot.battery_wh
        lost_wh += b * (1 / BATTERY.efficiency_discharge - 1) if b > 0 else -b * (1 - BATTERY.efficiency_charge)
        balance_wh += b
    assert start_wh - balance_wh - lost_wh == pytest.approx(shadow.stored_wh, abs=1e-5)


def test_a_battery_by_itself_follows_the_net_load_from_the_reserve_to_full_whatever_its_owner_set_us() -> None:
    problem = HomeProblem(
        slot_h=0.5, load_w=np.full(12, 400.0), pv_w=np.array([0.0] * 3 + [8000.0] * 9),
        import_per_kwh=np.full(12, 0.3), export_per_kwh=np.full(12, 0.1),
        battery=replace(BATTERY, max_wh=5000.0), stored_wh=700.0,
    )  # fmt: skip
    flow, alone = by_itself(problem), Shadow(700.0)
    assert flow.power_w[:4] == pytest.approx([400, 344, 0, -3000]), "372 Wh above the reserve; then 3 kW at most"
    assert flow.stored_wh[-1] == pytest.approx(6000)
    for t in range(12):
        lived = alone.left_alone(problem.battery, 0.5, problem.load_w[t] / 2, problem.pv_w[t] / 2)
        assert (lived.battery_wh, lived.stored_wh) == pytest.approx((flow.power_w[t] / 2, flow.stored_wh[t]))


def test_shadow_battery_absorbs_the_homes_own_deviation() -> None:
    """There is more in the battery than half a day takes."""
    expected = Shadow(3000.0).advance(day(200.0, 0.0), 100.0, 0.0)
    surprised = Shadow(3000.0).advance(day(200.0, 0.0), 300.0, 0.0)
    assert surprised.net_wh == expected.net_wh == 0
    assert surprised.battery_wh == pytest.approx(expected.battery_wh + 200)


def test_shadow_battery_leaves_to_the_grid_what_is_cheaper_there() -> None:
    """Half a day before the dear hours the energy is worth more than the import that it would save now."""
    expected = Shadow(3000.0).advance(day(1000.0, 0.0), 500.0, 0.0)
    surprised = Shadow(3000.0).advance(day(1000.0, 0.0), 700.0, 0.0)
    assert surprised.net_wh == pytest.approx(expected.net_wh + 200, abs=1)
    sunny = Shadow(3000.0).advance(day(1000.0, 0.0), 500.0, 900.0)
    assert sunny.net_wh == 0, "unexpected sun is worth more stored than sold"


def test_shadow_with_an_empty_battery_imports_its_deviation() -> None:
    slot = Shadow(300.0).advance(day(1000.0, 0.0), 5000.0, 0.0)
    assert slot.import_wh >= 5000 - BATTERY.discharge_max_w * 0.5


def test_shadow_restarted_from_its_stored_energy_goes_on_the_same() -> None:
    whole, first = Shadow(2500.0), Shadow(2500.0)
    whole.advance(day(800.0, 2000.0), 350.0, 1100.0)
    first.advance(day(800.0, 2000.0), 350.0, 1100.0)
    again = Shadow(first.stored_wh)
    assert again.advance(day(900.0, 0.0), 420.0, 0.0) == whole.advance(day(900.0, 0.0), 420.0, 0.0)


def test_home_without_battery_meters_load_minus_sun() -> None:
    assert no_battery(700.4, 200.0).net_wh == 500
    assert no_battery(100.0, 900.0).export_wh == 800
    assert Shadow(0.0).advance(day(1.0, 1.0, None), 100.0, 900.0) == no_battery(100.0, 900.0)
