"""What the guard is told of the grid connection, from what the devices say."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from test_steering import READING, config

from agent.devices.reading import DeviceSample
from agent.guard_setup import connection, grid_watch

METER = {
    "grid_w": 900.0, "grid_l1_w": 500.0, "grid_l2_w": 300.0, "grid_l3_w": 100.0, "frequency_hz": 50.02,
    "voltage_l1_v": 231.0, "voltage_l2_v": 229.0, "voltage_l3_v": None,
}  # fmt: skip


def device(values: dict[str, Any], **doubtful: str) -> Any:
    return SimpleNamespace(
        latest=DeviceSample(name="it", at=READING.at, monotonic_s=0.0, values=values, doubtful=doubtful)
    )


def test_phases_voltages_and_frequency_come_from_whichever_device_shows_them() -> None:
    silent: Any = SimpleNamespace(latest=None)
    seen = connection(replace(READING, monotonic_s=7.0), [silent, device({"battery_w": 600.0}), device(METER)])
    assert (seen.monotonic_s, seen.net_load_w, seen.battery_w) == (7.0, 1000.0, 600.0)
    assert seen.phases_w == (500.0, 300.0, 100.0)
    assert seen.volts == (231.0, 229.0)
    assert seen.frequency_hz == 50.02
    assert not seen.gone


def test_what_is_doubtful_or_of_a_home_that_is_not_known_counts_for_nothing() -> None:
    seen = connection(replace(READING, quality="stale"), [device(METER, grid_l1_w="it jumped", frequency_hz="frozen")])
    assert (seen.net_load_w, seen.battery_w, seen.frequency_hz) == (None, None, None)
    assert seen.phases_w == (), "the doubtful one may be the one that bears most"


@pytest.mark.parametrize(
    ("home", "net_w", "phases_w", "low_w"),
    [
        ({"connection_kw": 5.0}, 1000.0, (), -4000.0),
        ({"fuse_a": 10.0}, 1000.0, (1500.0, -500.0, 0.0), -800.0),
        ({"connection_kw": 5.0, "fuse_a": 10.0}, 4800.0, (1000.0, 0.0, 0.0), -200.0),
        ({}, 1000.0, (9000.0,), -float("inf")),
    ],
)
def test_the_owner_s_fuses_bound_what_the_battery_may_draw(
    home: dict[str, float], net_w: float, phases_w: tuple[float, ...], low_w: float
) -> None:
    watch = grid_watch(config(home={"name": "home-1", **home}, control={"return_s": 0}))
    phases = {f"grid_l{number}_w": power_w for number, power_w in enumerate(phases_w, start=1)}
    reading = replace(READING, monotonic_s=100.0, load_w=net_w, battery_w=0.0)
    watch.see(connection(reading, [device(phases)]))
    assert watch.band(101.0).low_w == pytest.approx(low_w)
    assert watch.trouble(101.0) is None


def test_a_fuse_of_phases_that_are_not_seen_ends_control() -> None:
    watch = grid_watch(config(home={"name": "home-1", "fuse_a": 25.0}, control={"return_s": 0}))
    watch.see(connection(replace(READING, monotonic_s=100.0), [device({"grid_w": 900.0})]))
    assert "its fuse cannot be kept" in str(watch.trouble(101.0))
