"""Every profile against a device made of it: each point comes back in the house's sign, for every installer's choice.

The simulated device encodes with its own code. That profile and device could still share a wrong register is what
`test_devices_register_bytes.py` is for.
"""

import asyncio
import random
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest
import yaml

from agent.devices.choices import all_choices, resolve
from agent.devices.device import Device
from agent.devices.layout import derive
from agent.devices.link import ModbusLink
from agent.devices.link_limits import LinkLimits
from agent.devices.profile import available_profiles, load_profile, profiles_folder
from agent.devices.reading import DeviceSample
from agent.simulator.profile_device import ProfileDevice
from agent.simulator.server import ModbusServer, answer_units
from coordinator.clock import WallClock


class Case(NamedTuple):
    name: str
    chosen: dict[str, str]
    data: dict[str, Any]

    @property
    def title(self) -> str:
        return " ".join((self.name, *(f"{key}={value}" for key, value in self.chosen.items())))


def cases() -> Iterator[Case]:
    for name in available_profiles():
        data = yaml.safe_load((profiles_folder() / f"{name}.yaml").read_text())
        for chosen in all_choices(data):
            yield Case(name, chosen, resolve(data, chosen))


CASES = list(cases())


def some_value(rng: random.Random, spec: Mapping[str, Any]) -> float:
    """Return a value that a working device may show, away from the ends of its type."""
    if "one_of" in spec:
        return float(rng.choice(list(spec["one_of"])))
    low, high = spec.get("range", (0, 100))
    match spec.get("unit"):
        case "V":
            low, high = 210, 250
        case "Hz":
            low, high = 49, 51
        case "W":
            low, high = max(low, -9000), min(high, 9000)
        case "Wh":
            low, high = max(low, 1000), min(high, 9_000_000)
    return rng.uniform(low, high)


class Seen(NamedTuple):
    device: ProfileDevice
    sample: DeviceSample
    writable: Mapping[str, float | None]


@pytest.fixture(scope="module")
def seen() -> dict[str, Seen]:
    """Serve all devices behind one port, each under a unit of its own, and read each of them once."""
    rng = random.Random(7)
    devices: dict[str, ProfileDevice] = {}
    for case in CASES:
        shown = {name: some_value(rng, spec) for name, spec in case.data["points"].items()}
        devices[case.title] = ProfileDevice(case.data, shown.copy)

    async def read_all() -> dict[str, Seen]:
        server = ModbusServer(answer_units(dict(enumerate(devices.values(), start=1))), "127.0.0.1", 0)
        await server.start()
        clock = WallClock()
        link = ModbusLink(f"tcp://127.0.0.1:{server.port}", clock, LinkLimits(timeout_s=5))
        result: dict[str, Seen] = {}
        try:
            for unit, case in enumerate(CASES, start=1):
                device = Device(case.title, load_profile(case.name, case.chosen), link, clock, unit)
                sample = await device.poll()
                names = [name for name, spec in device.profile.points.items() if spec.access == "rw"]
                result[case.title] = Seen(devices[case.title], sample, await device.read_points(names))
        finally:
            await link.close()
            await server.stop()
        return result

    return asyncio.run(read_all())


def test_there_are_profiles_for_common_hardware() -> None:
    names = {case.name for case in CASES}
    assert len(names) >= 25
    for maker in ("eastron", "carlo_gavazzi", "abb", "janitza", "shelly", "victron", "sunspec", "fronius", "solaredge"):
        assert any(name.startswith(maker) for name in names), maker
    for maker in ("sma", "kostal", "huawei", "sungrow", "goodwe", "growatt", "deye", "solis", "foxess", "sofar"):
        assert any(name.startswith(maker) for name in names), maker


@pytest.mark.parametrize("case", CASES, ids=[case.title for case in CASES])
def test_every_point_reads_back_in_the_house_s_sign(case: Case, seen: dict[str, Seen]) -> None:
    device, sample, writable = seen[case.title]
    points = case.data["points"]
    for name in points:
        shown = device.value(name) if "bit" not in points[name] else float(int(device.value(name)) > 0)
        read = writable[name] if name in writable else sample.values[name]
        assert read == pytest.approx(shown, rel=1e-6, abs=1e-6), name
        low, high = points[name].get("range", (read, read))
        assert low <= shown <= high, name


@pytest.mark.parametrize("case", CASES, ids=[case.title for case in CASES])
def test_powers_of_the_house_are_known_and_add_up(case: Case, seen: dict[str, Seen]) -> None:
    profile = load_profile(case.name, case.chosen)
    values = seen[case.title].sample.values
    assert {name for name, value in values.items() if value is None} == set()
    for name, made in derive(profile, values).items():
        parts = list(profile.derived[name].inputs)
        assert values[name] == made, name
        if profile.derived[name].floor is None and profile.derived[name].magnitude is None:
            signs = [-1 if term[0] == "-" else 1 for term in profile.derived[name].sum or ()]
            whole = sum(sign * (values[part] or 0.0) for sign, part in zip(signs, parts, strict=True))
            assert made == pytest.approx(whole), name


@pytest.mark.parametrize("name", available_profiles())
def test_profile_says_what_it_rests_on(name: str) -> None:
    profile = load_profile(name)
    assert profile.sources
    assert profile.evidence in ("desk", "simulated"), "nobody has tested one on hardware yet"
    if profile.control is not None:
        assert profile.control.battery_w.lease_s <= 60
        assert profile.control.battery_w.when_we_vanish.by == "device"
