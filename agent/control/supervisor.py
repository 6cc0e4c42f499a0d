"""When the guard writes what, and when it lets go. Pure: it takes `now_s`, and the guard carries out its actions."""

import math
from dataclasses import dataclass

from agent.control.effect import EffectCheck, Tolerance
from agent.control.envelope import Envelope, Gate
from agent.control.ports import Sample
from agent.control.settings import ControlSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A wish of the agent's, which ends by itself."""

    target_w: float
    reason: str
    until_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What the guard must know of the device: timers and how its effect shows."""

    reversion_s: int
    refresh_s: float
    includes_pv: bool
    tolerance: Tolerance


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Write a setpoint now: `battery_w` + discharges, `pv_w` flows behind the same inverter."""

    battery_w: float
    pv_w: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LetGo:
    """Hand the battery back to the device now."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Write nothing now."""


Action = Command | LetGo | Keep


class Supervisor:
    """The guard's mind for one battery.

    Attributes:
        gate: Which directions the battery's charge leaves open.
        latched: Why control was given up until a person resets it; None while it was not.
        target_w: Battery power in force, None while released.
        reason: Why the battery does what it does, in words.
        released: Whether the device is known to be on its own.
    """

    def __init__(self, settings: ControlSettings, envelope: Envelope, traits: Traits) -> None:
        self.gate = Gate()
        self.latched: str | None = None
        self.target_w: float | None = None
        self.reason = "the agent has just started"
        self.released = False
        self._settings = settings
        self._envelope = envelope
        self._traits = traits
        self._lease: Lease | None = None
        self._withdrawn = self.reason
        self._begun = False
        self._last: tuple[float, Command] | None = None
        self._sample: Sample | None = None
        self._effect = EffectCheck(traits.tolerance)
        self._misses = self._refusals = 0

    def grant(self, lease: Lease) -> None:
        """Follow this wish until it ends."""
        self._lease = lease

    def withdraw(self, reason: str) -> None:
        """End the wish in force."""
        self._lease, self._withdrawn = None, reason

    def latch(self, reason: str) -> None:
        """Give up control until a person resets it."""
        self.latched = reason

    def reset(self) -> None:
        """A person has looked: control may begin anew, with a release first."""
        self.latched = None
        self._misses = self._refusals = 0
        self.released = self._begun = False

    def observe(self, sample: Sample) -> str | None:
        """Take a new sample of the device; return how the battery missed its target for too long, once."""
        if self._sample is not None and sample.monotonic_s <= self._sample.monotonic_s:
            return None
        self._sample = sample
        battery_w, soc_pct, pv_w = self._known(sample)
        if battery_w is None or soc_pct is None or pv_w is None:
            return None
        missed = self._effect.missed(sample.monotonic_s, battery_w, soc_pct, pv_w)
        self._misses = self._misses + 1 if missed else 0
        return self._give_up(missed) if missed and self._misses >= self._settings.misses else None

    def refused(self, why: str) -> str | None:
        """Note that the device did not take a command; return why when that was too often, once."""
        self.lost()
        self._refusals += 1
        return self._give_up(why) if self._refusals >= self._settings.misses else None

    def next(self, now_s: float) -> Action:
        """Return what to do now."""
        why_not = self._why_not(now_s)
        if why_not is not None or self._lease is None or self._sample is None:
            self.reason, self.target_w = why_not or self._withdrawn, None
            return Keep() if self.released else LetGo(reason=self.reason)
        _, soc_pct, pv_w = self._known(self._sample)
        self.gate = self._envelope.gate(soc_pct, self.gate)
        wanted_w = self._envelope.clamp(self._lease.target_w, self.gate)
        self.reason = self._lease.reason
        command = Command(battery_w=wanted_w, pv_w=pv_w or 0.0, reason=self._lease.reason)
        return command if self._due(now_s, command) else Keep()

    def commanded(self, now_s: float, command: Command) -> None:
        """Note that the device took a command."""
        self._refusals = 0
        self._last = (now_s, command)
        self.target_w = command.battery_w
        self._effect.commanded(now_s, command.battery_w + (command.pv_w if self._traits.includes_pv else 0.0))

    def let_go(self) -> None:
        """Note that the device is on its own."""
        self.released = self._begun = True
        self.lost()

    def lost(self) -> None:
        """Note that it is unknown what the device does: the next command is due at once."""
        self._last = self.target_w = None
        self._effect.clear()

    def touched(self) -> None:
        """Note that a write is about to leave: from now on only a release makes the battery free."""
        self.released = False

    def _give_up(self, why: str) -> str | None:
        if self.latched is not None:
            return None
        self.latched = why
        return why

    def _known(self, sample: Sample) -> tuple[float | None, float | None, float | None]:
        values = sample.values
        pv_w = values.get("pv_w") if self._traits.includes_pv else 0.0
        return values.get("battery_w"), values.get("soc_pct"), pv_w

    def _why_not(self, now_s: float) -> str | None:
        if self.latched is not None:
            return f"control was given up: {self.latched}"
        if not self._begun:
            # Whatever was commanded before this start, by whom ever, ends before anything new begins.
            return "control begins with a release"
        if self._lease is None:
            return self._withdrawn
        if now_s >= self._lease.until_s:
            return "no fresh wish from the plan"
        if not math.isfinite(self._lease.target_w):
            return "the plan's wish is no number"
        if self._sample is None or now_s - self._sample.monotonic_s > self._settings.stale_after_s:
            return "no fresh reading of the battery"
        if None in self._known(self._sample):
            return "the battery's power, charge or sun is unknown"
        return None

    def _due(self, now_s: float, command: Command) -> bool:
        if self._last is None:
            return True
        at_s, last = self._last
        stops = command.battery_w == 0.0 and last.battery_w != 0.0
        if stops or now_s - at_s >= self._traits.refresh_s:
            return True
        if now_s - at_s < self._settings.min_write_s:
            return False
        moved_w = abs(command.battery_w - last.battery_w)
        if self._traits.includes_pv:
            moved_w = max(moved_w, abs(command.battery_w + command.pv_w - last.battery_w - last.pv_w))
        return moved_w >= self._settings.deadband_w
