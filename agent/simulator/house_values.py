"""What the devices of a house show of its plant, by the names that points have in profiles."""

import re
from collections.abc import Iterable

from agent.simulator.plant import Plant

PHASES = 3


def house_values(plant: Plant, names: Iterable[str]) -> dict[str, float]:
    """Return the values of the named points that belong to the plant; + flows into the house bus.

    Strings beyond the first give nothing, phases share alike.
    """
    whole = _whole(plant)
    values: dict[str, float] = {}
    for name in names:
        plain = re.sub(r"^(own_|meter_w$)", lambda found: "grid_w" if found[0] == "meter_w" else "", name)
        phase = re.fullmatch(r"(grid|load)_?l?(\d)_w", plain)
        string = re.fullmatch(r"pv(?:_ac)?(\d)_w", plain)
        if plain in whole:
            values[name] = whole[plain]
        elif phase is not None:
            values[name] = whole[f"{phase[1]}_w"] / PHASES
        elif string is not None:
            values[name] = whole["pv_w"] if string[1] == "1" else 0.0
    return values


def _whole(plant: Plant) -> dict[str, float]:
    flow, counters = plant.flow, plant.counters
    return {
        "grid_w": flow.grid_w,
        "import_w": max(flow.grid_w, 0.0),
        "export_w": min(flow.grid_w, 0.0),
        "load_w": -flow.load_w,
        "pv_w": flow.pv_w,
        "pv_dc_w": 0.0,
        "ac_w": flow.inverter_w,
        "battery_w": flow.battery_w,
        "battery_magnitude_w": abs(flow.battery_w),
        "battery_direction": float(flow.battery_w > 0),
        "charging_w": min(flow.battery_w, 0.0),
        "discharging_w": max(flow.battery_w, 0.0),
        "soc_pct": plant.soc_pct or 0.0,
        "import_wh": counters.import_wh,
        "export_wh": counters.export_wh,
        "battery_in_wh": counters.battery_in_wh,
        "battery_out_wh": counters.battery_out_wh,
        "production_wh": counters.inverter_wh,
        "inverter_wh": counters.inverter_wh,
        "pv_wh": counters.inverter_wh,
        "pv_dc_wh": counters.inverter_wh,
    }
