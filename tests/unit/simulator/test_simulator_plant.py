"""The physics of one home."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.simulator.live import LivePlant
from agent.simulator.plant import Battery, Plant
from coordinator.clock import ManualClock

START = datetime(2025, 6, 1, 12, tzinfo=UTC)
BATTERY = Battery(capacity_wh=10_000, charge_w=3000, discharge_w=4000, efficiency_charge=0.9, efficiency_discharge=0.8)


@dataclass
class Steps:
    """Load and PV by the minute, repeating."""

    load: list[float]
    pv: list[float]

    @property
    def pv_peak_w(self) -> float:
        return max(self.pv)

    def load_w(self, at: datetime) -> float:
        return self.load[self._minute(at) % len(self.load)]

    def pv_w(self, at: datetime) -> float:
        return self.pv[self._minute(at) % len(self.pv)]

    def next_change(self, at: datetime) -> datetime:
        return START + timedelta(minutes=self._minute(at) + 1)

    def _minute(self, at: datetime) -> int:
        return (at - START) // timedelta(minutes=1)


def plant(load: float, pv: float, battery: Battery | None = BATTERY, stored_wh: float = 5000) -> Plant:
    return Plant(profile=Steps([load], [pv]), battery=battery, at=START, stored_wh=stored_wh)


def hours(count: float) -> datetime:
    return START + timedelta(hours=count)


def test_without_orders_the_battery_follows_load_minus_sun() -> None:
    home = plant(load=500, pv=2500)
    home.advance(hours(1))
    assert home.flow.battery_w == pytest.approx(-2000)
    assert home.flow.grid_w == pytest.approx(0, abs=1e-6)
    home.profile = Steps([1500], [0])
    home.advance(hours(2))
    assert home.flow.battery_w == pytest.approx(1500)


def test_a_setpoint_orders_the_ac_power_of_the_whole_inverter() -> None:
    home = plant(load=500, pv=1000)
    home.ac_setpoint_w = 2500
    home.advance(hours(0.5))
    assert home.flow.inverter_w == pytest.approx(2500)
    assert home.flow.battery_w == pytest.approx(1500)
    assert home.flow.grid_w == pytest.approx(-2000)


@pytest.mark.parametrize(("setpoint_w", "battery_w"), [(20_000, 4000), (-20_000, -3000)])
def test_power_limits_clamp_every_order(setpoint_w: float, battery_w: float) -> None:
    home = plant(load=500, pv=0)
    home.ac_setpoint_w = setpoint_w
    home.advance(hours(0.1))
    assert home.flow.battery_w == pytest.approx(battery_w)


def test_the_power_approaches_its_target_with_the_lag_as_time_constant() -> None:
    home = plant(load=1000, pv=0, battery=Battery(capacity_wh=10_000, charge_w=5000, discharge_w=5000, lag_s=10))
    home.advance(START + timedelta(seconds=10))
    assert home.flow.battery_w == pytest.approx(1000 * (1 - math.exp(-1)))


def test_a_settled_home_is_at_its_target_at_once() -> None:
    home = plant(load=500, pv=2500)
    home.settle()
    assert home.flow.battery_w == -2000
    empty = plant(load=500, pv=0, stored_wh=0)
    empty.settle()
    assert empty.flow.battery_w == 0


def test_an_empty_battery_gives_nothing_and_the_grid_takes_over() -> None:
    home = plant(load=2000, pv=0, stored_wh=1000)
    home.advance(hours(2))
    assert home.stored_wh == 0
    assert home.flow.battery_w == 0
    assert home.counters.battery_out_wh == pytest.approx(1000 * 0.8, rel=1e-9)
    assert home.counters.import_wh == pytest.approx(4000 - 800, rel=1e-9)


def test_a_full_battery_takes_nothing_and_the_rest_is_exported() -> None:
    home = plant(load=0, pv=2000, stored_wh=9100)
    home.advance(hours(2))
    assert home.soc_pct == 100
    assert home.counters.battery_in_wh == pytest.approx(1000, rel=1e-9)
    assert home.counters.export_wh == pytest.approx(3000, rel=1e-6)


def test_homes_without_battery_or_sun_exist() -> None:
    bare = plant(load=400, pv=0, battery=None)
    bare.ac_setpoint_w = 3000
    bare.advance(hours(1))
    assert (bare.soc_pct, bare.flow.grid_w, bare.counters.import_wh) == (None, 400, pytest.approx(400))
    sunny = plant(load=400, pv=1000, battery=None)
    sunny.advance(hours(1))
    assert sunny.counters.export_wh == pytest.approx(600)


def test_time_that_steps_back_changes_nothing() -> None:
    home = plant(load=400, pv=0)
    home.advance(hours(1))
    before = (home.at, home.stored_wh, home.counters.load_wh)
    home.advance(hours(0.5))
    assert (home.at, home.stored_wh, home.counters.load_wh) == before


powers = st.lists(st.floats(0, 8000), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(
    load=powers,
    pv=powers,
    stored_wh=st.floats(0, 10_000),
    lag_s=st.sampled_from([0.0, 0.5, 20.0, 300.0]),
    orders=st.lists(st.tuples(st.none() | st.floats(-9000, 9000), st.floats(0.01, 2000)), min_size=1, max_size=8),
)
def test_energy_is_conserved_whatever_happens(
    load: list[float], pv: list[float], stored_wh: float, lag_s: float, orders: list[tuple[float | None, float]]
) -> None:
    battery = Battery(
        capacity_wh=10_000,
        charge_w=3000,
        discharge_w=4000,
        efficiency_charge=0.9,
        efficiency_discharge=0.8,
        lag_s=lag_s,
    )
    home = Plant(profile=Steps(load, pv), battery=battery, at=START, stored_wh=stored_wh)
    for setpoint_w, step_s in orders:
        home.ac_setpoint_w = setpoint_w
        home.advance(home.at + timedelta(seconds=step_s))
        assert 0 <= home.stored_wh <= battery.capacity_wh
        assert -3000 <= home.flow.battery_w <= 4000
    count = home.counters
    through_wh = count.battery_out_wh - count.battery_in_wh
    assert count.load_wh == pytest.approx(count.import_wh - count.export_wh + count.pv_wh + through_wh, abs=1e-6)
    stored_change_wh = count.battery_in_wh * 0.9 - count.battery_out_wh / 0.8
    assert home.stored_wh - stored_wh == pytest.approx(stored_change_wh, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(load=powers, pv=powers, stored_wh=st.floats(0, 10_000), cuts=st.lists(st.integers(1, 1799), max_size=30))
def test_looking_more_often_changes_no_counter(
    load: list[float], pv: list[float], stored_wh: float, cuts: list[int]
) -> None:
    once, often = (Plant(profile=Steps(load, pv), battery=BATTERY, at=START, stored_wh=stored_wh) for _ in range(2))
    for second in sorted(cuts):
        often.advance(START + timedelta(seconds=second))
    for home in (once, often):
        home.advance(START + timedelta(seconds=1800))
    assert often.counters.import_wh == pytest.approx(once.counters.import_wh, abs=1e-6)
    assert often.counters.export_wh == pytest.approx(once.counters.export_wh, abs=1e-6)
    assert often.stored_wh == pytest.approx(once.stored_wh, abs=1e-6)


def test_a_reversion_nobody_watched_took_place_at_its_moment() -> None:
    clock = ManualClock(START)
    live = LivePlant(plant(load=1000, pv=0), clock)
    live.write({"WSetRvrtTms": 600})
    live.write({"WSet": 4000, "WSetEna": 1})
    clock.advance(timedelta(hours=1))
    home = live.sync()
    assert home.ac_setpoint_w is None
    assert home.flow.battery_w == pytest.approx(1000)
    # Ten minutes at 4 kW exporting 3 kW, but for the lag of two seconds at the start and at the end.
    assert home.counters.export_wh == pytest.approx(500, abs=3)
