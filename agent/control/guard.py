"""The only writer of setpoints. It carries out what the supervisor decides and tells the owner what became of it."""

import asyncio
import logging
from dataclasses import dataclass
from typing import Literal, assert_never

from agent.control.effect import Tolerance
from agent.control.envelope import Envelope, Gate
from agent.control.ports import BatteryPort, NoticeSink
from agent.control.settings import ControlSettings
from agent.control.supervisor import Command, Keep, Lease, LetGo, Supervisor, Traits
from agent.control.telling import SetpointNews
from coordinator.clock import Clock
from coordinator.errors import CommonwattError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardStatus:
    """What the guard does now. `target_w` is the battery power in force, + discharges; None unless following."""

    control: Literal["observe", "following", "released"]
    target_w: float | None
    reason: str


class Guard:
    """Commands one battery by leases, and releases it on every doubt.

    Not commissioned, it only looks: no write function code ever leaves. The device's own timer bounds what happens
    when this process dies.

    Args:
        battery: The battery; nobody else may command it.
        envelope: The owner's limits.
        on_notice: Gets what the owner must know: control given up, or in doubt.
    """

    def __init__(
        self,
        battery: BatteryPort,
        envelope: Envelope,
        clock: Clock,
        settings: ControlSettings,
        on_notice: NoticeSink,
    ) -> None:
        self._battery = battery
        self._clock = clock
        self._settings = settings
        self._on_notice = on_notice
        self._reversion_s = min(settings.reversion_s, battery.reversion_max_s)
        traits = Traits(
            reversion_s=self._reversion_s,
            refresh_s=min(battery.refresh_s, self._reversion_s / 3),
            includes_pv=battery.includes_pv,
            tolerance=Tolerance(after_s=battery.effect_after_s, abs_w=battery.effect_abs_w, rel=battery.effect_rel),
        )
        self._mind = Supervisor(settings, envelope, traits)
        self._news = SetpointNews()
        self._prepared: int | None = None
        self._wake = asyncio.Event()
        self._busy = asyncio.Lock()
        self._stopping = False
        self._trouble: str | None = None

    @property
    def status(self) -> GuardStatus:
        """What the battery does for us now, and why."""
        if not self._settings.may_write:
            why = "control is not commissioned" if self._settings.enabled else "control is switched off"
            return GuardStatus(control="observe", target_w=None, reason=why)
        following = self._mind.target_w is not None
        return GuardStatus(
            control="following" if following else "released",
            target_w=self._mind.target_w,
            reason=self._mind.reason if self._trouble is None else self._trouble,
        )

    @property
    def gate(self) -> Gate:
        """Which directions the battery's charge leaves open."""
        return self._mind.gate

    def lease(self, target_w: float, reason: str, valid_for_s: float | None = None) -> None:
        """Ask for a battery power, + discharges, until the lease ends (default: the settings' `lease_s`).

        Without another lease the battery is released then.
        """
        lasts_s = self._settings.lease_s if valid_for_s is None else min(valid_for_s, self._settings.lease_s)
        self._mind.grant(Lease(target_w=target_w, reason=reason, until_s=self._clock.monotonic() + lasts_s))
        self._wake.set()

    def release(self, reason: str) -> None:
        """Leave the battery to its own self-consumption."""
        self._mind.withdraw(reason)
        self._wake.set()

    def reset(self) -> None:
        """Allow control again after it was given up; a person has looked."""
        self._mind.reset()
        self._wake.set()

    async def run(self) -> None:
        """Guard until `stop`. Begins and ends with a release."""
        try:
            while not self._stopping:
                self._wake.clear()
                await self.step()
                await self._nap()
        finally:
            if not self._mind.released:
                await self._let_go("the agent stops")

    async def stop(self) -> None:
        """End `run`, and release the battery."""
        self._stopping = True
        self._mind.withdraw("the agent stops")
        self._wake.set()
        await self._let_go("the agent stops")

    async def step(self) -> None:
        """Look once, and write what is due."""
        if not self._settings.may_write:
            return
        sample = self._battery.latest
        missed = self._mind.observe(sample) if sample is not None else None
        if missed is not None:
            self._give_up(missed)
        action = self._mind.next(self._clock.monotonic())
        match action:
            case Command():
                await self._command(action)
            case LetGo():
                await self._let_go(action.reason)
            case Keep():
                pass
            case _:
                assert_never(action)

    async def _nap(self) -> None:
        # Not wait_for: before Python 3.12 that loses a cancellation which comes together with the wake-up.
        try:
            async with asyncio.timeout(self._settings.tick_s):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _command(self, command: Command) -> None:
        async with self._busy:
            if self._stopping:
                return
            try:
                if self._prepared != self._battery.generation:
                    refused = await self._battery.prepare(self._reversion_s)
                    if refused is not None:
                        self._mind.latch(refused)
                        self._give_up(refused)
                        return
                    self._prepared = self._battery.generation
                self._mind.touched()
                refused = await self._battery.command(command.battery_w, command.pv_w, self._reversion_s)
            except CommonwattError as error:
                self._in_doubt(f"the battery cannot be commanded: {error}")
                return
        if refused is not None:
            if self._mind.refused(refused) is not None:
                self._give_up(refused)
            return
        now_s = self._clock.monotonic()
        level = logging.INFO if self._news.is_news(now_s, command.battery_w, command.reason) else logging.DEBUG
        log.log(level, "%s: %.0f W, %s", self._battery.name, command.battery_w, command.reason)
        self._mind.commanded(now_s, command)
        self._clear_doubt()

    async def _let_go(self, reason: str) -> None:
        if not self._settings.may_write:
            return
        async with self._busy:
            try:
                refused = await self._battery.release()
            except CommonwattError as error:
                refused = str(error)
        if refused is not None:
            # Tried again at the next step; until then the device's own timer is what ends our command.
            self._in_doubt(f"the battery cannot be released: {refused}")
            return
        log.info("%s: released, %s", self._battery.name, reason)
        self._news.released()
        self._mind.let_go()
        self._clear_doubt()

    def _give_up(self, why: str) -> None:
        self._on_notice("error", f"{self._battery.name}: control was given up until you reset it: {why}")

    def _in_doubt(self, why: str) -> None:
        self._mind.lost()
        self._prepared = None
        if self._trouble is None:
            how_long = f"its own timer releases it within {self._reversion_s} s"
            self._on_notice("warning", f"{self._battery.name}: {why}; {how_long}")
        self._trouble = why

    def _clear_doubt(self) -> None:
        if self._trouble is not None:
            self._trouble = None
            self._on_notice("info", f"{self._battery.name}: the battery can be commanded again")
