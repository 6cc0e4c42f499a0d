"""The devices of a home, opened to be commissioned: read together, commanded one at a time, and compared with it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from agent.commission_talk import Standing
from agent.config import HomeConfig
from agent.devices.balance import DevicePart, check_home, combine
from agent.devices.battery import Battery
from agent.devices.device import Device
from agent.devices.errors import DeviceError
from agent.devices.opening import LinkPool, open_device
from agent.devices.profile import load_profile
from agent.devices.proof import in_words
from agent.devices.reading import HomeReading
from agent.guard_state import FileBrakes, open_budget
from coordinator.clock import Clock
from coordinator.errors import ConfigError


@dataclass(slots=True, kw_only=True)
class Rig:
    """The devices of a home, opened to be commissioned.

    Attributes:
        nap: Lets time pass between two readings.
        told_w: The power that was last written, of the battery or of battery and sun together, as the device wants it.
    """

    config: HomeConfig
    devices: Sequence[Device]
    device: Device
    battery: Battery
    clock: Clock
    nap: Callable[[float], Awaitable[None]]
    told_w: float = 0.0

    @property
    def reversion_s(self) -> int:
        return min(self.config.control.reversion_s, self.battery.reversion_max_s)

    async def reverts(self) -> bool:
        """Return whether a timer is to be proven; without one in the device, only the owner's unlock lets it go on."""
        control = self.device.profile.control
        timer = control.battery_w.timer if control is not None else None
        shown = (await self.device.read_points([timer]))[timer] if timer is not None else None
        return shown is not None or self.config.devices[self.device.name].unlock_no_reversion is None

    async def read(self) -> HomeReading:
        """Return the home after the next interval."""
        await self.nap(self.config.poll.interval_s)
        polled = await asyncio.gather(*(device.poll() for device in self.devices), return_exceptions=True)
        for failed in polled:
            if isinstance(failed, BaseException) and not isinstance(failed, DeviceError):
                raise failed
        parts = [
            DevicePart(name=each.name, provides=each.profile.provides, sample=each.latest) for each in self.devices
        ]
        stale_s = self.config.poll.stale_after_s
        return combine(parts, now=self.clock.now(), monotonic_s=self.clock.monotonic(), stale_after_s=stale_s)

    async def command(self, battery_w: float) -> str | None:
        sun_w = self._believed("pv_w") if self.battery.includes_pv else 0.0
        if sun_w is None:
            return f"{self.device.name} does not show the sun's power now, which its setpoint includes"
        self.told_w = battery_w + sun_w
        return await self.battery.command(battery_w, sun_w, self.reversion_s)

    async def compare(self) -> Standing:
        """Return how the commanded device stands to its last command.

        Where that includes the sun, an inverter that cannot obey for a while (a cloud, a battery at its limit) looks
        like one whose timer has ended it, so its switch has to say so too.
        """
        with_sun = self.battery.includes_pv
        battery_w, sun_w = self._believed("battery_w"), self._believed("pv_w") if with_sun else 0.0
        off_w = 0.0 if battery_w is None or sun_w is None else abs(battery_w + sun_w - self.told_w)
        return Standing(off_w=off_w, still=await self._switched_on() if with_sun else None)

    async def _switched_on(self) -> str | None:
        """Return the switch that ends each command, with its value; None when it is off, or there is none."""
        assert self.device.profile.control is not None
        control = self.device.profile.control.battery_w
        switch = control.cycle[-1]
        off = next((step.value for step in control.release if step.write == switch.write), None)
        if not isinstance(switch.value, float) or not isinstance(off, float) or off == switch.value:
            return None
        shown = (await self.device.read_points([switch.write]))[switch.write]
        return None if shown == off else f"{switch.write} {in_words(shown)}"

    def _believed(self, name: str) -> float | None:
        """Return what the commanded device said of itself at the last look, if that is fresh and not in doubt."""
        sample = self.device.latest
        if sample is None or name in sample.doubtful:
            return None
        fresh = self.clock.monotonic() - sample.monotonic_s <= self.config.poll.stale_after_s
        return sample.values.get(name) if fresh else None


@contextlib.asynccontextmanager
async def open_rig(
    config: HomeConfig, clock: Clock, nap: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> AsyncIterator[Rig]:
    """Open the home's devices; nothing is written yet.

    Raises:
        ConfigError: If there is nothing to command, or it must not be.
    """
    pool = LinkPool(clock)
    devices = [open_device(name, settings, pool, clock) for name, settings in config.devices.items()]
    check_home([(device.name, device.profile.provides) for device in devices])
    brakes = FileBrakes(config.home.data_dir)
    if (stopped := brakes.stopped()) is not None:
        raise ConfigError(stopped)
    device = _commanded(config, devices)
    without_timer = config.devices[device.name].unlock_no_reversion is not None
    budget = open_budget(config.home.data_dir, device.name, device.profile, brakes)
    battery = Battery(device, budget, without_timer=without_timer)
    try:
        yield Rig(config=config, devices=devices, device=device, battery=battery, clock=clock, nap=nap)
    finally:
        battery.close()
        await pool.close()


def _commanded(config: HomeConfig, devices: Sequence[Device]) -> Device:
    if config.battery is None:
        raise ConfigError("there is no [battery] section: fill in its capacity, powers and limits first")
    device = next((device for device in devices if device.profile.control is not None), None)
    if device is not None:
        return device
    for name, settings in config.devices.items():
        profile = load_profile(settings.profile, settings.parameters)
        if profile.control is None:
            continue
        if profile.evidence == "desk" and not settings.unlock_control:
            raise ConfigError(
                f"nobody has tested the profile of {name} on hardware: to be the first, write unlock_control = true "
                f"under [devices.{name}], stay beside the device, and run this again"
            )
        raise ConfigError(
            f"{name} has no timer that ends our command when this computer or its link fails. Who accepts that writes "
            f"unlock_no_reversion under [devices.{name}], in so many words (docs/safety.md)"
        )
    raise ConfigError("no device here has a battery that can be commanded (docs/devices.md lists which can)")
