"""From the samples of single devices to the reading of the home. Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from agent.devices.reading import DeviceSample, HomeReading, Quality
from coordinator.errors import ConfigError

FORGET_AFTER = 10
"""A value older than this many times `stale_after_s` is not known any more."""
_COUNTERS = ("import_wh", "export_wh")
OF_THE_HOME = frozenset({"grid_w", "pv_w", "battery_w", "soc_pct", *_COUNTERS})
"""The values of devices that the home's reading is made of."""
_WORSE: tuple[Quality, ...] = ("valid", "doubtful", "stale", "absent")
_ROUNDING_W = 50.0
_ROUNDING_SHARE = 0.05
"""How far the powers of two devices may disagree: meters of class 1 and inverters of 2 to 5 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePart:
    """What a device can say (`provides`) and what it said last."""

    name: str
    provides: frozenset[str]
    sample: DeviceSample | None


class _Value(NamedTuple):
    value: float | None
    stale: bool = False
    doubtful: bool = False

    @property
    def quality(self) -> Quality:
        if self.value is None:
            return "absent"
        return "stale" if self.stale else "doubtful" if self.doubtful else "valid"


def check_home(parts: Iterable[tuple[str, frozenset[str]]]) -> None:
    """Check that the devices make up one home.

    Args:
        parts: Name of each device and what it provides.

    Raises:
        ConfigError: If there is not exactly one meter at the grid connection.
    """
    meters = [name for name, provides in parts if "grid_w" in provides]
    if len(meters) != 1:
        found = f"devices {', '.join(meters)} all do" if meters else "no device does"
        raise ConfigError(f"exactly one device must measure grid_w, but {found}; keep one meter at the grid connection")


def combine(parts: Sequence[DevicePart], *, now: datetime, monotonic_s: float, stale_after_s: float) -> HomeReading:
    """Return the home's reading from the newest samples of its devices.

    Args:
        parts: All devices of the home.
        monotonic_s: Wall seconds now, to judge the samples' age.
        stale_after_s: Age from which a value may not be acted upon [s].
    """

    def find(name: str) -> list[_Value]:
        return [_pick(part, name, monotonic_s, stale_after_s) for part in parts if name in part.provides]

    values = {
        "grid_w": _sum(find("grid_w")),
        "pv_w": _sum(find("pv_w"), none_at_all=0.0),
        "battery_w": _sum(find("battery_w"), none_at_all=0.0),
        "import_wh": _sum(find("import_wh")),
        "export_wh": _sum(find("export_wh")),
    }
    has_battery = any("battery_w" in part.provides for part in parts)
    if has_battery:
        values["soc_pct"] = _charge(find)
    load_w = _load(values["grid_w"].value, values["pv_w"].value, values["battery_w"].value)
    values["load_w"] = _like(load_w, [values[name] for name in ("grid_w", "pv_w", "battery_w")])
    missing = tuple(name for name, item in values.items() if item.quality != "valid")
    meter = next((part.sample for part in parts if "grid_w" in part.provides and part.sample), None)
    known = meter is not None and values["grid_w"].value is not None
    return HomeReading(
        at=meter.at if meter is not None and known else now,
        monotonic_s=monotonic_s,
        grid_w=values["grid_w"].value,
        pv_w=values["pv_w"].value,
        battery_w=values["battery_w"].value,
        load_w=load_w,
        soc_pct=values["soc_pct"].value if has_battery else None,
        import_wh=values["import_wh"].value,
        export_wh=values["export_wh"].value,
        quality=max((item.quality for name, item in values.items() if name not in _COUNTERS), key=_WORSE.index),
        missing=missing,
    )


def _like(value: float | None, parts: Iterable[_Value]) -> _Value:
    """Return a value made of parts, as stale and doubtful as any of them."""
    found = list(parts)
    return _Value(value, any(item.stale for item in found), any(item.doubtful for item in found))


def _pick(part: DevicePart, name: str, monotonic_s: float, stale_after_s: float) -> _Value:
    if part.sample is None:
        return _Value(None)
    age_s = monotonic_s - part.sample.monotonic_s
    if age_s > FORGET_AFTER * stale_after_s:
        return _Value(None)
    return _Value(part.sample.values.get(name), age_s > stale_after_s, name in part.sample.doubtful)


def _sum(values: Sequence[_Value], none_at_all: float | None = None) -> _Value:
    if not values:
        return _Value(none_at_all)
    known = [item.value for item in values if item.value is not None]
    return _like(sum(known) if len(known) == len(values) else None, values)


def _charge(find: Callable[[str], list[_Value]]) -> _Value:
    """Return the state of charge of all batteries together; several are weighted by their capacity, if known."""
    charges = find("soc_pct")
    if len(charges) == 1:
        return charges[0]
    sizes = [item.value for item in find("capacity_wh")]
    stored_wh = whole_wh = 0.0
    for charge, size_wh in zip(charges, sizes, strict=False):
        if charge.value is None or size_wh is None:
            return _like(None, charges)
        stored_wh += charge.value / 100 * size_wh
        whole_wh += size_wh
    return _like(100 * stored_wh / whole_wh if whole_wh and len(sizes) == len(charges) else None, charges)


def _load(grid_w: float | None, pv_w: float | None, battery_w: float | None) -> float | None:
    if grid_w is None or pv_w is None or battery_w is None:
        return None
    load_w = grid_w + pv_w + battery_w
    if load_w >= 0.0:
        return load_w
    # A house cannot consume less than nothing: within the devices' accuracy it is 0, beyond it something is wrong
    # (a sign, a generator nobody measures), and a wrong load is worse than none.
    slack_w = _ROUNDING_W + _ROUNDING_SHARE * max(abs(grid_w), abs(pv_w), abs(battery_w))
    return 0.0 if load_w >= -slack_w else None
