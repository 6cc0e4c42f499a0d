"""What a battery could do over the rest of a slot. Pure."""

import math
from dataclasses import dataclass

from agent.control.envelope import Envelope, Gate


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """What lies behind the battery's AC side; efficiencies in (0, 1]."""

    capacity_wh: float
    efficiency_charge: float
    efficiency_discharge: float


ANYTHING = (-math.inf, math.inf)
"""Any power pays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The battery powers that can be held over the rest of the slot, and the planned one; + discharges [W].

    The planned power may lie outside: the battery then cannot do what was planned.
    """

    least_w: float
    most_w: float
    planned_w: float

    @property
    def _nearest_w(self) -> float:
        return min(max(self.planned_w, self.least_w), self.most_w)

    @property
    def give_w(self) -> float:
        """How much more than planned it can give."""
        return self.most_w - self._nearest_w

    @property
    def take_w(self) -> float:
        """How much more than planned it can take."""
        return self._nearest_w - self.least_w

    @property
    def lacking_w(self) -> float:
        """What of its plan it cannot do: + gives too little, - takes too little."""
        return self.planned_w - self._nearest_w

    def within(self, change_w: float) -> float:
        """Return the change of the planned power nearest to `change_w` that is possible."""
        return min(max(change_w, -self.take_w), self.give_w)


def room(
    storage: Storage,
    envelope: Envelope,
    gate: Gate,
    soc_pct: float,
    *,
    planned_w: float,
    left_s: float,
    reach_w: tuple[float, float] = ANYTHING,
) -> Room:
    """Return what the battery can do until the slot ends: by power, energy and what pays.

    Args:
        planned_w: Battery power of the plan, + discharges.
        left_s: Seconds over which its energy is to be spread, > 0.
        reach_w: The lowest and the highest power that pays; the plan lies between them.
    """
    wh_per_pct, left_h = storage.capacity_wh / 100, left_s / 3600
    above_wh = max(0.0, soc_pct - envelope.reserve_pct) * wh_per_pct * storage.efficiency_discharge
    below_wh = max(0.0, envelope.max_pct - soc_pct) * wh_per_pct / storage.efficiency_charge
    most_w = min(envelope.clamp(envelope.discharge_w, gate), above_wh / left_h)
    least_w = max(envelope.clamp(-envelope.charge_w, gate), -below_wh / left_h)
    return Room(
        least_w=min(max(least_w, reach_w[0]), most_w),
        most_w=max(min(most_w, reach_w[1]), least_w),
        planned_w=planned_w,
    )
