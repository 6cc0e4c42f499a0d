"""Thirty homes with their own steering and guards, all of them wanting the same at once: does their street step?"""

import asyncio
import random
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from guard_parts import MemoryBrakes, permitted
from test_steering import BATTERY, READING, RULES, SLOT, config

from agent.control.guard import Guard
from agent.devices.reading import DeviceSample
from agent.guard_setup import grid_watch, owner_envelope
from agent.steering import Aim, Steering
from coordinator.clock import ManualClock
from coordinator.slots import Slot

HOMES = [SimpleNamespace(name=f"home-{number}") for number in range(30)]
RATING_W = 3000.0
STREET_W = len(HOMES) * RATING_W
LOAD_W = 1000.0
REST = Aim(net_wh=LOAD_W / 4, traded_wh=0.0, battery_w=0.0, reach_w=(0.0, 0.0))
GIVE = Aim(net_wh=(LOAD_W - RATING_W) / 4, traded_wh=-500.0, battery_w=RATING_W, reach_w=(RATING_W, RATING_W))
AT_ONCE = {"jitter_s": 0.0, "return_s": 0.0}
UP_S = 3600.0


class Obedient:
    """A battery without inertia, the worst a street can see. Implements `agent.control.ports.BatteryPort`."""

    name, generation, includes_pv, reverts, spent, pace_s = "battery", 1, False, True, None, 0.0
    reversion_max_s, refresh_s, effect_after_s, effect_abs_w, effect_rel, look_s = 60, 20, 10.0, 200.0, 0.3, 10.0

    def __init__(self, clock: ManualClock) -> None:
        self.power_w = 0.0
        self._clock = clock

    @property
    def latest(self) -> DeviceSample:
        values = {"battery_w": self.power_w, "soc_pct": 50.0}
        return DeviceSample(name="it", at=self._clock.now(), monotonic_s=self._clock.monotonic(), values=values)

    async def prepare(self, reversion_s: int) -> str | None:
        return None

    async def command(self, battery_w: float, pv_w: float, reversion_s: int, not_after_s: float) -> str | None:
        self.power_w = battery_w
        return None

    async def overwritten(self) -> str | None:
        return None

    async def release(self) -> str | None:
        self.power_w = 0.0
        return None

    def close(self) -> None:
        """Nothing outlives it."""


class Street:
    """Homes whose processes have all just started.

    Args:
        into_slot_s: When, after the beginning of the slot.
        up_s: How long their machines have run.
    """

    def __init__(self, into_slot_s: float, up_s: float, **control: Any) -> None:
        random.seed(1)
        self.clock = ManualClock(SLOT.start_at + timedelta(seconds=into_slot_s - up_s))
        self.clock.advance(timedelta(seconds=up_s))
        self.homes = [self._home(member.name, {"enabled": True, **control}) for member in HOMES]

    def _home(self, name: str, control: dict[str, Any]) -> tuple[Obedient, Guard, Steering]:
        settings = config(home={"name": name}, battery=BATTERY, control=control)
        envelope, battery = owner_envelope(settings), Obedient(self.clock)
        assert envelope is not None
        guard = Guard(
            battery, envelope, self.clock, settings.control, lambda level, text: None,
            permit=permitted, brakes=MemoryBrakes(), grid=grid_watch(settings),
        )  # fmt: skip
        charter: Any = SimpleNamespace(rules=RULES, homes=HOMES)
        return battery, guard, Steering(settings, guard, self.clock, charter)

    def powers_w(self, seconds: int, aim: Aim) -> list[float]:
        """Let all homes want the same for some seconds; return the power of the street's batteries in each of them."""

        async def run() -> list[float]:
            return [await self._second(aim) for _ in range(seconds)]

        return asyncio.run(run())

    async def _second(self, aim: Aim) -> float:
        """Let every other home look: each polls every two seconds."""
        now = self.clock.now()
        slot = Slot.at(now, RULES.slot_s)
        so_far_wh = aim.net_wh * (now - slot.start_at).total_seconds() / slot.length_s
        for battery, guard, steering in self.homes[now.second % 2 :: 2]:
            reading = replace(READING, at=now, grid_w=LOAD_W - battery.power_w, battery_w=battery.power_w)
            steering.steer(reading, now=now, slot=slot, aim=aim, so_far=(so_far_wh, 0.0))
            await guard.step()
        self.clock.advance(timedelta(seconds=1))
        return sum(battery.power_w for battery, _, _ in self.homes)


def largest_step(powers_w: list[float]) -> float:
    """Return the largest change within a second, as a share of the street's rating."""
    return max(abs(b - a) for a, b in zip([0.0, *powers_w], powers_w, strict=False)) / STREET_W


def new_slot(seconds: int, **control: Any) -> list[float]:
    """A street that rests, and wants all of its power from the stroke of the quarter hour on."""
    street = Street(-10, UP_S, **control)
    return street.powers_w(10, REST) + street.powers_w(seconds, GIVE)


def common_restart(seconds: int, **control: Any) -> list[float]:
    """Everybody starts anew at that stroke: another charter holds, or all took the same update."""
    return Street(0, UP_S, **control).powers_w(seconds, GIVE)


def power_cut(seconds: int, **control: Any) -> list[float]:
    """The whole street is without power, and all machines start in the same second, in the middle of a slot."""
    return Street(200, 0, **control).powers_w(seconds, GIVE)


@pytest.mark.parametrize(("event", "seconds"), [(new_slot, 90), (common_restart, 90), (power_cut, 630)])
def test_s4_thirty_homes_that_want_the_same_at_once_take_no_step(event: Any, seconds: int) -> None:
    powers_w = event(seconds)
    assert largest_step(powers_w) <= 0.1
    assert powers_w[-1] == pytest.approx(STREET_W, rel=0.02), "and all of them get there"
    if event is power_cut:
        quarters = [powers_w[second] / STREET_W for second in (10, 150, 300, 450)]
        assert quarters == pytest.approx([0, 0.25, 0.5, 0.75], abs=0.2), "over ten minutes"


@pytest.mark.parametrize("event", [new_slot, common_restart, power_cut])
def test_s4_without_their_waits_they_would(event: Any) -> None:
    assert largest_step(event(30, **AT_ONCE)) > 0.1
