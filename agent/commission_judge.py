"""What a known load and a pulse of the battery say about signs, and the cure for each thing that can be wrong. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

from agent.commission_talk import Powers

Load = Literal["right", "meter_turned", "battery_turned", "unseen"]
Pulse = Literal["right", "ignored", "turned", "other_size", "battery_turned", "meter_turned", "restless"]

_CLEAR = 0.6
"""Share of the load asked for that must be seen; a kettle of 1 kW may take 0.9."""
_SIZE = (0.5, 1.5)
"""How far the battery's answer may differ from the pulse."""
_STILL = 0.25
_METER = (0.3, 1.7)
"""How far the meter's may: the house goes on living meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One device, for the words of a cure. `questions` are its profile's, by name."""

    name: str
    profile: str
    questions: Mapping[str, str]


def judge_load(before: Powers, since: Sequence[Powers], load_w: float) -> Load:
    """Return what a load of `load_w` or more says that was switched on after `before`.

    The grid meets it, or after some seconds the battery; both then rise. What falls instead is turned round.

    Args:
        since: Each reading since then, in their order.
    """
    clear_w = _CLEAR * load_w
    grid_w = [each.grid_w - before.grid_w + each.pv_w - before.pv_w for each in since]
    last = since[-max(1, len(since) // 2) :]
    moved_w = sum(each.sum_w for each in last) / len(last) - before.sum_w
    if min(grid_w) <= -clear_w and -min(grid_w) > max(grid_w):
        return "meter_turned"
    if moved_w >= clear_w:
        return "right"
    battery_w = sum(each.battery_w for each in last) / len(last) - before.battery_w
    return "battery_turned" if battery_w <= -clear_w else "unseen"


def judge_pulse(rest: Powers, during: Powers, wanted_w: float) -> Pulse:
    """Return what a pulse says: `rest` while 0 W were commanded, `during` while `wanted_w` were (+ discharges)."""
    battery = (during.battery_w - rest.battery_w) / wanted_w
    # The sun may change meanwhile; what it gives more is not the meter's answer.
    meter = (rest.grid_w + rest.pv_w - during.grid_w - during.pv_w) / wanted_w
    if abs(battery) < _STILL:
        return "ignored" if abs(meter) < _METER[0] else "restless"
    if not _SIZE[0] <= abs(battery) <= _SIZE[1]:
        return "other_size"
    if battery < 0:
        return "battery_turned" if meter > _METER[0] else "turned" if meter < -_METER[0] else "restless"
    if meter < -_METER[0]:
        return "meter_turned"
    return "right" if _METER[0] <= meter <= _METER[1] else "restless"


def load_words(verdict: Literal["meter_turned", "battery_turned", "unseen"], meter: Facts, battery: Facts) -> str:
    """Say what is wrong and what cures it."""
    match verdict:
        case "meter_turned":
            return f"the load was switched on and {meter.name} shows less import: {_turn_meter(meter)}"
        case "battery_turned":
            return f"the battery met the load and {battery.name} shows it charging: {_turn_battery(battery)}"
        case "unseen":
            return (
                f"neither {meter.name} nor the battery saw the load: is {meter.name} at the grid connection of this "
                "house, and does the load take 1 kW or more? Then run this again"
            )
        case _:
            assert_never(verdict)


def pulse_words(verdict: Pulse, seen_w: float, wanted_w: float, meter: Facts, battery: Facts) -> str:
    """Say what is wrong and what cures it; `seen_w` is how far the battery moved."""
    doing = f"the battery was told to {'give' if wanted_w > 0 else 'charge with'} {abs(wanted_w):.0f} W"
    match verdict:
        case "ignored":
            return (
                f"{doing}, took the command and did nothing: allow external control in the inverter's menu. If it is "
                "allowed, something else takes commands back (an app, a schedule: end that), or profile "
                f"{battery.profile} does not fit this device (another register, per cent instead of watts)"
            )
        case "other_size":
            return (
                f"{doing} and moved by {seen_w:.0f} W: its setpoint is in another unit or scale (per cent?) than "
                f"profile {battery.profile} says, or something else commands it too: control it with neither"
            )
        case "turned":
            return (
                f"{doing} and did the opposite, as {battery.name} and {meter.name} both say: name a copy of profile "
                f"{battery.profile} in which `sign` of the setpoint is the opposite, and run this again"
            )
        case "battery_turned":
            says = f"as {meter.name} says, but {battery.name} shows the opposite"
            return f"{doing} and did, {says}: {_turn_battery(battery)}"
        case "meter_turned":
            return f"{doing} and did, but {meter.name} moved the other way: {_turn_meter(meter)}"
        case "restless":
            return (
                f"{doing}, but {meter.name} does not show it: is {meter.name} at the grid connection, and is the house "
                "quiet? Switch off what comes and goes (oven, heat pump, wallbox) and run this again"
            )
        case "right":
            return f"{doing} and did"
        case _:
            assert_never(verdict)


def _turn_meter(meter: Facts) -> str:
    if "positive" in meter.questions:
        return f"answer its profile's question `positive` the other way, in [devices.{meter.name}] parameters"
    return (
        f"it counts the wrong way round. Have its in and out, or its current transformers, turned by an electrician, "
        f"or name a copy of profile {meter.profile} in which `sign` of grid_w is the opposite"
    )


def _turn_battery(battery: Facts) -> str:
    return f"name a copy of profile {battery.profile} in which `sign` of battery_w is the opposite, and run this again"
