"""The same home without neighbours, and without its battery: what trading and storing are compared with.

The shadow sees what the real home sees: the same forecasts when it plans, the same metered load and sun afterwards.
"""

from dataclasses import dataclass, replace

import numpy as np

from agent.planning.home_model import Flow, HomeModel
from agent.planning.problem import Battery, HomeProblem
from agent.planning.worth import reach_w


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowSlot:
    """One slot of a home that does not exist, in Wh.

    Args:
        net_wh: Net energy from the grid, + imported; rounded half even, as a meter would be read.
        battery_wh: + discharged.
        stored_wh: Energy in the battery at the slot's end.
    """

    net_wh: int
    battery_wh: float
    stored_wh: float

    @property
    def import_wh(self) -> int:
        return max(self.net_wh, 0)

    @property
    def export_wh(self) -> int:
        return max(-self.net_wh, 0)


def run_battery(battery: Battery, stored_wh: float, wanted_wh: float, hours: float) -> tuple[float, float]:
    """Return what a battery does when it is asked for `wanted_wh` (AC, + discharges) within `hours`.

    Power limits, capacity and reserve bind; below the reserve it charges but does not discharge.

    Returns:
        The AC energy given (+) or taken (-), and the stored energy afterwards, both in Wh.
    """
    if wanted_wh >= 0:
        available_wh = max(stored_wh - battery.reserve_wh, 0.0) * battery.efficiency_discharge
        given_wh = min(wanted_wh, battery.discharge_max_w * hours, available_wh)
        return given_wh, stored_wh - given_wh / battery.efficiency_discharge
    room_wh = max(battery.full_wh - stored_wh, 0.0) / battery.efficiency_charge
    taken_wh = min(-wanted_wh, battery.charge_max_w * hours, room_wh)
    return -taken_wh, stored_wh + taken_wh * battery.efficiency_charge


def _uncommanded(battery: Battery) -> Battery:
    """Return a battery as its inverter runs it, which knows nothing of the maximum that its owner set us."""
    return replace(battery, max_wh=battery.capacity_wh)


def by_itself(problem: HomeProblem) -> Flow:
    """Return what the home's battery does when nobody commands it: it keeps the home from the grid (self-consumption).

    Raises:
        ValueError: If the home has no battery.
    """
    battery, hours, stored_wh = problem.battery, problem.slot_h, problem.start_wh
    if battery is None:
        raise ValueError("a home without a battery")
    battery = _uncommanded(battery)
    power_w, path_wh = np.zeros(problem.slots), np.zeros(problem.slots)
    for t, wanted_w in enumerate(problem.load_w - problem.pv_w):
        given_wh, stored_wh = run_battery(battery, stored_wh, float(wanted_w) * hours, hours)
        power_w[t], path_wh[t] = given_wh / hours, stored_wh
    return Flow(
        name="battery",
        charge_w=np.maximum(-power_w, 0.0),
        discharge_w=np.maximum(power_w, 0.0),
        stored_wh=path_wh,
        missing_wh=np.zeros(problem.slots),
    )


class Shadow:
    """The home as if it had no neighbours (strategy `alone`): own plan, own battery, and the live rule within the slot.

    Args:
        stored_wh: Energy in the shadow's battery; the only state, kept by the caller between starts.
    """

    def __init__(self, stored_wh: float) -> None:
        self.stored_wh = stored_wh

    def advance(self, problem: HomeProblem, load_wh: float, pv_wh: float) -> ShadowSlot:
        """Live through the first slot of `problem`.

        The home plans alone with the forecasts of `problem` (its stored energy is replaced by the shadow's own). Then
        the metered load and sun arrive; the battery keeps the home from the grid as far as that pays and its limits
        allow, and the grid takes the rest.
        """
        battery = problem.battery
        if battery is None:
            return no_battery(load_wh, pv_wh)
        plan = HomeModel(replace(problem, stored_wh=self.stored_wh)).alone()
        lowest_w, highest_w = reach_w(problem, plan)
        wanted_wh = min(max(load_wh - pv_wh, lowest_w * problem.slot_h), highest_w * problem.slot_h)
        return self._lived(battery, wanted_wh, problem.slot_h, load_wh, pv_wh)

    def left_alone(self, battery: Battery | None, slot_h: float, load_wh: float, pv_wh: float) -> ShadowSlot:
        """Live through a slot in which nobody commands the battery, as in the real home: it serves the home."""
        if battery is None:
            return no_battery(load_wh, pv_wh)
        return self._lived(_uncommanded(battery), load_wh - pv_wh, slot_h, load_wh, pv_wh)

    def _lived(self, battery: Battery, wanted_wh: float, slot_h: float, load_wh: float, pv_wh: float) -> ShadowSlot:
        battery_wh, self.stored_wh = run_battery(battery, self.stored_wh, wanted_wh, slot_h)
        return ShadowSlot(net_wh=round(load_wh - pv_wh - battery_wh), battery_wh=battery_wh, stored_wh=self.stored_wh)


def no_battery(load_wh: float, pv_wh: float) -> ShadowSlot:
    """Return one slot of the home without its battery: the grid takes load minus sun."""
    return ShadowSlot(net_wh=round(load_wh - pv_wh), battery_wh=0.0, stored_wh=0.0)
