"""A device of any profile with a fault of the catalogue, and the agent's own reading of it, in one process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from guard_parts import MemoryBrakes, permitted

from agent.control.envelope import Envelope
from agent.control.guard import Guard
from agent.control.settings import ControlSettings
from agent.devices.address import Line
from agent.devices.balance import DevicePart, combine
from agent.devices.battery import Battery
from agent.devices.device import Device
from agent.devices.errors import DeviceError
from agent.devices.link import ModbusLink
from agent.devices.link_limits import LinkLimits
from agent.devices.profile import load_profile, read_profile
from agent.devices.reading import HomeReading
from agent.simulator.exhibit import NO_FAULT, Exhibit, ExhibitSettings, Wire
from agent.simulator.faults import FAULTS
from coordinator.clock import Clock, ManualClock, WallClock

TIMEOUT_S = 0.2
"""Where a test waits for silence; elsewhere the timeout is long, so that a slow machine changes nothing."""
PATIENT = LinkLimits(timeout_s=5.0)
NOON = datetime(2024, 6, 12, 10, tzinfo=UTC)
LIVE = ControlSettings(enabled=True)


@dataclass
class Bench:
    """The simulated device and ours. The fault is off until `misbehave`."""

    exhibit: Exhibit
    device: Device
    clock: Clock

    @property
    def link(self) -> ModbusLink:
        return self.device.link

    def misbehave(self, on: bool = True) -> None:
        self.exhibit.misbehave(on)

    async def fails(self) -> DeviceError:
        """Poll once; return how it failed."""
        try:
            await self.device.poll()
        except DeviceError as error:
            return error
        raise AssertionError("the poll did not fail")

    async def polls(self, times: int) -> tuple[int, int]:
        """Poll so often; return how many polls were good and how many failed."""
        failed = 0
        for _ in range(times):
            try:
                await self.device.poll()
            except DeviceError:
                failed += 1
        return times - failed, failed

    async def recovers(self, within_s: float = 4.0) -> None:
        """Poll until one is good."""
        async with asyncio.timeout(within_s):
            while (await self.polls(1))[1]:
                await asyncio.sleep(0.02)

    def home(self, later_s: float = 0.0, stale_after_s: float = 5.0) -> HomeReading:
        """Return the home's reading made of this device alone."""
        part = DevicePart(name="it", provides=self.device.profile.provides, sample=self.device.latest)
        now_s = self.clock.monotonic() + later_s
        return combine([part], now=NOON, monotonic_s=now_s, stale_after_s=stale_after_s)


@asynccontextmanager
async def bench(
    fault: str | None,
    profile: str = "sungrow_sh",
    *,
    wire: Wire = "tcp",
    limits: LinkLimits | None = None,
    line: Line | None = None,
    knobs: Mapping[str, Any] | None = None,
    values: Callable[[], Mapping[str, float]] | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Bench]:
    """Serve a device with a fault, and open it.

    Args:
        knobs: Changes of the fault's line, to make it quicker than the field is.
        values: What the device shows.
    """
    clock = clock or WallClock()
    chosen = FAULTS[fault] if fault else NO_FAULT
    chosen = replace(chosen, line=replace(chosen.line, **(knobs or {})))
    exhibit = Exhibit(ExhibitSettings(profile=read_profile(profile), fault=chosen, wire=wire), clock, values)
    exhibit.misbehave(False)
    await exhibit.start()
    link = ModbusLink(exhibit.url, clock, limits or PATIENT, line)
    device = Device("it", load_profile(profile), link, clock)
    try:
        yield Bench(exhibit, device, clock)
    finally:
        await link.close()
        await exhibit.stop()


@dataclass
class Controlled(Bench):
    """A hybrid inverter with a fault, commanded by a guard that is stepped by hand on a clock moved by hand."""

    notices: list[str] = field(default_factory=list)
    guard: Guard = field(init=False)
    brakes: MemoryBrakes = field(default_factory=MemoryBrakes)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Let the guard die without a word, and another one begin."""
        limits = Envelope(charge_w=4000, discharge_w=4000, reserve_pct=10, max_pct=95)
        self.guard = Guard(
            Battery(self.device),
            limits,
            self.clock,
            LIVE,
            lambda level, text: self.notices.append(text),
            permit=permitted,
            brakes=self.brakes,
        )

    @property
    def battery_w(self) -> float:
        """What the battery really does."""
        return self.exhibit.live.sync().battery_w

    async def live(self, seconds: int, target_w: float | None = None) -> None:
        """Let time pass in steps of a second; with a target, a lease is given each second."""
        assert isinstance(self.clock, ManualClock)
        for _ in range(seconds):
            self.clock.advance(timedelta(seconds=1))
            await self.device.poll()
            if target_w is not None:
                self.guard.lease(target_w, "as planned")
            await self.guard.step()

    @property
    def given_up(self) -> str | None:
        """Why control was given up."""
        return next((text for text in self.notices if "control was given up" in text), None)


def controlled(
    fault: str, check: Callable[[Controlled], Awaitable[None]], target_w: float | None = None, *, after_s: int = 25
) -> None:
    """Run `check` on a guard that follows `target_w` when the fault begins."""

    async def main() -> None:
        clock = ManualClock(NOON)
        async with bench(fault, "sunspec_hybrid", clock=clock) as plain:
            it = Controlled(plain.exhibit, plain.device, clock)
            await it.device.poll()
            await it.live(after_s if target_w is not None else 1, target_w)
            it.misbehave()
            await check(it)

    asyncio.run(main())
