from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.devices.balance import DevicePart, check_home, combine
from agent.devices.reading import DeviceSample, HomeReading
from coordinator.errors import ConfigError

NOW = datetime(2024, 6, 12, 10, tzinfo=UTC)
METER_AT = NOW - timedelta(seconds=0.3)
METER = frozenset({"grid_w", "import_wh", "export_wh"})
HYBRID = frozenset({"pv_w", "battery_w", "soc_pct", "capacity_wh"})
NUMBERS = st.floats(-20_000, 20_000)


def part(provides: frozenset[str], age_s: float = 0.3, **values: float | None) -> DevicePart:
    sample = DeviceSample(name="x", at=METER_AT, monotonic_s=1000 - age_s, values=values)
    return DevicePart(name="x", provides=provides, sample=sample)


def meter(grid_w: float | None = 500.0, age_s: float = 0.3) -> DevicePart:
    return part(METER, age_s, grid_w=grid_w, import_wh=1000.0, export_wh=200.0)


def read(*parts: DevicePart) -> HomeReading:
    return combine(parts, now=NOW, monotonic_s=1000, stale_after_s=5)


def test_load_is_the_sum_of_what_flows_into_the_house() -> None:
    reading = read(meter(500), part(HYBRID, pv_w=2000.0, battery_w=-800.0, soc_pct=40.0))
    assert (reading.load_w, reading.soc_pct, reading.quality, reading.missing) == (1700, 40, "valid", ())
    assert reading.at == METER_AT


@given(NUMBERS, st.floats(0, 20_000), NUMBERS)
def test_a_valid_reading_balances_and_never_shows_a_negative_load(grid_w: float, pv_w: float, battery_w: float) -> None:
    reading = read(meter(grid_w), part(HYBRID, pv_w=pv_w, battery_w=battery_w, soc_pct=40.0))
    if reading.quality == "valid":
        assert reading.load_w is not None
        assert reading.load_w >= 0
        slack_w = 50 + 0.05 * max(abs(grid_w), pv_w, abs(battery_w))
        assert reading.load_w == pytest.approx(grid_w + pv_w + battery_w, abs=slack_w)
    else:
        assert grid_w + pv_w + battery_w < -50


def test_rounding_below_zero_is_zero_and_more_than_rounding_is_unknown() -> None:
    assert read(meter(-2000), part(HYBRID, pv_w=1950.0, battery_w=0.0, soc_pct=40.0)).load_w == 0
    wrong = read(meter(-2000), part(HYBRID, pv_w=1000.0, battery_w=0.0, soc_pct=40.0))
    assert (wrong.load_w, wrong.quality, wrong.missing) == (None, "absent", ("load_w",))


def test_a_home_without_pv_and_battery_has_zero_power_of_both_and_no_charge() -> None:
    reading = read(meter(700))
    assert (reading.pv_w, reading.battery_w, reading.soc_pct, reading.load_w) == (0, 0, None, 700)
    assert reading.quality == "valid"


def test_an_unknown_value_is_none_and_makes_the_reading_absent() -> None:
    never = DevicePart(name="inverter", provides=HYBRID, sample=None)
    reading = read(meter(500), never)
    assert (reading.pv_w, reading.battery_w, reading.load_w, reading.soc_pct) == (None, None, None, None)
    assert reading.quality == "absent"
    assert set(reading.missing) == {"pv_w", "battery_w", "soc_pct", "load_w"}
    assert (reading.grid_w, reading.import_wh) == (500, 1000), "what is known stays known"


def test_an_old_value_is_stale_with_its_last_value_and_forgotten_in_the_end() -> None:
    battery = {"pv_w": 0.0, "battery_w": 300.0, "soc_pct": 40.0}
    old = read(meter(500), part(HYBRID, 6, **battery))
    assert (old.quality, old.battery_w) == ("stale", 300)
    assert set(old.missing) == {"pv_w", "battery_w", "soc_pct", "load_w"}
    assert read(meter(500), part(HYBRID, 51, **battery)).battery_w is None
    assert read(meter(500, age_s=51), part(HYBRID, **battery)).at == NOW


def test_several_inverters_add_up_and_their_charges_weigh_by_capacity() -> None:
    small = part(HYBRID, pv_w=100.0, battery_w=50.0, soc_pct=100.0, capacity_wh=5000.0)
    large = part(HYBRID, pv_w=200.0, battery_w=-20.0, soc_pct=20.0, capacity_wh=15000.0)
    reading = read(meter(0), small, large, part(frozenset({"pv_w"}), pv_w=1000.0))
    assert (reading.pv_w, reading.battery_w, reading.soc_pct) == (1300, 30, 40)
    unknown = part(HYBRID, pv_w=200.0, battery_w=-20.0, soc_pct=20.0, capacity_wh=None)
    assert read(meter(0), small, unknown).soc_pct is None


def test_a_sum_with_an_unknown_part_is_unknown() -> None:
    dark = part(frozenset({"pv_w"}), pv_w=None)
    reading = read(meter(500), part(frozenset({"pv_w"}), pv_w=1000.0), dark)
    assert (reading.pv_w, reading.load_w, reading.quality) == (None, None, "absent")


def test_a_home_has_exactly_one_meter() -> None:
    check_home([("meter", METER), ("inverter", HYBRID)])
    with pytest.raises(ConfigError, match=r"exactly one device must measure grid_w, but no device does"):
        check_home([("inverter", HYBRID)])
    with pytest.raises(ConfigError, match="devices a, b all do"):
        check_home([("a", METER), ("b", METER)])
