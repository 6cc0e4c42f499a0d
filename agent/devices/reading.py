"""What one device said, and the home at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Quality = Literal["valid", "doubtful", "stale", "absent"]
"""`absent`: nobody knows. `stale`: too old. `doubtful`: read, and contradicted by something else. Only valid values
may drive a plan or a setpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSample:
    """What one device said in one poll.

    Attributes:
        name: The device's name in the home.
        at: Middle of the poll, UTC.
        monotonic_s: Beginning of the poll on the clock that never jumps. Its age counts from here: a program that stood
            still in the middle of a poll must not take the answers for fresh ones.
        values: By point name, in the point's unit and the house's sign; None is absent (a sentinel, out of range, or
            not in this device).
        doubtful: Why a value must not be acted upon, by name.
        asleep: Whether the device sleeps: a PV inverter at night that faded out before it fell silent.
    """

    name: str
    at: datetime
    monotonic_s: float
    values: Mapping[str, float | None]
    doubtful: Mapping[str, str] = field(default_factory=dict)
    asleep: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeReading:
    """The home's powers and counters; + flows into the house bus, `load_w == grid_w + pv_w + battery_w`.

    A value that is not known is None, never 0. A home without PV has `pv_w == 0`, one without a battery
    `battery_w == 0` and no `soc_pct`.

    Attributes:
        at: Moment of the meter's sample (of the combination while there is none), UTC.
        monotonic_s: When the parts were combined, on the clock that never jumps.
        import_wh: The meter's counter of energy from the grid.
        export_wh: The meter's counter of energy into the grid.
        quality: The worst of the powers and a battery's charge: `absent` when one is unknown, `stale` when one is too
            old to act upon, `doubtful` when one is contradicted, else `valid`.
        missing: Names of the values that are not valid, counters included.
    """

    at: datetime
    monotonic_s: float
    grid_w: float | None
    pv_w: float | None
    battery_w: float | None
    load_w: float | None
    soc_pct: float | None
    import_wh: float | None
    export_wh: float | None
    quality: Quality
    missing: tuple[str, ...]
