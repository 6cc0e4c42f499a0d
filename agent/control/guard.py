"""The only writer of setpoints. It carries out what the supervisor decides and tells the owner what became of it."""

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Literal, assert_never

from agent.control.brakes import SureBrakes
from agent.control.effect import Tolerance
from agent.control.envelope import Envelope, Gate
from agent.control.grid import Connection, GridWatch
from agent.control.orders import Command, Keep, Lease, LetGo, Traits
from agent.control.permission import Permission
from agent.control.ports import BatteryPort, Brakes, GuardStatus, NoticeSink, Permit
from agent.control.priorities import Party
from agent.control.pulse import Pulse
from agent.control.settings import ControlSettings
from agent.control.supervisor import Supervisor
from agent.control.telling import Doubt, SetpointNews
from coordinator.clock import Clock
from coordinator.errors import CommonwattError

log = logging.getLogger(__name__)


class Guard:
    """Commands one battery by leases, and releases it on every doubt.

    Without a permit for the device that answers it only looks: no write function code ever leaves. The device's own
    timer bounds what happens when this process dies.

    Args:
        battery: The battery; nobody else may command it.
        envelope: The owner's limits.
        on_notice: Gets what the owner must know: control given up, or in doubt.
        permit: Asked at the start and after each new connection.
        brakes: What must outlive this process.
        grid: Watches the grid connection.
        longest_s: After how many seconds at most the device's own timer ends a command; None takes what it is set to.
        pv_max_w: The most that the sun behind the same inverter can give.
        alive: Called every half second while the guard looks in time; a watchdog that hears nothing ends this process.
    """

    def __init__(
        self,
        battery: BatteryPort,
        envelope: Envelope,
        clock: Clock,
        settings: ControlSettings,
        on_notice: NoticeSink,
        *,
        permit: Permit,
        brakes: Brakes,
        grid: GridWatch | None = None,
        longest_s: int | None = None,
        pv_max_w: float = math.inf,
        alive: Callable[[], None] = lambda: None,
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
            pv_max_w=pv_max_w,
        )
        self._permission = Permission(battery, permit, enabled=settings.enabled)
        self._brakes = SureBrakes(brakes)
        self._pulse = Pulse(clock, alive, battery.look_s)
        self._mind = Supervisor(settings, envelope, traits, grid)
        self._news = SetpointNews()
        self._prepared: int | None = None
        self._wake = asyncio.Event()
        self._busy = asyncio.Lock()
        self._stopping = False
        self._doubt = Doubt(self._tell, longest_s or self._reversion_s)

    @property
    def name(self) -> str:
        """The commanded device's."""
        return self._battery.name

    @property
    def status(self) -> GuardStatus:
        """What the battery does for us now, and why."""
        if not self._permission.given:
            return GuardStatus(control="observe", target_w=None, reason=self._permission.why_not)
        following = self._mind.target_w is not None
        return GuardStatus(
            control="following" if following else "released",
            target_w=self._mind.target_w,
            reason=self._mind.reason if self._doubt.why is None else self._doubt.why,
            obeys=self._mind.stopped is None and self._mind.latched is None,
        )

    @property
    def gate(self) -> Gate:
        """Which directions the battery's charge leaves open."""
        return self._mind.gate

    @property
    def stopped(self) -> bool:
        """Whether a person stopped control and the battery is known to be on its own."""
        return self._brakes.stopped() is not None and (not self._permission.given or self._mind.released)

    def lease(self, target_w: float, reason: str, *, until_s: float = math.inf, party: Party = Party.PRICE) -> None:
        """Ask for a battery power, + discharges, until the lease ends: at `until_s`, or after the settings' `lease_s`.

        Without another lease the battery is released then.
        """
        until_s = min(until_s, self._clock.monotonic() + self._settings.lease_s)
        self._mind.grant(Lease(target_w=target_w, reason=reason, until_s=until_s, party=party))
        self._wake.set()

    def release(self, reason: str) -> None:
        """Leave the battery to its own self-consumption."""
        self._mind.withdraw(reason)
        self._wake.set()

    def limit(self, charge_w: float | None, discharge_w: float | None) -> bool:
        """Take the network operator's limit; return whether the owner lets anybody say so."""
        self._wake.set()
        return self._mind.external.told(self._clock.monotonic(), charge_w, discharge_w)

    def see(self, connection: Connection) -> None:
        """Take what is seen at the grid connection."""
        self._mind.grid.see(connection)

    def look(self) -> None:
        """Look at once, for example because a person stopped control."""
        self._wake.set()

    async def run(self) -> None:
        """Guard until `stop`. Begins and ends with a release."""
        beating = asyncio.create_task(self._pulse.run(), name="guard's pulse")
        try:
            while not self._stopping:
                self._wake.clear()
                await self.step()
                await self._nap()
        finally:
            try:
                if not self._mind.released:
                    await self._let_go("the guard stops")
            finally:
                beating.cancel()
                self._battery.close()

    async def stop(self) -> None:
        """End `run`, and release the battery."""
        self._stopping = True
        self._mind.withdraw("the guard stops")
        self._wake.set()
        await self._let_go("the guard stops")

    async def step(self) -> None:
        """Look once, and write what is due."""
        with self._pulse.looking():
            await self._look()

    async def _look(self) -> None:
        if not await self._may_write():
            return
        self._heed_brakes()
        self._heed_budget()
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

    async def _may_write(self) -> bool:
        """Return whether the device behind the present connection may be written to."""
        given, why_not = self._permission.given, self._permission.why_not
        try:
            if await self._permission.look(self._clock.monotonic()):
                return True
        except CommonwattError as error:
            self._in_doubt(f"the battery cannot be commanded: {error}")
            return False
        if self._permission.why_not != why_not:
            self._tell("warning", f"nothing is written to it: {self._permission.why_not}")
        if given:
            self._mind.reset()  # whatever was written went to another device
        return False

    def _heed_brakes(self) -> None:
        """Take over what a person said meanwhile."""
        stopped, given_up = self._brakes.stopped(), self._brakes.given_up()
        if stopped is not None and self._mind.stopped is None:
            self._tell("warning", stopped)
        self._mind.stopped = stopped
        if given_up is not None:
            self._mind.latch(given_up)
        elif self._mind.latched is not None:
            self._tell("info", "control may begin again")
            self._mind.reset()

    def _heed_budget(self) -> None:
        """Take over what may still be written today."""
        spent = self._battery.spent
        if spent is not None and self._mind.spent is None:
            self._tell("warning", f"{spent} until the day ends")
        elif spent is None and self._mind.spent is not None:
            self._tell("info", "its registers may be written again: a new day")
        self._mind.spent, self._mind.pace_s = spent, self._battery.pace_s

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
                if (changed := await self._changed()) is not None:
                    self._overwritten(changed)
                    return
                if not self._permission.holds:  # whoever answers since a moment ago is looked at first
                    return
                if self._prepared != self._battery.generation:
                    self._brakes.prove()  # where it cannot be kept that control was given up, it does not begin
                    refused = await self._battery.prepare(self._reversion_s)
                    if refused is not None:
                        self._give_up(refused)
                        return
                    self._prepared = self._battery.generation
                # A person's stop does not wait for the next look, nor does another connection.
                if self._brakes.stopped() is not None or not self._permission.holds:
                    return
                self._mind.touched()
                refused = await self._battery.command(
                    command.battery_w, command.pv_w, self._reversion_s, command.until_s
                )
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
        self._doubt.ends()

    async def _changed(self) -> str | None:
        """Return what somebody else has made of the last command; None also where our own pause may explain it."""
        if not self._mind.in_force(self._clock.monotonic()):
            return None
        changed = await self._battery.overwritten()
        return changed if self._mind.in_force(self._clock.monotonic()) else None

    def _overwritten(self, changed: str) -> None:
        if (why := self._mind.overwritten(self._clock.monotonic(), changed)) is not None:
            self._give_up(why)
        else:
            self._tell("warning", f"{changed}; the next time control is given up")

    async def _let_go(self, reason: str) -> None:
        if not self._permission.given:
            return
        async with self._busy:
            if not await self._may_write():
                return  # another device answers, or none: the timer of the one we commanded ends our command
            try:
                refused = await self._battery.release()
            except CommonwattError as error:
                refused = str(error)
        if refused is not None:
            # Tried again soon; until then the device's own timer is what ends our command.
            self._in_doubt(f"the battery cannot be released: {refused}")
            self._mind.not_let_go(self._clock.monotonic())
            return
        log.info("%s: released, %s", self._battery.name, reason)
        self._news.released()
        self._mind.let_go()
        self._doubt.ends()

    def _tell(self, level: Literal["info", "warning", "error"], text: str) -> None:
        self._on_notice(level, f"{self._battery.name}: {text}")

    def _give_up(self, why: str) -> None:
        self._mind.latch(why)
        unkept = self._brakes.give_up(why)
        text = f"control was given up until you reset it with `commonwatt stop --resume`: {why}"
        if unkept is not None:
            text += f". That is not on the disk yet, and holds while this guard runs: {unkept}"
        self._tell("error", text)

    def _in_doubt(self, why: str) -> None:
        self._mind.lost()
        self._prepared = None
        self._doubt.begins(why, reverts=self._battery.reverts)
