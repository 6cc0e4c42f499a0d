"""What devices and the home do now, in words for `check` and the log. Pure."""

from collections.abc import Mapping

from agent.dashboard.words import IDLE_W, percent, power
from agent.devices.reading import HomeReading


def device_words(values: Mapping[str, float | None]) -> str:
    """Say what one device shows: "importing 1.2 kW", "sun 2.1 kW, battery 54 % charging 400 W"."""
    parts = [_grid(values["grid_w"])] if "grid_w" in values else []
    if "pv_w" in values:
        parts.append(f"sun {_amount(values['pv_w'])}")
    if "battery_w" in values:
        parts.append(_battery(values["battery_w"], values.get("soc_pct"), values.get("capacity_wh")))
    return ", ".join(parts) or "answers"


def home_words(reading: HomeReading) -> str:
    """Say what the home does: "using 800 W: sun 2.1 kW, battery 54 % charging 400 W, exporting 900 W"."""
    battery = "" if reading.soc_pct is None else f", {_battery(reading.battery_w, reading.soc_pct)}"
    return f"using {power(reading.load_w)}: sun {_amount(reading.pv_w)}{battery}, {_grid(reading.grid_w)}"


def _amount(watts: float | None) -> str:
    return "unknown" if watts is None else power(max(watts, 0.0))


def _grid(watts: float | None) -> str:
    if watts is None:
        return "grid unknown"
    if abs(watts) < IDLE_W:
        return "nothing to or from the grid"
    return f"{'importing' if watts > 0 else 'exporting'} {power(watts)}"


def _battery(watts: float | None, soc_pct: float | None, capacity_wh: float | None = None) -> str:
    size = f" of {capacity_wh / 1000:.1f} kWh" if capacity_wh else ""
    charge = "charge unknown" if soc_pct is None else percent(soc_pct) + size
    if watts is None:
        return f"battery {charge}, power unknown"
    doing = "resting" if abs(watts) < IDLE_W else f"{'giving' if watts > 0 else 'charging'} {power(watts)}"
    return f"battery {charge} {doing}"
