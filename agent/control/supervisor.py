"""When the guard writes what, and when it lets go. Pure: it takes `now_s`, and the guard carries out its actions."""

import math

from agent.control.effect import EffectCheck
from agent.control.envelope import Envelope, Gate
from agent.control.external import ExternalLimit
from agent.control.grid import OUTAGE_S, GridWatch
from agent.control.orders import Action, Command, Keep, Lease, LetGo, Traits
from agent.control.ports import Sample
from agent.control.priorities import WORDS, Band, Party, decide
from agent.control.settings import ControlSettings

HOLD_SHARE = 1 / 3
"""From this share of the age at which a reading is stale, the battery's power only shrinks (safety case, S8)."""
SURE_SHARE = 2 / 3
"""Up to this share of the reversion time no timer has run out: refreshes come at a third of it."""
OVERWRITTEN_S = 600.0
"""Who writes to our device a second time within this is no accident, and we start no war."""
LEAST_STEP_S = 1.0
"""The ramp's first step is as large as one of so many seconds, where setpoints may follow each other faster."""


class Supervisor:
    """The guard's mind for one battery.

    Args:
        grid: Watches the grid connection; without it, nothing of it is known.

    Attributes:
        gate: Which directions the battery's charge leaves open.
        latched: Why control was given up until a person resets it; None while it was not.
        stopped: Why a person stopped control; None while nobody did.
        spent: Why no command may be written any more today; None while they may.
        pace_s: Least time between two setpoints that what may be written today bears.
        external: The network operator's limit.
        target_w: Battery power in force, None while released.
        reason: Why the battery does what it does, in words.
        released: Whether the device is known to be on its own.
    """

    def __init__(
        self, settings: ControlSettings, envelope: Envelope, traits: Traits, grid: GridWatch | None = None
    ) -> None:
        self.gate = Gate()
        self.latched: str | None = None
        self.stopped: str | None = None
        self.spent: str | None = None
        self.pace_s = 0.0
        self.external = ExternalLimit(settings.external)
        self.grid = grid or GridWatch()
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
        self._asked: tuple[float, Command] | None = None
        self._let_go_at_s, self._let_go_wait_s = -math.inf, 0.0
        self._sample: Sample | None = None
        self._effect = EffectCheck(traits.tolerance)
        self._misses = self._refusals = 0
        self._overwritten_s = -math.inf

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
        if self._sample is not None and sample.monotonic_s - self._sample.monotonic_s > OUTAGE_S:
            self.grid.outage(sample.monotonic_s)
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

    def in_force(self, now_s: float) -> bool:
        """Return whether the last command must still be in force, whatever the device's timer does.

        After a pause of our own it may have ended by itself, and that is no foreign hand.
        """
        return self._last is not None and now_s - self._last[0] < SURE_SHARE * self._traits.reversion_s

    def overwritten(self, now_s: float, what: str) -> str | None:
        """Note that somebody else wrote to the device; return what when it was not the first time lately, once."""
        self.lost()
        again, self._overwritten_s = now_s - self._overwritten_s < OVERWRITTEN_S, now_s
        return self._give_up(what) if again else None

    def next(self, now_s: float) -> Action:
        """Return what to do now."""
        why_not = self._why_not(now_s)
        if why_not is not None or self._lease is None or self._sample is None:
            self.reason, self.target_w = why_not or self._withdrawn, None
            return Keep() if self.released or now_s < self._let_go_at_s else LetGo(reason=self.reason)
        battery_w, soc_pct, pv_w = self._known(self._sample)
        self.gate = self._envelope.gate(soc_pct, self.gate)
        wish_w = self._envelope.clamp(self._lease.target_w, self.gate)
        wish_w = self._ramped(now_s, self._faded(now_s, wish_w, self._sample), battery_w or 0.0)
        decided = decide(self._bands(now_s, self._sample) | {self._lease.party: Band(wish_w, wish_w)})
        held = "" if decided.held_by is None else f", held back by {WORDS[decided.held_by]}"
        self.reason = self._lease.reason + held
        until_s = min(self._lease.until_s, self._sample.monotonic_s + self._settings.stale_after_s)
        command = Command(battery_w=decided.power_w, pv_w=pv_w or 0.0, reason=self.reason, until_s=until_s)
        if not self._due(now_s, command):
            return Keep()
        self._asked = now_s, command
        return command

    def commanded(self, now_s: float, command: Command) -> None:
        """Note that the device took a command."""
        self._refusals = 0
        self._last = self._asked = now_s, command
        self.target_w = command.battery_w
        self._effect.commanded(now_s, command.battery_w + (command.pv_w if self._traits.includes_pv else 0.0))

    def let_go(self) -> None:
        """Note that the device is on its own."""
        self.released = self._begun = True
        self._let_go_at_s, self._let_go_wait_s = -math.inf, 0.0
        self.lost()

    def not_let_go(self, now_s: float) -> None:
        """Note that the release failed. Each further one waits twice as long, at most for the device's own timer."""
        self._let_go_wait_s = min(max(2 * self._let_go_wait_s, LEAST_STEP_S), self._traits.reversion_s)
        self._let_go_at_s = now_s + self._let_go_wait_s

    def lost(self) -> None:
        """Note that it is unknown what the device does: the next command is due as soon as one may be written."""
        self._last = self.target_w = None
        self._effect.clear()

    def touched(self) -> None:
        """Note that a write is about to leave: from now on only a release makes the battery free."""
        self.released = False
        self._let_go_at_s, self._let_go_wait_s = -math.inf, 0.0

    def _give_up(self, why: str) -> str | None:
        if self.latched is not None:
            return None
        self.latched = why
        return why

    def _bands(self, now_s: float, sample: Sample) -> dict[Party, Band]:
        """Return what everybody but the plan says. All of them allow the battery to rest."""
        charge_w, discharge_w = sample.values.get("charge_max_w"), sample.values.get("discharge_max_w")
        bands = {
            Party.BATTERY: Band(
                -math.inf if charge_w is None else -max(charge_w, 0.0),
                math.inf if discharge_w is None else max(discharge_w, 0.0),
            ),
            Party.GRID: self.grid.band(now_s),
            Party.OWNER: self._envelope.band(self.gate),
        }
        external = self.external.band(now_s)
        return bands if external is None else bands | {Party.EXTERNAL: external}

    def _faded(self, now_s: float, wish_w: float, sample: Sample) -> float:
        """Return the wish as far as the reading is fresh enough for it: first it may not grow, then it shrinks."""
        stale_s = self._settings.stale_after_s
        hold_s, age_s = HOLD_SHARE * stale_s, now_s - sample.monotonic_s
        if age_s <= hold_s or self._asked is None:
            return wish_w
        # What was asked for last bounds it also while it is in doubt whether the battery does that.
        last_w = self._asked[1].battery_w
        most_w = abs(last_w) if last_w * wish_w > 0 else 0.0
        left = (stale_s - age_s) / (stale_s - hold_s)
        return math.copysign(min(abs(wish_w) * left, most_w), wish_w)

    def _ramped(self, now_s: float, wish_w: float, battery_w: float) -> float:
        """Return the wish as far as the battery may get by now: it grows slowly, and shrinks at once."""
        at_s, last_w = (-math.inf, battery_w) if self._last is None else (self._last[0], self._last[1].battery_w)
        # However long ago the last step was, the next one is no larger than that between two setpoints.
        passed_s = min(now_s - at_s, max(self._settings.min_write_s, LEAST_STEP_S))
        rating_w = max(self._envelope.charge_w, self._envelope.discharge_w)
        step_w = self._settings.ramp_pct_per_s / 100 * rating_w * passed_s
        return min(max(wish_w, min(last_w, 0.0) - step_w), max(last_w, 0.0) + step_w)

    def _known(self, sample: Sample) -> tuple[float | None, float | None, float | None]:
        def sure(name: str) -> float | None:
            return None if name in sample.doubtful else sample.values.get(name)

        pv_w = sure("pv_w") if self._traits.includes_pv else 0.0
        plausible = pv_w is not None and pv_w <= self._traits.pv_max_w
        return sure("battery_w"), sure("soc_pct"), pv_w if plausible else None

    def _why_not(self, now_s: float) -> str | None:
        given_up = None if self.latched is None else f"control was given up: {self.latched}"
        if (ended := self.stopped or given_up or self.spent) is not None:
            return ended
        if not self._begun:
            # Whatever was commanded before this start, by whom ever, ends before anything new begins.
            return "control begins with a release"
        if self._lease is None:
            return self._withdrawn
        if now_s >= self._lease.until_s:
            return "no fresh wish from the plan"
        if not math.isfinite(self._lease.target_w):
            return "the plan's wish is no number"
        age_s = math.inf if self._sample is None else now_s - self._sample.monotonic_s
        if self._sample is None or age_s > self._settings.stale_after_s:
            return "no fresh reading of the battery"
        if self.released and age_s > HOLD_SHARE * self._settings.stale_after_s:
            return "no reading fresh enough to begin with"
        if None in self._known(self._sample):
            return "the battery's power, charge or sun is unknown"
        return self.grid.trouble(now_s)

    def _due(self, now_s: float, command: Command) -> bool:
        if self._asked is None:
            return True
        # Whatever became of the last command, its registers were written: a doubt is no reason for haste.
        at_s, last = self._asked
        stops = command.battery_w == 0.0 and last.battery_w != 0.0
        if stops or now_s - at_s >= self._traits.refresh_s:
            return True
        if now_s - at_s < max(self._settings.min_write_s, self.pace_s):
            return False
        if self._last is None:
            return True
        moved_w = abs(command.battery_w - last.battery_w)
        if self._traits.includes_pv:
            moved_w = max(moved_w, abs(command.battery_w + command.pv_w - last.battery_w - last.pv_w))
        return moved_w >= self._settings.deadband_w
