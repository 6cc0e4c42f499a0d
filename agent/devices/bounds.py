"""What a profile's device bears as a setpoint. Pure."""

import math

from agent.devices.control_schema import ClampSpec, Variable
from agent.devices.schema import Profile

_GIVING: tuple[Variable, ...] = ("=battery_w", "=ac_w", "=discharge_w", "=magnitude_w")
_CHARGING: tuple[Variable, ...] = ("=charge_w", "=magnitude_w")
_SIGNED: tuple[Variable, ...] = ("=battery_w", "=ac_w")


def bounds(profile: Profile) -> ClampSpec | None:
    """Return what the device bears: its clamp, and what its setpoints' registers may hold; None without control.

    A setpoint that includes the sun is taken for the battery's alone: what the sun adds is not known here.
    """
    if profile.control is None:
        return None
    spec = profile.control.battery_w
    clamp = spec.clamp or ClampSpec(charge_w=math.inf, discharge_w=math.inf)
    charge_w, discharge_w = clamp.charge_w, clamp.discharge_w
    for step in spec.cycle:
        span = profile.points[step.write].range
        if span is None:
            continue
        if step.value in _GIVING:
            discharge_w = min(discharge_w, span[1])
        if step.value in _CHARGING:
            charge_w = min(charge_w, span[1])
        if step.value in _SIGNED:
            charge_w = min(charge_w, -span[0])
    return clamp.model_copy(update={"charge_w": max(charge_w, 0.0), "discharge_w": max(discharge_w, 0.0)})
