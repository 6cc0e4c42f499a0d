"""What a profile says its device bears, and what the device then takes."""

import asyncio

import pytest
from fault_bench import bench

from agent.devices.battery import Battery
from agent.devices.bounds import bounds
from agent.devices.profile import available_profiles, load_profile

COMMANDED = [name for name in available_profiles() if load_profile(name).control is not None]


@pytest.mark.parametrize("profile", COMMANDED)
def test_s2_each_device_takes_all_it_bears_by_its_profile_just_as_it_was_asked(profile: str) -> None:
    """What the guard takes for commanded is what arrives: neither less, nor refused in the middle of a command."""
    loaded = load_profile(profile)
    bears = bounds(loaded)
    assert bears is not None
    assert loaded.control is not None
    spec = loaded.control.battery_w
    setpoints = [step.write for step in spec.cycle if loaded.points[step.write].unit == "W"]
    set_by_owner = {need.point: need.equals for need in spec.require}

    async def scenario() -> None:
        async with bench(None, profile, values=lambda: set_by_owner) as it:
            await it.device.identify()
            battery = Battery(it.device)
            for power_w in (-bears.charge_w, -100.0, 0.0, 100.0, bears.discharge_w):
                assert await battery.command(power_w, 0.0, 60) is None, f"{power_w} W"
                shown = await it.device.read_points(setpoints)
                assert max(abs(value or 0.0) for value in shown.values()) == abs(power_w)

    asyncio.run(scenario())


def test_a_device_that_is_only_read_bears_no_command() -> None:
    assert bounds(load_profile("huawei_sun2000")) is None, "nothing is known that holds its battery at 0 W"
