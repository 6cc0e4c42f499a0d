"""What a device bears by its profile holds wherever the owner's limits do."""

from typing import Any

import pytest
from test_steering import config

from agent.guard_setup import narrowed, owner_envelope
from agent.memory import planned_battery
from coordinator.errors import ConfigError

METER = {"profile": "eastron_sdm630", "url": "tcp://host:502"}


def home(profile: str, unlock: bool = True, **battery: float) -> Any:
    inverter = {"profile": profile, "url": "tcp://host:503", "unlock_control": unlock}
    limits = {"capacity_kwh": 10.0, "charge_kw": 7.0, "discharge_kw": 13.0, **battery}
    return config(devices={"meter": METER, "inverter": inverter}, battery=limits)


@pytest.mark.parametrize(
    ("profile", "charge_w", "discharge_w", "pct"),
    [
        ("solaredge_storedge", 5000, 5000, (8, 95)),
        ("foxess_h3", 7000, 10_000, (10, 95)),
        ("sungrow_sh", 5000, 5000, (8, 95)),
        ("sunspec_battery", 7000, 13_000, (8, 95)),
    ],
)
def test_s2_the_guard_asks_no_device_for_more_than_it_bears(
    profile: str, charge_w: float, discharge_w: float, pct: tuple[float, float]
) -> None:
    """SolarEdge's and FoxESS' clamps, and the range of Sungrow's register, where the owner allows 7 and 13 kW."""
    envelope = owner_envelope(home(profile, reserve_pct=8.0))
    assert envelope is not None
    assert (envelope.charge_w, envelope.discharge_w) == (charge_w, discharge_w)
    assert (envelope.reserve_pct, envelope.max_pct) == pct
    locked = owner_envelope(home(profile, unlock=False, reserve_pct=8.0))
    assert locked is not None
    assert (locked.charge_w, locked.discharge_w, locked.reserve_pct) == (7000, 13_000, 8), "it commands nothing"


def test_the_owner_is_told_what_the_device_bears_less() -> None:
    assert narrowed(home("foxess_h3", reserve_pct=8.0)) == (
        "by its profile the device bears less than [battery] allows: giving 10 kW, not 13; down to 10 %, not 8"
    )
    assert narrowed(home("sungrow_sh", charge_kw=5.0, discharge_kw=4.03)) is None
    assert narrowed(config()) is None
    assert owner_envelope(config()) is None


def test_limits_that_leave_the_device_no_room_are_refused_with_their_cure() -> None:
    with pytest.raises(ConfigError, match="the profile of its device to 10 to 100 %: correct reserve_pct and max_pct"):
        owner_envelope(home("foxess_h3", reserve_pct=2.0, max_pct=10.0))


def test_plans_count_on_no_more_than_the_device_bears() -> None:
    battery = planned_battery(home("foxess_h3", reserve_pct=8.0))
    assert battery is not None
    assert (battery.charge_max_w, battery.discharge_max_w) == (7000, 10_000)
    assert (battery.reserve_wh, battery.max_wh) == (1000, 9500)
    assert planned_battery(config()) is None
