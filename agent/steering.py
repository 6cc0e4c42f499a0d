"""Steers the battery through the running slot: what the plan and the contracts want, given to the guard as leases."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from agent.config import HomeConfig
from agent.control.clock_watch import ClockWatch
from agent.control.controller import NOTHING_SHARED, Follow, Release, Shared, decide, time_left_s
from agent.control.headroom import ANYTHING, Room, Storage, room
from agent.control.ports import GuardPort, GuardStatus
from agent.control.priorities import Party
from agent.control.sharing import Sharing, Situation
from agent.control.smoothing import SHARE_OF_SLOT, NetLoad
from agent.devices.reading import HomeReading
from agent.guard_setup import owner_envelope
from coordinator.balancing import Numbers
from coordinator.charter import Charter, Rules
from coordinator.clock import Clock
from coordinator.slots import Slot

TELL_WALL_S = 0.05
"""Wall seconds between two of a home's deviations at least, for every home, however fast slots run: everybody checks
everybody's signature, and a fast demo of many homes would do little else."""
LIFE_TELLS = 4
"""On a fast clock a deviation holds as long as it takes to tell so many."""
LIFE_POLLS = 2
"""And as long as so many polls: a home looks, and tells, once in each, and a neighbour's polls lie anywhere between."""
JITTER_PART = 15
"""At the start of a slot homes change one after the other within this part of it at most."""
PAUSE_SLOTS, PAUSE_WALL_S = 2, 60.0
"""Plans still count on a battery that obeys and follows nothing for so long: after a start, or when readings failed, it
is on its own until a slot begins whose start the meter saw. On a fast clock devices are no faster than the wall's."""
NO_BATTERY = GuardStatus(control="observe", target_w=None, reason="no battery to command")


def without_guard(config: HomeConfig) -> GuardStatus:
    """Return what is said of a home where nothing is commanded."""
    if config.battery is None:
        return NO_BATTERY
    cause = "no device here takes commands" if config.control.enabled else "[control] enabled = false"
    return replace(NO_BATTERY, reason=f"the battery is only observed: {cause}")


def owner_storage(config: HomeConfig) -> Storage | None:
    if config.battery is None:
        return None
    battery = config.battery.battery()
    return Storage(
        capacity_wh=battery.capacity_wh,
        efficiency_charge=battery.efficiency_charge,
        efficiency_discharge=battery.efficiency_discharge,
    )


def owner_sharing(config: HomeConfig, rules: Rules, speed: float, homes: int) -> Sharing:
    """Return the home's side of shared balancing, in a community of so many homes."""
    tell_s = homes * TELL_WALL_S * speed
    envelope, limit_wh = owner_envelope(config), config.control.share_wh_per_day
    return Sharing(
        rules=rules,
        interval_s=max(rules.deviation_s, tell_s),
        life_s=max(rules.deviation_life_s, LIFE_TELLS * tell_s, LIFE_POLLS * config.poll.interval_s * speed),
        range_w=0.0 if envelope is None else envelope.charge_w + envelope.discharge_w,
        wear_limit_wh=float("inf") if limit_wh is None else limit_wh,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What the running slot should come to.

    Attributes:
        net_wh: Net energy wanted from the grid in the whole slot, plan and contracts together.
        traded_wh: The contracts in it, + bought.
        battery_w: The battery's power in the plan, + discharges.
        reach_w: The lowest and the highest power that pays where the slot comes out otherwise than planned.
    """

    net_wh: float
    traded_wh: float
    battery_w: float
    reach_w: tuple[float, float] = ANYTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """The home's powers, as read and smoothed."""

    net_load_w: float
    smooth_net_load_w: float
    grid_w: float
    smooth_grid_w: float


class Steering:
    """The battery of one home; a home without a guard has nothing to steer.

    Attributes:
        sharing: The home's side of shared balancing, also without a battery.
        takes_part: Whether charter and owner want it; else the home lives as if it had no neighbours.
        shared: What it comes to now; None where it takes no part.

    Args:
        guard: The battery's guard, here or in its own process.
        charter: The community's rules and members.
    """

    def __init__(self, config: HomeConfig, guard: GuardPort | None, clock: Clock, charter: Charter) -> None:
        rules = charter.rules
        self.guard = guard
        self.sharing = owner_sharing(config, rules, clock.speed, len(charter.homes))
        self.takes_part = rules.balances_together and config.control.share
        self.shared: Shared | None = NOTHING_SHARED if self.takes_part else None
        self._zone = config.home.zone
        self._storage = owner_storage(config)
        self._envelope = owner_envelope(config)
        self._deadband_w = config.control.deadband_w
        self._net_load = NetLoad(time_constant_s=SHARE_OF_SLOT * rules.slot_s)
        self._grid = NetLoad(time_constant_s=SHARE_OF_SLOT * rules.slot_s)
        self._last_target_w: float | None = None
        self._clock = clock
        # A simulated clock is meant to jump: it waits for all homes, and then runs at another pace.
        self._clock_watch = ClockWatch() if config.clock is None else None
        self._adrift_until: datetime | None = None
        self._jitter_s = min(config.control.jitter_s, rules.slot_s / JITTER_PART)
        self._name = config.home.name
        self._homes = [member.name for member in charter.homes]
        self._nobody = without_guard(config)
        self._pause = timedelta(seconds=max(PAUSE_SLOTS * rules.slot_s, PAUSE_WALL_S * clock.speed))
        self._obeyed_at: datetime | None = None

    @property
    def status(self) -> GuardStatus:
        return self._nobody if self.guard is None else self.guard.status

    def commands(self, now: datetime) -> bool:
        """Return whether plans may count on the battery: it follows, or would but for a pause. Asked at each reading.

        Else the inverter's own self-consumption decides, and what the home sold from the battery would not come.
        """
        status = self.status
        if not status.obeys:
            self._obeyed_at = None
        elif status.control == "following" or self._obeyed_at is None:
            self._obeyed_at = now
        return self._obeyed_at is not None and now - self._obeyed_at <= self._pause

    def steer(
        self,
        reading: HomeReading,
        *,
        now: datetime,
        slot: Slot,
        aim: Aim,
        so_far: tuple[float, float] | None,
        others: Sequence[Numbers] = (),
    ) -> Numbers | None:
        """Give the guard the lease for this moment, or take it back; return what the neighbours are to be told now.

        Args:
            so_far: What the meter counted in the slot until now, import and export [Wh]; None when not known.
            others: The neighbours' fresh deviations.
        """
        seen, shared, news = self._see(reading), NOTHING_SHARED, None
        if seen is not None and reading.quality == "valid" and slot.start_at <= now < slot.end_at:
            home = self._situation(seen, reading.soc_pct, now, slot, aim)
            shared = self.sharing.step(now, slot, home, others if self.takes_part else ())
            news = self.sharing.news
        if self.guard is not None and self._envelope is not None:
            decision = decide(
                reading,
                now=now,
                slot=slot,
                target_wh=aim.net_wh,
                net_so_far_wh=None if so_far is None else so_far[0] - so_far[1],
                envelope=self._envelope,
                gate=self.guard.gate,
                last_target_w=self._last_target_w,
                deadband_w=self._deadband_w,
                net_load_w=None if seen is None else seen.smooth_net_load_w,
                shared=shared,
            )
            self._perform(self.guard, self._adrift(now, slot) or self._on_edge(decision, now, slot), aim)
        if not self.takes_part:
            return None
        self.shared = shared
        return news

    def _adrift(self, now: datetime, slot: Slot) -> Release | None:
        """Return a release while the wall clock has just jumped: its slot may be another one than everybody's."""
        if self._clock_watch is not None and self._clock_watch.jumped(now, self._clock.monotonic()):
            self._adrift_until = slot.end_at
        if self._adrift_until is None or now >= self._adrift_until:
            self._adrift_until = None
            return None
        return Release(reason="the clock jumped: control begins anew with the next slot")

    def _on_edge(self, decision: Follow | Release, now: datetime, slot: Slot) -> Follow | Release:
        """Return what to do near the slot's start: each home goes on as before for a time of its own.

        A whole street that changes at the stroke of the quarter hour, or that begins there after a common restart,
        would be a blow to its transformer.
        """
        since_s = (now - slot.start_at).total_seconds()
        if since_s >= self._jitter_s or isinstance(decision, Release):
            return decision
        left_s = self._turn(slot) * self._jitter_s - since_s
        if left_s <= 0:
            return decision
        reason = f"as before for {left_s:.0f} s more: homes change in turn"
        if self._last_target_w is None:
            return Release(reason=reason)
        return Follow(target_w=self._last_target_w, reason=reason)

    def _turn(self, slot: Slot) -> float:
        """Return when it is this home's turn, from 0 to 1: by lot in each slot, and evenly, so that no two meet."""
        order = sorted(self._homes, key=lambda name: zlib.crc32(f"{name} {slot.key}".encode()))
        return (order.index(self._name) + 0.5) / len(order)

    def _perform(self, guard: GuardPort, decision: Follow | Release, aim: Aim) -> None:
        match decision:
            case Follow(target_w=target_w, reason=reason):
                self._last_target_w = target_w
                guard.lease(target_w, reason, party=Party.CONTRACT if aim.traded_wh else Party.PRICE)
            case Release(reason=reason):
                self._last_target_w = None
                guard.release(reason)

    def _see(self, reading: HomeReading) -> _Seen | None:
        if reading.load_w is None or reading.pv_w is None or reading.grid_w is None:
            return None
        net_load_w = reading.load_w - reading.pv_w
        return _Seen(
            net_load_w=net_load_w,
            smooth_net_load_w=self._net_load.add(reading.at, net_load_w),
            grid_w=reading.grid_w,
            smooth_grid_w=self._grid.add(reading.at, reading.grid_w),
        )

    def _situation(self, seen: _Seen, soc_pct: float | None, now: datetime, slot: Slot, aim: Aim) -> Situation:
        """Return the home as its neighbours share it."""
        can, pace_w = self._room(soc_pct, slot, now, aim), aim.net_wh / slot.hours
        return Situation(
            net_w=seen.grid_w if can is None else seen.net_load_w,
            smooth_w=seen.smooth_grid_w if can is None else seen.smooth_net_load_w,
            planned_w=pace_w if can is None else pace_w + aim.battery_w,
            grid_w=pace_w - aim.traded_wh / slot.hours,
            room=can,
            day=now.astimezone(self._zone).date(),
        )

    def _room(self, soc_pct: float | None, slot: Slot, now: datetime, aim: Aim) -> Room | None:
        """Return what the battery can do; None while it does not follow, because then it is a load like any other."""
        if self.guard is None or self._envelope is None or self._storage is None or soc_pct is None:
            return None
        if self.guard.status.control != "following":
            return None
        return room(
            self._storage,
            self._envelope,
            self.guard.gate,
            soc_pct,
            planned_w=aim.battery_w,
            left_s=time_left_s(slot, now),
            reach_w=aim.reach_w,
        )
