"""Why a plan does what it does, in words for the people of the home."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.planning.home_model import Flow, Schedule
from agent.planning.problem import HomeProblem

_NOTICEABLE_W = 25.0
"""Smaller flows need no explanation."""

_DEARER_PER_KWH = 0.005
"""A later price counts as dearer when it is higher by more than this: half a cent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """One slot, reduced to what the words depend on."""

    charging: bool
    discharging: bool
    importing: bool
    exporting: bool
    buying: bool
    selling: bool
    sun_to_spare: bool
    full: bool
    holding: bool
    later: str | None
    later_dearer: bool
    island: bool
    unserved: bool
    critical_unserved: bool
    turned_down: str | None
    running: str | None


def part_of_day(hour: int) -> str:
    """Return the local part of the day an hour belongs to, as it reads after "for"."""
    if hour < 5 or hour >= 22:
        return "the night"
    if hour < 11:
        return "the morning"
    if hour < 17:
        return "the afternoon"
    return "the evening"


def reasons(
    problem: HomeProblem, schedule: Schedule, local_hours: Sequence[int], own: Flow | None = None
) -> tuple[str, ...]:
    """Return one short sentence per slot.

    Args:
        local_hours: Local hour (0..23) in which each slot starts, shape (n,).
        own: What a battery does that obeys nobody.
    """
    words = [_words(_moment(problem, schedule, local_hours, t)) for t in range(problem.slots)]
    if own is not None:
        words = [said + _words_of_own(watts) for said, watts in zip(words, own.power_w, strict=True)]
    return tuple(words)


def _words_of_own(battery_w: float) -> str:
    if abs(battery_w) <= _NOTICEABLE_W:
        return ""
    return "; the battery gives by itself" if battery_w > 0 else "; the battery charges by itself"


def _moment(problem: HomeProblem, schedule: Schedule, local_hours: Sequence[int], t: int) -> _Moment:
    battery = problem.battery
    later = np.flatnonzero(schedule.discharge_w[t + 1 :] > _NOTICEABLE_W)
    use = t + 1 + int(later[0]) if later.size else None
    before_wh = problem.start_wh if t == 0 else float(schedule.stored_wh[t - 1])
    return _Moment(
        charging=bool(schedule.battery_w[t] < -_NOTICEABLE_W),
        discharging=bool(schedule.battery_w[t] > _NOTICEABLE_W),
        importing=bool(schedule.import_w[t] > _NOTICEABLE_W),
        exporting=bool(schedule.export_w[t] > _NOTICEABLE_W),
        buying=bool(schedule.trade_w[t] > _NOTICEABLE_W),
        selling=bool(schedule.trade_w[t] < -_NOTICEABLE_W),
        sun_to_spare=bool(problem.pv_w[t] > problem.load_w[t] + _NOTICEABLE_W),
        full=battery is not None and bool(schedule.stored_wh[t] > 0.98 * battery.full_wh),
        holding=battery is not None and bool(min(before_wh, schedule.stored_wh[t]) > 0.05 * battery.capacity_wh),
        later=None if use is None else part_of_day(local_hours[use]),
        later_dearer=use is not None
        and bool(problem.import_per_kwh[use:].max() > problem.import_per_kwh[t] + _DEARER_PER_KWH),
        island=problem.island is not None,
        unserved=bool(schedule.unserved_w[t] > _NOTICEABLE_W),
        critical_unserved=bool(schedule.critical_unserved_w[t] > _NOTICEABLE_W),
        turned_down=_why_turned_down(problem, schedule, t),
        running=" and ".join(flow.name for flow in schedule.flexible if flow.charge_w[t] > _NOTICEABLE_W) or None,
    )


def _why_turned_down(problem: HomeProblem, schedule: Schedule, t: int) -> str | None:
    if schedule.curtailed_w[t] <= _NOTICEABLE_W:
        return None
    if problem.island is not None:
        return "nobody can use or store it"
    if problem.export_per_kwh[t] < 0:
        return "the grid would charge for it"
    return "the connection is full"


def _words(m: _Moment) -> str:
    if m.unserved:
        return _words_unserved(m)
    words = _words_of_running(m) if m.running and not (m.charging or m.discharging) else _words_of_battery(m)
    if m.running and (m.charging or m.discharging):
        words += f"; {m.running} takes its part now"
    return words if m.turned_down is None else f"{words}; sun turned down: {m.turned_down}"


def _words_unserved(m: _Moment) -> str:
    if m.critical_unserved:
        return "no grid: the energy does not even suffice for the critical load"
    return "no grid: part of the load goes without, in the same share in every home"


def _words_of_running(m: _Moment) -> str:
    if m.buying:
        return f"{m.running} takes neighbours' energy"
    if m.sun_to_spare and not m.importing:
        return f"{m.running} takes the sun to spare"
    return f"{m.running} takes grid energy while it is cheapest" if m.importing else f"{m.running} takes its part now"


def _words_of_battery(m: _Moment) -> str:
    if m.charging:
        return _words_charging(m)
    if m.discharging:
        return _words_discharging(m)
    return _words_idle(m)


def _words_charging(m: _Moment) -> str:
    goal = f"for {m.later}" if m.later else "for later"
    if m.buying:
        return f"charging with a neighbour's energy {goal}"
    if not m.sun_to_spare:
        return f"charging from the grid while it is cheap, {goal}"
    if m.importing:
        return f"charging from the sun and the cheap grid {goal}"
    if m.selling:
        return f"charging from the sun {goal}, the rest goes to neighbours"
    return f"charging from the sun {goal}"


def _words_discharging(m: _Moment) -> str:
    if m.selling:
        return "selling to neighbours from the battery: they pay more than it will be worth later"
    if m.island:
        return "no grid: the home runs on its battery"
    if m.buying:
        return "using the battery and neighbours' energy: cheaper than the grid"
    if m.exporting:
        return "battery feeds the grid: it pays well now"
    return "using the battery: cheaper than the grid"


def _words_idle(m: _Moment) -> str:
    if m.island:
        return "no grid: the home runs on neighbours' energy" if m.buying else "no grid: the home runs on its own"
    if m.buying:
        return "buying from neighbours: cheaper than the grid"
    if m.selling:
        return "selling sun to neighbours: they pay more than the grid"
    if m.exporting:
        return "battery full: sun to spare goes to the grid" if m.full else "sun to spare goes to the grid"
    if m.importing and m.holding and m.later and m.later_dearer:
        return f"keeping the battery for {m.later}, when the grid is dearer"
    if m.importing:
        return "using the grid: nothing cheaper now"
    return "the home runs on its own"
