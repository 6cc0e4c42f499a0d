"""Our devices and guard against the simulated home: real Modbus TCP on both sides, a plant behind it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from guard_parts import MemoryBrakes, permitted

from agent.control.envelope import Envelope
from agent.control.guard import Guard
from agent.control.settings import ControlSettings
from agent.devices.battery import Battery
from agent.devices.device import Device
from agent.devices.opening import LinkPool, open_device
from agent.devices.poller import Poller
from agent.devices.reading import HomeReading
from agent.devices.settings import DeviceSettings
from agent.simulator.home import SimulatedHome
from agent.simulator.settings import BatterySettings, GeneratorSettings, HomeSettings
from coordinator.clock import ScaledClock

NOON = datetime(2024, 6, 12, 10, tzinfo=UTC)
CONTROL = ControlSettings(
    enabled=True, reversion_s=3, lease_s=15, tick_s=0.05, min_write_s=0.0, stale_after_s=2, ramp_pct_per_s=1000
)


@dataclass
class House:
    plant: SimulatedHome
    inverter: Device
    meter: Device
    guard: Guard
    readings: list[HomeReading]
    notices: list[tuple[str, str]]

    @property
    def seen(self) -> HomeReading:
        return self.readings[-1]


@contextlib.asynccontextmanager
async def house() -> AsyncIterator[House]:
    """A home at noon with sun and a half full battery, polled every 50 ms; the guard is not running yet."""
    clock = ScaledClock(NOON, datetime.now(UTC), 1.0)
    settings = HomeSettings(
        plant=GeneratorSettings(pv_kwp=6.0),
        battery=BatterySettings(capacity_kwh=10, charge_kw=5, discharge_kw=5),
        battery_lag_s=0.2,
    )
    plant = SimulatedHome(settings, clock)
    await plant.start()
    links = LinkPool(clock)
    inverter_at = DeviceSettings(profile="sunspec_hybrid", url=f"tcp://127.0.0.1:{plant.ports.inverter}")
    meter_at = DeviceSettings(profile="eastron_sdm630", url=f"tcp://127.0.0.1:{plant.ports.meter}")
    inverter = open_device("inverter", inverter_at, links, clock)
    meter = open_device("meter", meter_at, links, clock)
    readings: list[HomeReading] = []
    notices: list[tuple[str, str]] = []

    def note(level: str, text: str) -> None:
        notices.append((level, text))

    poller = Poller(
        [inverter, meter], clock, interval_s=0.05, stale_after_s=2, on_reading=readings.append, on_notice=note
    )
    envelope = Envelope(charge_w=5000, discharge_w=5000, reserve_pct=10, max_pct=95)
    guard = Guard(Battery(inverter), envelope, clock, CONTROL, note, permit=permitted, brakes=MemoryBrakes())
    polling = asyncio.create_task(poller.run())
    try:
        await until(lambda: bool(readings) and readings[-1].quality == "valid")
        yield House(plant, inverter, meter, guard, readings, notices)
    finally:
        polling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await polling
        await guard.stop()
        await links.close()
        await plant.stop()


async def until(true: Callable[[], bool], within_s: float = 8.0) -> None:
    async with asyncio.timeout(within_s):
        while not true():
            await asyncio.sleep(0.02)


def run(check: Callable[[House], Awaitable[None]]) -> None:
    async def main() -> None:
        async with house() as home:
            await check(home)

    asyncio.run(main())


def test_every_point_of_the_simulated_home_reads_back_in_the_house_s_sign() -> None:
    async def check(home: House) -> None:
        # The plant starts at rest: wait until its battery has taken up the sun's surplus.
        await until(lambda: home.seen.grid_w == pytest.approx(home.plant.plant.flow.grid_w, abs=5))
        flow = home.plant.plant.flow
        seen = home.seen
        assert seen.grid_w == pytest.approx(flow.grid_w, abs=5)
        assert seen.pv_w == pytest.approx(flow.pv_w, abs=5)
        assert flow.pv_w > 100
        assert seen.battery_w == pytest.approx(flow.battery_w, abs=5)
        assert seen.load_w == pytest.approx(flow.load_w, abs=10)
        assert seen.soc_pct == pytest.approx(50, abs=0.1)
        assert seen.import_wh == pytest.approx(1_204_600, abs=3)
        assert seen.export_wh == pytest.approx(318_200, abs=3)
        for device in (home.inverter, home.meter):
            assert device.latest is not None
            assert [name for name, value in device.latest.values.items() if value is None] == []
        assert home.notices == []

    run(check)


@pytest.mark.parametrize("target_w", [2000.0, -3000.0])
def test_battery_follows_the_guard_and_the_grid_takes_the_rest(target_w: float) -> None:
    async def check(home: House) -> None:
        guarding = asyncio.create_task(home.guard.run())
        home.guard.lease(target_w, "the test wants it")
        await until(lambda: home.seen.battery_w == pytest.approx(target_w, abs=60))
        flow = home.plant.plant.flow
        assert flow.battery_w == pytest.approx(target_w, abs=60)
        assert flow.grid_w == pytest.approx(flow.load_w - flow.pv_w - flow.battery_w, abs=1)
        assert home.guard.status.control == "following"
        await home.guard.stop()
        await guarding
        # Self-consumption: the battery takes the sun's surplus, the grid is left with nothing.
        await until(lambda: abs(home.seen.grid_w or 9e9) < 60)
        assert home.notices == []

    run(check)


def test_lost_inverter_is_told_once_and_followed_again_when_it_is_back() -> None:
    async def check(home: House) -> None:
        guarding = asyncio.create_task(home.guard.run())
        home.guard.lease(1500.0, "the test wants it")
        await until(lambda: home.seen.battery_w == pytest.approx(1500, abs=60))
        server = home.plant._inverter_server
        assert server is not None
        await server.stop()
        await until(lambda: home.seen.quality == "stale")
        await server.start()
        await until(lambda: home.seen.quality == "valid", within_s=12)
        home.guard.lease(1500.0, "the test wants it")
        await until(lambda: home.guard.status.control == "following")
        await until(lambda: home.seen.battery_w == pytest.approx(1500, abs=60))
        texts = [text for _, text in home.notices]
        assert sum(text.startswith("inverter: ") and "trying again" in text for text in texts) <= 2
        assert texts.count("inverter: back") == 1
        await home.guard.stop()
        await guarding

    run(check)
