"""How often what is read, how often what is written, and what a device may do at all."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_modbus import FakeModbus, Hybrid, serve

from agent.devices.battery import Battery
from agent.devices.budget import DayCounts, WriteBudget
from agent.devices.device import Device
from agent.devices.health import DeviceHealth, Said
from agent.devices.link import ModbusLink
from agent.devices.link_limits import LinkLimits
from agent.devices.opening import LinkPool, open_device
from agent.devices.profile import load_profile, profiles_folder
from agent.devices.reader import SLOW_S
from agent.devices.rules import STORED_WRITES_PER_DAY
from agent.devices.settings import DeviceSettings
from coordinator.clock import ManualClock, WallClock
from coordinator.errors import ConfigError

NOON = datetime(2024, 6, 12, 10, tzinfo=UTC)
SH = {13022: 500, 33046: 1000, 33047: 1000, 13049: 0, 13050: 0xCC, 13051: 0, 13079: 0}
SH |= dict.fromkeys((5016, 5017, 5213, 5214, 5600, 5601), 0)
SH |= {at: SH.get(at, 0) for at in range(13002, 13047)}


def asked(fake: FakeModbus) -> list[int]:
    addresses = [request.address for request in fake.log]
    fake.log.clear()
    return addresses


def test_slow_blocks_are_read_now_and_then_and_ratings_once_per_connection(tmp_path: Path) -> None:
    data = yaml.safe_load((profiles_folder() / "sungrow_sh.yaml").read_text())
    data |= {"profile": "slow"}
    data["blocks"]["meter"]["every"] = "slow"
    path = tmp_path / "slow.yaml"
    path.write_text(yaml.safe_dump(data))

    async def main() -> None:
        async with serve({1: dict(SH)}) as fake:
            clock = ManualClock(NOON)
            link = ModbusLink(fake.url, clock, LinkLimits(timeout_s=5))
            device = Device("it", load_profile(path), link, clock)
            await device.poll()
            assert asked(fake) == [13022, 5016, 5213, 13002, 5600, 33046, 4999]
            fake.units[1][5600] = 700
            clock.advance(timedelta(seconds=SLOW_S - 1))
            assert (await device.poll()).values["meter_w"] == 0
            assert asked(fake) == [5016, 5213, 13002]
            clock.advance(timedelta(seconds=1))
            assert (await device.poll()).values["meter_w"] == 700
            assert asked(fake) == [5016, 5213, 13002, 5600]
            await link.close()
            clock.advance(timedelta(seconds=30))
            await device.poll()
            assert asked(fake)[-2:] == [33046, 4999], "another device may be there now"
            await link.close()

    asyncio.run(main())


def test_a_model_that_lacks_registers_is_read_without_them() -> None:
    hybrid = Hybrid()
    del hybrid[Hybrid.BATTERY_W + 16]  # the scale factor of the battery's power

    async def main() -> None:
        async with serve({1: hybrid}) as fake:
            link = ModbusLink(fake.url, WallClock(), LinkLimits(timeout_s=5))
            device = Device("it", load_profile("sunspec_hybrid"), link, WallClock())
            with pytest.raises(Exception, match="exception 2"):
                await device.poll()  # one frame for all models
            values = (await device.poll()).values
            assert (values["ac_w"], values["battery_w"]) == (3000, None)
            await link.close()

    asyncio.run(main())


def test_profile_that_nobody_tested_reads_and_commands_only_when_the_owner_unlocks_it() -> None:
    clock = WallClock()

    def opened(**more: Any) -> Device:
        return open_device(
            "it", DeviceSettings(profile="sungrow_sh", url="tcp://host:502", **more), LinkPool(clock), clock
        )

    with pytest.raises(ConfigError, match="controls no battery"):
        Battery(opened())
    assert Battery(opened(unlock_control=True)).reversion_max_s == 60


def test_two_devices_of_one_serial_line_must_agree_on_its_setting() -> None:
    clock = WallClock()
    links = LinkPool(clock)
    meter = DeviceSettings(profile="eastron_sdm630", url="serial:///dev/ttyUSB0")
    assert open_device("meter", meter, links, clock).link is open_device("other", meter, links, clock).link
    assert open_device("meter", meter, links, clock).link.limits.gap_s >= 3.5 * 11 / 9600
    slow = DeviceSettings(profile="eastron_sdm120", url="serial:///dev/ttyUSB0")
    with pytest.raises(ConfigError, match=r"set differently \(9600 baud 8N1 and 2400 baud 8N1\)"):
        open_device("slow", slow, links, clock)
    open_device("slow", slow.model_copy(update={"baud": 9600}), links, clock)


def test_s5_stored_and_unknown_registers_have_a_budget_and_volatile_ones_none() -> None:
    today = NOON.date()
    solaredge, hybrid = WriteBudget(load_profile("solaredge_storedge")), WriteBudget(load_profile("sunspec_hybrid"))
    for _ in range(STORED_WRITES_PER_DAY):
        assert solaredge.spent(["ctl_default"], today) is None
        for name in ("ctl_default", "ctl_command"):
            solaredge.reserve([name], today)
            solaredge.written(name)
        hybrid.written("set_w")
    assert solaredge.spent(["ctl_command", "ctl_default"], today) == "ctl_default"
    assert solaredge.spent(["ctl_command"], today) is None, "its profile states 8000 a day"
    assert solaredge.spent(["ctl_default"], today - timedelta(days=1)) == "ctl_default", "a clock set back is no gift"
    assert solaredge.spent(["ctl_default"], today + timedelta(days=1)) is None, "a day later there is room again"
    assert hybrid.spent(["set_w"], today) is None


def commanding(check: Any, registers: dict[int, int], profile: str = "sungrow_sh") -> None:
    async def main() -> None:
        async with serve({1: registers}) as fake:
            clock = ManualClock(NOON)
            links = LinkPool(clock)
            settings = DeviceSettings(profile=profile, url=fake.url, unit=1, unlock_control=True)
            device = open_device("it", settings, links, clock)
            try:
                await device.poll()
                fake.log.clear()
                await check(fake, Battery(device))
            finally:
                await links.close()

    asyncio.run(main())


@pytest.mark.parametrize(("wanted_w", "command", "power"), [(1500, 0xBB, 1500), (-900, 0xAA, 900), (0, 0xCC, 0)])
def test_a_command_by_magnitude_and_direction_has_the_timer_first_and_the_mode_last(
    wanted_w: float, command: int, power: int
) -> None:
    async def check(fake: FakeModbus, battery: Battery) -> None:
        assert await battery.prepare(60) is None
        fake.log.clear()
        assert await battery.command(wanted_w, 0.0, 60) is None
        written = [(request.address, request.values) for request in fake.writes]
        assert written == [(13079, (60,)), (13051, (power,)), (13050, (command,)), (13049, (3,))]
        fake.log.clear()
        assert await battery.release() is None
        assert [(request.address, request.values) for request in fake.writes] == [(13050, (0xCC,)), (13049, (0,))]

    commanding(check, dict(SH))


def test_without_what_the_owner_has_to_set_nothing_is_written() -> None:
    registers = {31038: 50, 41000: 2} | dict.fromkeys((44000, 44001, 44002, 44003), 0)
    registers |= dict.fromkeys((*range(31002, 31006), *range(31026, 31038), *range(32003, 32008)), 0)

    async def check(fake: FakeModbus, battery: Battery) -> None:
        assert "shows work_mode 2.0 where control needs 0" in str(await battery.command(1000, 0.0, 60))
        assert fake.writes == []
        fake.units[1][41000] = 0
        assert await battery.command(1000, 0.0, 60) is None
        assert fake.writes

    commanding(check, registers, "foxess_h3")


def test_s5_a_register_that_was_written_too_often_today_ends_control_but_never_the_release() -> None:
    async def check(fake: FakeModbus, battery: Battery) -> None:
        battery._budget = WriteBudget(
            load_profile("sungrow_sh"), DayCounts(day=NOON.date(), writes={"ems_command": 8000})
        )
        assert "as its memory bears" in str(await battery.command(1000, 0.0, 60))
        assert battery.spent is not None
        assert fake.writes == [], "all of a command or nothing of it"
        assert await battery.release() is None

    commanding(check, dict(SH))


def test_doubt_is_told_once_when_it_lasts_and_once_when_it_ends() -> None:
    health = DeviceHealth("meter", UTC)
    assert health.judged({"grid_w": "it jumped"}) is None, "one poll is no news"
    assert health.judged({}) is None
    assert health.judged({"grid_w": "why"}) is None
    assert health.judged({"grid_w": "why"}) == Said("warning", "meter: grid_w is not used: why")
    assert health.judged({"grid_w": "why"}) is None
    assert health.judged({}) == Said("info", "meter: its values agree again")
