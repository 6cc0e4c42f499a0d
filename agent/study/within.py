"""What the batteries do within a slot, when the true load and sun differ from the plan: the live rule on whole slots.

Pure, for all homes at once. All powers are means over the slot in W, arrays of shape (homes,).
"""

from dataclasses import dataclass

import numpy as np

from agent.planning.problem import Battery, Floats
from agent.planning.worth import Worth


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The batteries of a street as arrays; zeros stand for none."""

    capacity_wh: Floats
    reserve_wh: Floats
    charge_max_w: Floats
    discharge_max_w: Floats
    efficiency_charge: Floats
    efficiency_discharge: Floats

    @classmethod
    def of(cls, batteries: list[Battery | None]) -> "Fleet":
        none = Battery(capacity_wh=0.0, charge_max_w=0.0, discharge_max_w=0.0)
        rows = [battery or none for battery in batteries]
        return cls(**{name: np.array([getattr(row, name) for row in rows]) for name in cls.__slots__})

    def run(self, stored_wh: Floats, wanted_w: Floats, hours: float) -> tuple[Floats, Floats]:
        """Return power and stored energy after a slot, as `shadow.run_battery` of every home."""
        give_w = np.maximum(stored_wh - self.reserve_wh, 0.0) * self.efficiency_discharge / hours
        take_w = np.maximum(self.capacity_wh - stored_wh, 0.0) / self.efficiency_charge / hours
        highest = np.minimum(self.discharge_max_w, give_w)
        lowest = -np.minimum(self.charge_max_w, take_w)
        battery_w = np.minimum(np.maximum(wanted_w, lowest), highest)
        change = np.where(battery_w >= 0, battery_w / self.efficiency_discharge, battery_w * self.efficiency_charge)
        return battery_w, stored_wh - change * hours

    def reach(self, stored_wh: Floats, hours: float) -> tuple[Floats, Floats]:
        """Return the lowest and the highest power of the slot."""
        lowest = self.run(stored_wh, np.full_like(stored_wh, -np.inf), hours)[0]
        return lowest, self.run(stored_wh, np.full_like(stored_wh, np.inf), hours)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A slot before its batteries react.

    Args:
        planned_w: Battery plan, + discharges.
        grid_w: Planned import minus export at the tariff, trades not counted.
        deviation_w: True net load minus the planned one, + uses more.
        value_per_kwh: Of energy stored at the slot's end.
        import_per_kwh: Own tariff of the slot.
        export_per_kwh: Own tariff of the slot.
    """

    planned_w: Floats
    grid_w: Floats
    deviation_w: Floats
    value_per_kwh: Floats
    import_per_kwh: Floats
    export_per_kwh: Floats


def wanted_w(
    moment: Moment, fleet: Fleet, stored_wh: Floats, hours: float, wear_per_kwh: float, *, shared: bool
) -> Floats:
    """Return what each battery should do in the whole slot.

    Args:
        shared: All batteries answer the sum of all coming exchange with the grid by headroom; else each its own home's.
    """
    lowest, highest = fleet.reach(stored_wh, hours)
    down, up = _worth(moment, fleet, wear_per_kwh).reach_w(moment.planned_w)
    lowest, highest = np.maximum(lowest, down), np.minimum(highest, up)
    planned_w = moment.planned_w
    give_w, take_w = np.maximum(highest - planned_w, 0.0), np.maximum(planned_w - lowest, 0.0)
    off_w = moment.deviation_w + moment.grid_w
    if not shared:
        return planned_w + np.minimum(np.maximum(off_w, -take_w), give_w)
    total_w = float(off_w.sum())
    room_w = give_w if total_w > 0 else take_w
    room = max(float(room_w.sum()), abs(total_w))
    return planned_w + (total_w / room if room > 0 else 0.0) * room_w


def _worth(moment: Moment, fleet: Fleet, wear_per_kwh: float) -> Worth:
    return Worth(
        stored_per_kwh=moment.value_per_kwh,
        import_per_kwh=moment.import_per_kwh,
        export_per_kwh=moment.export_per_kwh,
        efficiency_charge=fleet.efficiency_charge,
        efficiency_discharge=fleet.efficiency_discharge,
        wear_per_kwh=wear_per_kwh,
    )
