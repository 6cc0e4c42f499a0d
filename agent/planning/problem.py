"""What a home knows when it plans: devices, forecasts, tariff. Plain data in W, Wh and currency per kWh."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WEAR_PER_KWH = 0.01
"""Default wear of a battery, in currency per kWh that goes in and comes out again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Battery:
    """A battery seen from its AC side.

    Args:
        charge_max_w: Highest AC power into the battery.
        discharge_max_w: Highest AC power out of it.
        efficiency_charge: Stored Wh per AC Wh taken, in (0, 1].
        efficiency_discharge: AC Wh given per stored Wh, in (0, 1].
        reserve_wh: Stored energy that planning leaves untouched.
    """

    capacity_wh: float
    charge_max_w: float
    discharge_max_w: float
    efficiency_charge: float = 0.95
    efficiency_discharge: float = 0.95
    reserve_wh: float = 0.0

    def __post_init__(self) -> None:
        if min(self.capacity_wh, self.charge_max_w, self.discharge_max_w, self.reserve_wh) < 0:
            raise ValueError("a battery's capacity, powers and reserve cannot be negative")
        if not (0 < self.efficiency_charge <= 1 and 0 < self.efficiency_discharge <= 1):
            raise ValueError("a battery's efficiencies lie in (0, 1]")
        if self.reserve_wh > self.capacity_wh:
            raise ValueError("a battery's reserve cannot exceed its capacity")


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeProblem:
    """One home's horizon. All arrays have shape (n,), one entry per slot.

    Args:
        slot_h: Length of a slot in hours.
        load_w: Expected consumption; negative values count as 0.
        pv_w: Expected generation; negative values count as 0.
        import_per_kwh: Price of energy from the grid, at least `export_per_kwh` in every slot.
        export_per_kwh: Price paid for energy into the grid.
        battery: None for a home without one.
        stored_wh: Energy in the battery now; clipped to what the battery can hold.
        connection_max_w: Limit of the physical grid power in both directions. A home whose load alone exceeds it still
            plans; its battery then never makes matters worse.
        wear_per_kwh: Wear of the battery per kWh through it: half is counted on the way in, half on the way out.
        terminal_per_kwh: Price at which energy left at the end counts, before discharge losses.
        surprises: What the first slot's net load may differ by from its forecast: (probability, W) pairs, + uses more.
            Their mean counts as 0. Empty plans as if the forecast were true.

    Raises:
        ValueError: If shapes differ, a value is not finite, or an export price exceeds its import price.
    """

    slot_h: float
    load_w: Floats
    pv_w: Floats
    import_per_kwh: Floats
    export_per_kwh: Floats
    battery: Battery | None = None
    stored_wh: float = 0.0
    connection_max_w: float = float("inf")
    wear_per_kwh: float = WEAR_PER_KWH
    terminal_per_kwh: float = 0.0
    surprises: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        arrays = (self.load_w, self.pv_w, self.import_per_kwh, self.export_per_kwh)
        if len({array.shape for array in arrays}) != 1 or self.load_w.ndim != 1 or not self.load_w.size:
            raise ValueError("load, pv and prices must be arrays of one common, non-zero length")
        if not all(np.isfinite(array).all() for array in arrays) or not np.isfinite(self.stored_wh):
            raise ValueError("load, pv, prices and stored energy must be finite numbers")
        if (self.export_per_kwh > self.import_per_kwh).any():
            raise ValueError("an export price above the import price lets a home earn by doing nothing: not planned")
        if self.surprises:
            total = sum(share for share, _ in self.surprises)
            mean_w = sum(share * watts for share, watts in self.surprises) / total
            centred = tuple((share / total, watts - mean_w) for share, watts in self.surprises)
            object.__setattr__(self, "surprises", centred)
        object.__setattr__(self, "load_w", np.maximum(self.load_w, 0.0))
        object.__setattr__(self, "pv_w", np.maximum(self.pv_w, 0.0))

    @property
    def slots(self) -> int:
        return int(self.load_w.size)

    @property
    def start_wh(self) -> float:
        """The stored energy, clipped to [0, capacity]; 0 without a battery."""
        return 0.0 if self.battery is None else float(np.clip(self.stored_wh, 0.0, self.battery.capacity_wh))

    @property
    def floor_wh(self) -> float:
        """The lowest energy the plan may reach: the reserve, or what is there when that is already less."""
        return 0.0 if self.battery is None else min(self.battery.reserve_wh, self.start_wh)


def terminal_price(import_per_kwh: Floats) -> float:
    """Return the price of energy left at a period's end: the mean of the cheapest quarter of its import prices."""
    count = max(1, round(import_per_kwh.size / 4))
    return float(np.sort(import_per_kwh)[:count].mean())
