"""Reads all devices of the home at a steady pace; a device that hangs delays none of the others."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, tzinfo
from typing import Protocol

from agent.devices.balance import DevicePart, check_home, combine
from agent.devices.errors import DeviceError
from agent.devices.health import DeviceHealth, NoticeSink, Said
from agent.devices.reading import DeviceSample, HomeReading
from agent.devices.schema import Profile
from coordinator.clock import Clock

log = logging.getLogger(__name__)

_WAIT_SHARE = 0.6
"""Share of the interval that a reading waits for slow devices; after that it is made of what is there."""


class Polled(Protocol):
    """A device that can be polled, here or in the guard's process."""

    @property
    def name(self) -> str: ...
    @property
    def profile(self) -> Profile: ...
    @property
    def latest(self) -> DeviceSample | None: ...
    async def poll(self) -> DeviceSample: ...


class Poller:
    """Polls every device each interval and hands on the home's reading.

    Polls start at the same moment for all devices, so that their powers belong together. Intervals and ages are wall
    seconds, whatever the speed of the slots.

    Args:
        devices: All devices of the home, exactly one of them the meter.
        on_reading: Gets one reading per interval, also when devices are away.
        on_notice: Gets each change of a device's state, once.
        zone: The owner's time zone, for times in notices.

    Raises:
        ConfigError: If the devices do not make up one home.
    """

    def __init__(
        self,
        devices: Sequence[Polled],
        clock: Clock,
        *,
        interval_s: float,
        stale_after_s: float,
        on_reading: Callable[[HomeReading], None],
        on_notice: NoticeSink,
        zone: tzinfo = UTC,
    ) -> None:
        check_home([(device.name, device.profile.provides) for device in devices])
        self.latest: HomeReading | None = None
        self._devices = tuple(devices)
        self._provides = {device.name: device.profile.provides for device in devices}
        self._clock = clock
        self._interval_s = interval_s
        self._stale_after_s = stale_after_s
        self._on_reading = on_reading
        self._on_notice = on_notice
        self._health = {device.name: DeviceHealth(device.name, zone) for device in devices}
        self._running: dict[str, asyncio.Task[None]] = {}

    @property
    def failing(self) -> dict[str, str]:
        """What is wrong with which device now, in words by name."""
        return {name: health.trouble for name, health in self._health.items() if health.trouble}

    @property
    def troubles(self) -> list[str]:
        """The same in one text each."""
        return [f"{name}: {why}" for name, why in self.failing.items()]

    async def run(self) -> None:
        """Poll until cancelled."""
        due_s = self._clock.monotonic()
        try:
            while True:
                await self._round()
                # Late rounds are dropped, not made up for: nobody needs two readings of one moment.
                due_s = max(due_s + self._interval_s, self._clock.monotonic())
                await asyncio.sleep(due_s - self._clock.monotonic())
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _round(self) -> None:
        for device in self._devices:
            task = self._running.get(device.name)
            if task is None or task.done():
                self._running[device.name] = asyncio.create_task(self._poll(device), name=f"poll {device.name}")
        await asyncio.wait(self._running.values(), timeout=_WAIT_SHARE * self._interval_s)
        parts = [
            DevicePart(name=device.name, provides=self._provides[device.name], sample=device.latest)
            for device in self._devices
        ]
        self.latest = combine(
            parts, now=self._clock.now(), monotonic_s=self._clock.monotonic(), stale_after_s=self._stale_after_s
        )
        self._on_reading(self.latest)

    async def _poll(self, device: Polled) -> None:
        health = self._health[device.name]
        try:
            sample = await device.poll()
        except DeviceError as error:
            self._tell(health.failed(str(error), self._clock.now()))
        except Exception:
            # A bug in the reading of one device must not end the reading of the others; it is told and logged whole.
            log.exception("%s: the poll failed", device.name)
            why = "cannot be read because of a fault in this program (see the log)"
            self._tell(health.failed(why, self._clock.now()))
        else:
            self._tell(health.answered(sample.at))
            self._tell(health.judged(sample.doubtful))

    def _tell(self, said: Said | None) -> None:
        if said is not None:
            self._on_notice(*said)
