import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from fake_modbus import FakeModbus, Hybrid, sdm630, serve

from agent.devices.health import DeviceHealth
from agent.devices.opening import LinkPool, open_device
from agent.devices.poller import Poller
from agent.devices.reading import HomeReading
from agent.devices.settings import DeviceSettings
from coordinator.clock import WallClock

AT = datetime(2024, 6, 12, 7, 14, tzinfo=UTC)
BERLIN = timezone(timedelta(hours=2))


class Watched:
    """A running poller, with what it told."""

    def __init__(self) -> None:
        self.readings: list[HomeReading] = []
        self.notices: list[tuple[str, str]] = []

    def note(self, level: str, text: str) -> None:
        self.notices.append((level, text))


@contextlib.asynccontextmanager
async def polling(meter: str, inverter: str, unit: int = 1) -> AsyncIterator[Watched]:
    clock, watched = WallClock(), Watched()
    links = LinkPool(clock)
    devices = [
        open_device("meter", DeviceSettings(profile="eastron_sdm630", url=meter, unit=unit), links, clock),
        open_device("inverter", DeviceSettings(profile="sunspec_hybrid", url=inverter), links, clock),
    ]
    poller = Poller(
        devices, clock, interval_s=0.05, stale_after_s=0.5, on_reading=watched.readings.append, on_notice=watched.note
    )
    task = asyncio.create_task(poller.run())
    try:
        yield watched
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await links.close()


async def until_valid(watched: Watched) -> None:
    async with asyncio.timeout(12):
        while not watched.readings or watched.readings[-1].quality != "valid":
            await asyncio.sleep(0.01)


def swallow(request: bytes, answer: bytes) -> bytes:
    return b""


def test_a_device_that_hangs_delays_no_other() -> None:
    async def main() -> None:
        async with serve({1: sdm630()}) as meter, serve({1: Hybrid()}) as inverter:
            inverter.mangle = swallow
            async with polling(meter.url, inverter.url) as watched:
                await asyncio.sleep(0.6)
            grids = [reading.at for reading in watched.readings if reading.grid_w is not None]
            assert len(set(grids)) >= 6, "the meter is read again and again"
            assert watched.readings[-1].quality == "absent"
            assert watched.readings[-1].battery_w is None

    asyncio.run(main())


def test_device_s_going_and_coming_back_is_told_once_each() -> None:
    async def main() -> None:
        async with serve({1: sdm630()}) as meter, serve({1: Hybrid()}) as inverter:
            async with polling(meter.url, inverter.url) as watched:
                await until_valid(watched)
                await meter.stop()
                while watched.readings[-1].quality == "valid":
                    await asyncio.sleep(0.01)
                stale = watched.readings[-1]
                assert (stale.quality, stale.grid_w) == ("stale", 1234.5)
                await asyncio.sleep(0.3)
                await meter.start()
                await until_valid(watched)
            away = [text for level, text in watched.notices if level == "warning"]
            assert len(away) == 1
            assert away[0].startswith(f"meter: no answer from {meter.url} since ")
            assert away[0].endswith("; trying again")
            assert watched.notices[1:] == [("info", "meter: back")]

    asyncio.run(main())


def test_wrong_unit_id_is_told_once_with_the_likely_cause() -> None:
    async def main() -> None:
        async with serve({1: sdm630()}) as meter, serve({1: Hybrid()}) as inverter:
            async with polling(meter.url, inverter.url, unit=5) as watched:
                await asyncio.sleep(2.5)
            ((level, text),) = watched.notices
            assert level == "warning"
            assert f"device at {meter.url} answered nothing for unit 5: is the unit id right?" in text

    asyncio.run(main())


def test_home_that_starts_before_its_devices_finds_them_later() -> None:
    async def main() -> None:
        async with serve({1: sdm630()}) as meter, serve({1: Hybrid()}) as inverter:
            await meter.stop()
            async with polling(meter.url, inverter.url) as watched:
                await asyncio.sleep(0.1)
                await meter.start()
                await until_valid(watched)
            assert [text for level, text in watched.notices if level == "info"] == ["meter: back"]

    asyncio.run(main())


def test_times_in_notices_are_the_owner_s() -> None:
    health = DeviceHealth("meter", BERLIN)
    assert health.answered(AT) is None
    assert health.failed("no answer", AT) is None, "one lost answer is no news"
    said = health.failed("no answer", AT + timedelta(seconds=1))
    assert said == ("warning", "meter: no answer since 09:14; trying again")
    assert health.failed("no answer", AT + timedelta(seconds=2)) is None
    assert health.trouble == "no answer"
    assert health.answered(AT + timedelta(seconds=3)) == ("info", "meter: back")
    assert health.trouble is None


def test_another_reason_is_told_again() -> None:
    health = DeviceHealth("meter", UTC)
    assert health.failed("no answer", AT) == ("warning", "meter: no answer since 07:14; trying again")
    assert health.failed("wrong device", AT) is not None


def test_fault_of_our_own_does_not_end_the_polling(caplog: pytest.LogCaptureFixture) -> None:
    async def main(meter: FakeModbus, inverter: FakeModbus) -> None:
        async with polling(meter.url, inverter.url) as watched:
            await until_valid(watched)
            watched.readings.clear()
            # Not even an answer that breaks an assumption of ours may silence the other device.
            clock, links = WallClock(), LinkPool(WallClock())
            broken = open_device("meter", DeviceSettings(profile="eastron_sdm630", url=meter.url), links, clock)
            broken.poll = _fail  # type: ignore[method-assign]
            poller = Poller(
                [broken],
                clock,
                interval_s=0.02,
                stale_after_s=1,
                on_reading=watched.readings.append,
                on_notice=watched.note,
            )
            running = asyncio.create_task(poller.run())
            async with asyncio.timeout(10):
                while len(watched.readings) < 3:
                    await asyncio.sleep(0.01)
                    assert not running.done()
            running.cancel()
            assert any("fault in this program" in text for _, text in watched.notices)

    async def served() -> None:
        async with serve({1: sdm630()}) as meter, serve({1: Hybrid()}) as inverter:
            await main(meter, inverter)

    asyncio.run(served())
    assert "ZeroDivisionError" in caplog.text


async def _fail() -> None:
    raise ZeroDivisionError
