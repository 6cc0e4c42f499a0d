"""Where a battery's energy pays within a slot: against the grid's import, giving must cost less; against export, taking
must bring more. One rule for a real home, for its shadow without neighbours, and for the study. Pure.
"""

from dataclasses import dataclass

import numpy as np

from agent.planning.home_model import Schedule
from agent.planning.problem import Floats, HomeProblem

MARGIN_PER_KWH = 0.002
"""Where it is all the same by the plan, energy is kept: giving must save more than this, taking may cost as much.

A plan that believes its forecast sees no use in charging now what the afternoon's sun will charge anyway; when the sun
then fails, that was the mistake.
"""

Amount = float | Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """What a kWh is worth in a slot: of one home, or of many as arrays of shape (homes,).

    Args:
        stored_per_kwh: Energy in the battery at the slot's end, by the home's plan.
        import_per_kwh: Own tariff of the slot.
        export_per_kwh: Own tariff of the slot.
        efficiency_charge: Of the battery, in (0, 1].
        efficiency_discharge: Of the battery, in (0, 1].
        wear_per_kwh: Of a kWh that goes in and comes out again; half of it counts on each way.
    """

    stored_per_kwh: Amount
    import_per_kwh: Amount
    export_per_kwh: Amount
    efficiency_charge: Amount
    efficiency_discharge: Amount
    wear_per_kwh: float

    def reach_w(self, planned_w: Amount) -> tuple[Floats, Floats]:
        """Return the lowest and the highest power the battery goes to; + discharges, infinite where only it limits.

        A charging battery gives first by charging less, which costs less than discharging; likewise the other way
        round. The plan itself is never in question: `planned_w` lies between the two.
        """
        discharged = self.stored_per_kwh / self.efficiency_discharge + self.wear_per_kwh / 2
        charged = self.stored_per_kwh * self.efficiency_charge - self.wear_per_kwh / 2
        saved, lost = self.import_per_kwh - MARGIN_PER_KWH, self.export_per_kwh - MARGIN_PER_KWH
        up = np.where(discharged <= saved, np.inf, np.where(charged <= saved, 0.0, -np.inf))
        down = np.where(charged >= lost, -np.inf, np.where(discharged >= lost, 0.0, np.inf))
        return np.minimum(down, planned_w), np.maximum(up, planned_w)


def reach_w(problem: HomeProblem, plan: Schedule) -> tuple[float, float]:
    """Return the lowest and the highest power that pays in the first slot of a home's plan, as `Worth.reach_w`.

    Anything pays where there is no battery or no plan.
    """
    if problem.battery is None or not plan.solved:
        return -np.inf, np.inf
    worth = Worth(
        stored_per_kwh=plan.stored_per_kwh,
        import_per_kwh=float(problem.import_per_kwh[0]),
        export_per_kwh=float(problem.export_per_kwh[0]),
        efficiency_charge=problem.battery.efficiency_charge,
        efficiency_discharge=problem.battery.efficiency_discharge,
        wear_per_kwh=problem.wear_per_kwh,
    )
    lowest_w, highest_w = worth.reach_w(float(plan.battery_w[0]))
    return float(lowest_w), float(highest_w)
