import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import yaml
from fake_modbus import FakeModbus, Hybrid, f32, sdm630, serve

from agent.devices.device import Device
from agent.devices.errors import DeviceRefusedError, LinkDownError, WriteIgnoredError, WrongDeviceError
from agent.devices.opening import LinkPool, open_device
from agent.devices.profile import profiles_folder
from agent.devices.settings import DeviceSettings
from coordinator.clock import WallClock

Check = Callable[[FakeModbus, Device], Awaitable[None]]


def run(profile: str, registers: dict[int, int], check: Check) -> None:
    async def main() -> None:
        async with serve({1: registers}) as fake:
            clock = WallClock()
            links = LinkPool(clock)
            try:
                await check(fake, open_device("it", DeviceSettings(profile=profile, url=fake.url), links, clock))
            finally:
                await links.close()

    asyncio.run(main())


def test_meter_reads_in_the_house_s_sign_from_one_frame() -> None:
    async def check(fake: FakeModbus, device: Device) -> None:
        sample = await device.poll()
        assert sample.values["grid_w"] == 1234.5
        assert sample.values["import_wh"] == 100_250
        assert sample.values["export_wh"] == 50_500
        assert sample.values["voltage_l2_v"] == 231.0
        fake.log.clear()
        await device.poll()
        assert [(request.fc, request.address) for request in fake.log] == [(4, 0)]

    run("eastron_sdm630", sdm630(), check)


def test_meter_that_counts_export_as_positive_is_turned_around_by_its_profile(tmp_path: Path) -> None:
    data = yaml.safe_load((profiles_folder() / "eastron_sdm630.yaml").read_text())
    data["profile"] = "exporting"
    data["points"]["grid_w"] |= {"sign": "export", "scale": 10, "range": [-20000, 0]}
    path = tmp_path / "exporting.yaml"
    path.write_text(yaml.safe_dump(data))

    async def check(fake: FakeModbus, device: Device) -> None:
        assert (await device.poll()).values["grid_w"] == -12345

    run(str(path), sdm630(grid_w=1234.5), check)


def test_setpoint_of_a_device_with_the_opposite_sign_is_turned_around(tmp_path: Path) -> None:
    data = yaml.safe_load((profiles_folder() / "sunspec_hybrid.yaml").read_text())
    data["profile"] = "opposite"
    data["points"]["set_w"]["sign"] = "consumption"
    path = tmp_path / "opposite.yaml"
    path.write_text(yaml.safe_dump(data))

    async def check(fake: FakeModbus, device: Device) -> None:
        await device.write_point("set_w", -1500)
        assert fake.writes[-1].values == (0, 1500)
        assert (await device.read_points(["set_w"]))["set_w"] == -1500

    run(str(path), Hybrid(), check)


def test_hybrid_reads_powers_and_scale_factors_from_one_frame() -> None:
    async def check(fake: FakeModbus, device: Device) -> None:
        values = (await device.poll()).values
        assert (values["ac_w"], values["battery_w"], values["pv_w"], values["soc_pct"]) == (3000, 1000, 2000, 50)
        fake.log.clear()
        await device.poll()
        assert len(fake.log) == 1
        # Changing powers and scale factor together never shows a mixture.
        hybrid = fake.units[1]
        hybrid[Hybrid.AC_SF], hybrid[Hybrid.AC_W] = 1, 450
        assert (await device.poll()).values["ac_w"] == 4500

    run("sunspec_hybrid", Hybrid(), check)


def test_charging_battery_and_drawing_inverter_are_negative() -> None:
    async def check(fake: FakeModbus, device: Device) -> None:
        values = (await device.poll()).values
        assert (values["ac_w"], values["battery_w"], values["pv_w"]) == (-1500, -2000, 500)

    run("sunspec_hybrid", Hybrid(ac_w=-1500, battery_w=-2000), check)


@pytest.mark.parametrize(
    ("address", "word", "gone"),
    [
        (Hybrid.AC_W, 0x8000, {"ac_w", "pv_w"}),
        (Hybrid.AC_SF, 0x8000, {"ac_w", "pv_w"}),
        (Hybrid.AC_SF, 99, {"ac_w", "pv_w"}),
        (Hybrid.BATTERY_W, 0x8000, {"battery_w", "pv_w"}),
        (Hybrid.SOC, 0xFFFF, {"soc_pct"}),
        (Hybrid.SOC, 25000, {"soc_pct"}),
    ],
)
def test_sentinels_and_impossible_values_are_absent_and_never_zero(address: int, word: int, gone: set[str]) -> None:
    async def check(fake: FakeModbus, device: Device) -> None:
        values = (await device.poll()).values
        assert {name for name, value in values.items() if value is None} == gone

    run("sunspec_hybrid", Hybrid() | {address: word}, check)


def test_pv_inverter_reads_by_models_1_and_103_alone() -> None:
    registers = Hybrid(ac_w=2500)
    registers[40122] = 0xFFFF

    async def check(fake: FakeModbus, device: Device) -> None:
        values = (await device.poll()).values
        assert values["pv_w"] == 2500
        assert values["pv_wh"] is None, "an accumulator at zero means not supported"

    run("sunspec_pv", registers, check)


def test_device_without_the_profile_s_models_is_refused_with_those_it_has() -> None:
    registers = Hybrid()
    registers[40122] = 0xFFFF

    async def check(fake: FakeModbus, device: Device) -> None:
        with pytest.raises(WrongDeviceError, match=r"no SunSpec model 802, only 1, 103: try another profile"):
            await device.poll()

    run("sunspec_hybrid", registers, check)


def test_device_that_is_no_sunspec_device_is_named_so() -> None:
    async def check(fake: FakeModbus, device: Device) -> None:
        with pytest.raises(WrongDeviceError, match=r"no marker at 40000, 0, 50000"):
            await device.poll()

    run("sunspec_hybrid", dict.fromkeys(range(100), 0), check)


def test_map_at_another_base_is_found() -> None:
    moved = {address - 40000: word for address, word in Hybrid().items()}

    async def check(fake: FakeModbus, device: Device) -> None:
        assert (await device.poll()).values["pv_w"] == 2000

    run("sunspec_hybrid", moved, check)


def test_another_device_at_the_meter_s_address_is_not_read() -> None:
    async def check(fake: FakeModbus, device: Device) -> None:
        with pytest.raises(WrongDeviceError, match=r"shows 1e\+06 at register 0 .* is it another device"):
            await device.poll()

    run("eastron_sdm630", sdm630() | dict(zip((0, 1), f32(1e6), strict=True)), check)


def test_device_is_identified_again_after_every_reconnect() -> None:
    async def check(fake: FakeModbus, device: Device) -> None:
        await device.poll()
        await fake.stop()
        with pytest.raises(LinkDownError):
            await device.poll()
        fake.units[1].update(dict(zip((0x46, 0x47), f32(0.0), strict=True)))
        await fake.start()
        async with asyncio.timeout(5):
            while True:
                try:
                    await device.poll()
                except LinkDownError:
                    await asyncio.sleep(0.05)
                except WrongDeviceError:
                    return

    run("eastron_sdm630", sdm630(), check)


def test_setpoint_is_written_with_the_scale_factor_of_that_moment() -> None:
    async def check(fake: FakeModbus, device: Device) -> None:
        fake.units[1][Hybrid.SET_SF] = 1
        await device.write_point("set_w", -2500)
        assert fake.writes[-1].address == Hybrid.SET_W
        assert fake.writes[-1].values == (0xFFFF, 0xFF06)
        assert (await device.read_points(["set_w"]))["set_w"] == -2500

    run("sunspec_hybrid", Hybrid(), check)


def test_value_that_a_register_cannot_carry_is_never_sent() -> None:
    async def check(fake: FakeModbus, device: Device) -> None:
        for value in (float("nan"), 1e9, float("-inf")):
            with pytest.raises(WriteIgnoredError, match="cannot take set_w"):
                await device.write_point("set_w", value)
        fake.units[1][Hybrid.SET_SF] = 0x8000
        with pytest.raises(WriteIgnoredError, match="has no set_w"):
            await device.write_point("set_w", 100)
        assert fake.writes == []

    run("sunspec_hybrid", Hybrid(), check)


def test_refused_read_is_told_with_its_code() -> None:
    async def check(fake: FakeModbus, device: Device) -> None:
        del fake.units[1][Hybrid.BATTERY_W]
        with pytest.raises(DeviceRefusedError, match="exception 2"):
            await device.poll()

    run("sunspec_hybrid", Hybrid(), check)
