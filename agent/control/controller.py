"""What the battery should do now so that the slot ends as planned and contracted. Pure."""

from dataclasses import dataclass
from datetime import datetime

from agent.control.envelope import Envelope, Gate
from agent.control.ports import Reading
from coordinator.slots import Slot

LEAST_REMAINING = 0.2
"""Share of a slot over which an error is made up at least: near the end, small errors must not become huge powers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Follow:
    """Command the battery: `target_w`, + discharges, inside the envelope."""

    target_w: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Leave the battery to its own self-consumption."""

    reason: str


Decision = Follow | Release


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What the home and its neighbours make of the running slot beyond the plan; nothing by default.

    Attributes:
        left_w: What the grid meter is to show now beyond the plan, + imports more.
        left_wh: Its energy in the slot so far.
        given_w: What the battery gives (+) or takes (-) for the neighbours, on top of what it would do alone.
        homes: How many neighbours count now.
    """

    left_w: float = 0.0
    left_wh: float = 0.0
    given_w: float = 0.0
    homes: int = 0


NOTHING_SHARED = Shared()


def decide(
    reading: Reading,
    *,
    now: datetime,
    slot: Slot,
    target_wh: float,
    net_so_far_wh: float | None,
    envelope: Envelope,
    gate: Gate | None = None,
    last_target_w: float | None = None,
    deadband_w: float = 30.0,
    net_load_w: float | None = None,
    shared: Shared = NOTHING_SHARED,
) -> Decision:
    """Return what the battery should do.

    Args:
        reading: The home now.
        slot: The running slot.
        target_wh: Net energy wanted from the grid over the whole slot (import minus export, plan and contracts).
        net_so_far_wh: What the meter counted in the slot so far; None while unknown.
        gate: Which directions were open until now; None is all.
        last_target_w: The target in force, kept while the new one differs by less than `deadband_w`.
        net_load_w: Load minus sun to reckon with, for example smoothed; default: as read now.
        shared: How the slot is to come out otherwise than planned.
    """
    if reading.quality != "valid" or reading.load_w is None or reading.pv_w is None:
        return Release(reason=f"no fresh value of {', '.join(reading.missing) or 'the home'}")
    if reading.soc_pct is None:
        return Release(reason="the battery's charge is unknown")
    if not slot.start_at <= now < slot.end_at:
        return Release(reason="there is no plan for this slot yet")
    if net_so_far_wh is None:
        return Release(reason="the meter was not seen at the start of this slot")
    grid_w = _grid_w(slot, now, target_wh, net_so_far_wh, shared)
    wanted_w = (reading.load_w - reading.pv_w if net_load_w is None else net_load_w) - grid_w
    gate = envelope.gate(reading.soc_pct, gate or Gate())
    target_w = envelope.clamp(wanted_w, gate)
    if last_target_w is not None and abs(target_w - last_target_w) < deadband_w:
        target_w = envelope.clamp(last_target_w, gate)
    limit = _limit(wanted_w, target_w, gate, envelope, deadband_w)
    return Follow(
        target_w=target_w, reason=f"{_aim(target_wh)}: {_deed(target_w)}{limit}{_neighbourly(shared, deadband_w)}"
    )


def time_left_s(slot: Slot, now: datetime) -> float:
    """Return the seconds over which an error is made up: the rest of the slot, but never too few."""
    return max((slot.end_at - now).total_seconds(), LEAST_REMAINING * slot.length_s)


def _grid_w(slot: Slot, now: datetime, target_wh: float, net_so_far_wh: float, shared: Shared) -> float:
    """Return the grid power that brings the slot to its energy: the even pace, and the error so far made up."""
    pace_w = target_wh / slot.hours
    due_wh = pace_w * (now - slot.start_at).total_seconds() / 3600 + shared.left_wh
    return pace_w + shared.left_w + (due_wh - net_so_far_wh) * 3600 / time_left_s(slot, now)


def _aim(target_wh: float) -> str:
    if round(target_wh) == 0:
        return "nothing to or from the grid in this slot, as planned"
    verb = "taking" if target_wh > 0 else "giving"
    side = "from" if target_wh > 0 else "to"
    return f"{verb} {abs(target_wh):.0f} Wh {side} the grid in this slot, as planned"


def _deed(target_w: float) -> str:
    if round(target_w) == 0:
        return "the battery rests"
    return f"the battery {'gives' if target_w > 0 else 'takes'} {abs(target_w):.0f} W"


def _neighbourly(shared: Shared, deadband_w: float) -> str:
    if abs(shared.given_w) <= deadband_w:
        return ""
    return f", {abs(shared.given_w):.0f} W {'for' if shared.given_w > 0 else 'from'} the neighbours"


def _limit(wanted_w: float, target_w: float, gate: Gate, envelope: Envelope, deadband_w: float) -> str:
    if abs(wanted_w - target_w) <= deadband_w:
        return ""
    if wanted_w > 0 and not gate.discharge:
        return f", because its charge is at the reserve of {envelope.reserve_pct:.0f} %"
    if wanted_w < 0 and not gate.charge:
        return f", because its charge is at the maximum of {envelope.max_pct:.0f} %"
    return ", its limit"
