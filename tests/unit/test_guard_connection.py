"""What the guard is told of the grid connection, from what the devices say."""

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_steering import READING, config

from agent.config import load_config
from agent.control.grid import Connection, GridWatch
from agent.devices.reading import DeviceSample, HomeReading
from agent.first_files import write_first_files
from agent.guard_setup import connection, grid_watch
from agent.runtime import Agent

METER = {
    "grid_w": 900.0, "grid_l1_w": 500.0, "grid_l2_w": 300.0, "grid_l3_w": 100.0, "frequency_hz": 50.02,
    "voltage_l1_v": 231.0, "voltage_l2_v": 229.0, "voltage_l3_v": None,
}  # fmt: skip
DARK = {**METER, "frequency_hz": None, "voltage_l1_v": 0.0, "voltage_l2_v": 0.0}
NOW_S = 100.0


def device(name: str, values: dict[str, Any], at_s: float = NOW_S, **doubtful: str) -> Any:
    sample = DeviceSample(name=name, at=READING.at, monotonic_s=at_s, values=values, doubtful=doubtful)
    return SimpleNamespace(name=name, latest=sample, profile=SimpleNamespace(provides=frozenset(values)))


def meter(values: dict[str, Any] = METER, at_s: float = NOW_S, **doubtful: str) -> Any:
    return device("meter", values, at_s, **doubtful)


def inverter(battery_w: float = 600.0, **more: Any) -> Any:
    return device("inverter", {"battery_w": battery_w, "soc_pct": 50.0, **more})


def seen(*devices: Any, reading: HomeReading = READING) -> Connection:
    return connection(replace(reading, monotonic_s=NOW_S), devices, "inverter", 15.0)


def test_phases_voltages_and_frequency_are_the_meter_s() -> None:
    silent: Any = SimpleNamespace(name="wallbox", latest=None)
    found = seen(silent, inverter(frequency_hz=49.0, voltage_l1_v=240.0, grid_l1_w=7.0), meter())
    assert (found.monotonic_s, found.net_load_w, found.battery_w) == (NOW_S, 1500.0, 600.0)
    assert found.phases_w == (500.0, 300.0, 100.0)
    assert found.volts == (231.0, 229.0)
    assert found.frequency_hz == 50.02
    assert found.gone is False


@pytest.mark.parametrize("pack_v", [384.0, 210.0])
def test_s10_a_battery_s_own_volts_are_none_of_the_grid_s(pack_v: float) -> None:
    """384 V would be no grid, and 210 V one where the meter shows that there is none."""
    pack = device("pack", {"voltage_v": pack_v, "soc_pct": 50.0})
    assert seen(inverter(), meter(), pack).gone is False
    low = meter({**METER, "voltage_l1_v": 150.0, "voltage_l2_v": 150.0})
    assert seen(inverter(), low, pack).gone is True


def test_what_is_doubtful_or_old_or_of_a_home_that_is_not_known_counts_for_nothing() -> None:
    found = seen(inverter(), meter(METER, grid_l1_w="it jumped", frequency_hz="frozen"))
    assert (found.net_load_w, found.frequency_hz) == (1500.0, None)
    assert found.phases_w == (), "the doubtful one may be the one that bears most"
    assert seen(inverter(), meter(), reading=replace(READING, quality="stale")).net_load_w is None
    old = seen(inverter(), meter(METER, at_s=NOW_S - 15.1))
    assert old == Connection(monotonic_s=NOW_S, net_load_w=None)
    assert old.gone is None


def test_s10_a_grid_that_went_with_its_meter_is_gone_until_the_meter_shows_it_again() -> None:
    """The meter has no current either, while an inverter may go on in a grid of its own."""
    watch, alone = GridWatch(), inverter(frequency_hz=50.0, voltage_l1_v=230.0)
    watch.see(seen(alone, meter()))
    assert watch.trouble(NOW_S) is None
    watch.see(seen(alone, meter(DARK)))
    for later_s in (100.0, 10_000.0):
        watch.see(replace(seen(alone, meter(DARK, at_s=0.0)), monotonic_s=NOW_S + later_s))
        assert "the grid is gone" in str(watch.trouble(NOW_S + later_s + 1))
    watch.see(replace(seen(alone, meter()), monotonic_s=20_000.0))
    assert watch.trouble(20_000.0) is None


def test_s10_a_home_whose_meter_went_with_the_grid_does_not_trade_until_it_is_back(tmp_path: Path) -> None:
    async def scenario() -> list[bool]:
        agent = Agent(load_config(write_first_files(tmp_path, name="home-1", timezone="UTC", currency="EUR")))
        gone = []
        for shown in (meter(), meter(DARK), meter(DARK, at_s=0.0), meter()):
            agent._devices = (shown,)
            agent._read(replace(READING, monotonic_s=NOW_S))
            gone.append(agent.home.grid_gone)
        agent._memory.close()
        agent._store.close()
        return gone

    assert asyncio.run(scenario()) == [False, True, True, False]


@pytest.mark.parametrize(
    ("home", "battery_w", "phases_w", "low_w"),
    [
        ({"connection_kw": 5.0}, 0.0, (), -4000.0),
        ({"connection_kw": 5.0}, -2000.0, (), -6000.0),
        ({"fuse_a": 10.0}, 0.0, (1500.0, -500.0, 0.0), -790.0),
        ({"connection_kw": 5.0, "fuse_a": 10.0}, 0.0, (1000.0, 0.0, 0.0), -1290.0),
        ({}, 0.0, (9000.0,), -float("inf")),
    ],
)
def test_the_owner_s_fuses_bound_what_the_battery_may_draw(
    home: dict[str, float], battery_w: float, phases_w: tuple[float, ...], low_w: float
) -> None:
    watch = grid_watch(config(home={"name": "home-1", **home}, control={"return_s": 0}))
    phases = {f"grid_l{number}_w": power_w for number, power_w in enumerate(phases_w, start=1)}
    shown = {"grid_w": 1000.0, "voltage_l1_v": 231.0, "voltage_l2_v": 229.0, "voltage_l3_v": 3.0, **phases}
    watch.see(seen(inverter(battery_w), meter(shown)))
    assert watch.band(NOW_S + 1).low_w == pytest.approx(low_w)
    assert watch.trouble(NOW_S + 1) is None


def test_s2_a_battery_that_nobody_commands_is_load_to_the_fuse() -> None:
    """House 4 kW, another battery charges with 5 kW as it likes: 2 kW are left of 11, and no more."""
    watch = grid_watch(config(home={"name": "home-1", "connection_kw": 11.0}, control={"return_s": 0}))
    other = device("other", {"battery_w": -5000.0, "soc_pct": 50.0})
    reading = replace(READING, grid_w=9000.0, battery_w=-5000.0, load_w=4000.0)
    for devices in ((inverter(0.0), other), (other, inverter(0.0))):
        watch.see(seen(*devices, meter({**METER, "grid_w": 9000.0}), reading=reading))
        assert watch.band(NOW_S).low_w == -2000.0


@pytest.mark.parametrize(("volts", "low_w"), [(231.0, -17_100.0), (120.0, -6000.0), (100.0, -4000.0)])
def test_s2_a_fuse_bears_its_current_at_the_voltage_that_is_there(volts: float, low_w: float) -> None:
    """6 kW flow in each leg of 100 A already: 50 A at 120 V."""
    watch = grid_watch(config(home={"name": "home-1", "fuse_a": 100.0}, control={"return_s": 0}))
    legs = {"grid_w": 12_000.0, "grid_l1_w": 6000.0, "grid_l2_w": 6000.0}
    watch.see(seen(inverter(0.0), meter({**legs, "voltage_l1_v": volts, "voltage_l2_v": volts + 2})))
    assert watch.band(NOW_S).low_w == pytest.approx(low_w)
    assert (6000.0 - watch.band(NOW_S).low_w) / volts == pytest.approx(100.0), "amperes in a leg"


@pytest.mark.parametrize("lacking", ["grid_l1_w", "voltage_l1_v"])
def test_a_fuse_whose_phases_or_voltage_are_not_seen_ends_control(lacking: str) -> None:
    watch = grid_watch(config(home={"name": "home-1", "fuse_a": 25.0}, control={"return_s": 0}))
    shown = {"grid_w": 900.0, "grid_l1_w": 900.0, "voltage_l1_v": 230.0}
    watch.see(seen(inverter(), meter({name: value for name, value in shown.items() if name != lacking})))
    assert "its fuse cannot be kept" in str(watch.trouble(NOW_S + 1))
