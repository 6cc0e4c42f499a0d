"""Performs what commissioning asks for: the home's devices, its battery, and a way to talk to the owner."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, assert_never

from agent.commission import Outcome, Plan, Times, walk
from agent.commission_judge import Facts
from agent.commission_talk import Ask, Command, Compare, LetGo, Look, Prepare, Reply, Request, Standing, Talk, Tell
from agent.config import HomeConfig
from agent.devices.balance import DevicePart, check_home, combine
from agent.devices.battery import Battery
from agent.devices.commissioning import AgreedEnvelope, CommissioningError, make_record, record_path, write_record
from agent.devices.device import Device
from agent.devices.errors import DeviceError
from agent.devices.opening import LinkPool, open_device
from agent.devices.profile import load_profile
from agent.devices.proof import in_words
from agent.devices.reading import HomeReading
from agent.guard_setup import owner_envelope
from agent.guard_state import FileBrakes, open_budget
from coordinator.clock import Clock
from coordinator.errors import ConfigError
from coordinator.identity import Identity

FOLLOW_SUN_S = 5.0
"""How often a setpoint that includes the sun's power is written anew."""
RELEASES = 3
"""Tries to hand the battery back before its own timer has to."""


class Owner(Protocol):
    """Whoever answers."""

    async def ask(self, question: Ask) -> str:
        """Return one of the question's answers."""
        ...

    def tell(self, text: str) -> None: ...

    def watch(self, look: Look) -> None:
        """Show that something is being watched; called once per reading."""
        ...


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


async def commission(rig: Rig, owner: Owner, identity: Identity, times: Times) -> Path:
    """Walk the owner through it and write the signed record; whatever happens, the battery is handed back.

    Raises:
        CommissioningError: Something is wrong; names cause and cure.
    """
    try:
        says = await rig.device.read_identity()
        plan = _plan(rig, times, reverts=await rig.reverts())
    except DeviceError as error:
        raise CommissioningError(
            f"{error}. `commonwatt check` looks at every device and says what to correct"
        ) from None
    outcome = await _conduct(walk(plan), rig, owner)
    record = make_record(
        identity,
        rig.device.profile,
        says,
        rig.device.where,
        reversion_s=outcome.reversion_s,
        envelope=plan.envelope,
        steps=outcome.steps,
    )
    path = record_path(rig.config.home.data_dir, rig.device.name)
    write_record(path, record, identity)
    return path


def _plan(rig: Rig, times: Times, *, reverts: bool) -> Plan:
    limits = owner_envelope(rig.config)
    assert limits is not None
    meter = next(device for device in rig.devices if "grid_w" in device.profile.provides)
    refresh_s = min(rig.battery.refresh_s, rig.reversion_s / 3)
    return Plan(
        meter=_facts(meter),
        battery=_facts(rig.device),
        envelope=AgreedEnvelope(
            charge_w=round(limits.charge_w),
            discharge_w=round(limits.discharge_w),
            reserve_pct=limits.reserve_pct,
            max_pct=limits.max_pct,
        ),
        reversion_s=rig.reversion_s if reverts else None,
        refresh_s=min(refresh_s, FOLLOW_SUN_S) if rig.battery.includes_pv else refresh_s,
        sun=any("pv_w" in device.profile.provides for device in rig.devices),
        times=times,
    )


def _facts(device: Device) -> Facts:
    questions = {name: choice.ask for name, choice in device.profile.parameters.items()}
    return Facts(name=device.name, profile=device.profile.profile, questions=questions)


async def _conduct(steps: Talk[Outcome], rig: Rig, owner: Owner) -> Outcome:
    touched, reply = False, None
    try:
        while True:
            try:
                request = steps.send(reply)
            except StopIteration as end:
                outcome: Outcome = end.value
                return outcome
            # From the first request that may write on, whether or not it comes back.
            touched |= isinstance(request, Prepare | Command)
            reply = await _perform(request, rig, owner)
    finally:
        steps.close()
        if touched:
            await _let_go(rig, owner)


async def _perform(request: Request, rig: Rig, owner: Owner) -> Reply:
    try:
        match request:
            case Ask():
                return await owner.ask(request)
            case Tell(text=text):
                owner.tell(text)
                return None
            case Look():
                owner.watch(request)
                return await rig.read()
            case Prepare():
                return await rig.battery.prepare(rig.reversion_s)
            case Command(battery_w=battery_w):
                return await rig.command(battery_w)
            case Compare():
                return await rig.compare()
            case LetGo():
                return await rig.battery.release()
            case _:
                assert_never(request)
    except DeviceError as error:
        raise CommissioningError(f"{error}; run this again when the device answers") from None


async def _let_go(rig: Rig, owner: Owner) -> None:
    """Hand the battery back; harmless when it is back already."""
    why: str | None = None
    for _ in range(RELEASES):
        try:
            why = await rig.battery.release()
        except DeviceError as error:
            why = str(error)
        if why is None:
            owner.tell("The battery is on its own.")
            return
    bound = f"its own timer ends that within {rig.reversion_s} s" if rig.battery.reverts else "nothing ends that"
    owner.tell(f"THE BATTERY COULD NOT BE HANDED BACK: {why}. {bound}; look at the inverter.")
