"""What a home knows when it plans: devices, forecasts, tariff. Plain data in W, Wh and currency per kWh."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

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
        max_wh: The owner lets it be filled so far.
    """

    capacity_wh: float
    charge_max_w: float
    discharge_max_w: float
    efficiency_charge: float = 0.95
    efficiency_discharge: float = 0.95
    reserve_wh: float = 0.0
    max_wh: float = float("inf")

    @property
    def full_wh(self) -> float:
        """Stored energy up to which it may be charged."""
        return min(self.capacity_wh, self.max_wh)

    def __post_init__(self) -> None:
        if min(self.capacity_wh, self.charge_max_w, self.discharge_max_w, self.reserve_wh) < 0:
            raise ValueError("a battery's capacity, powers and reserve cannot be negative")
        if not (0 < self.efficiency_charge <= 1 and 0 < self.efficiency_discharge <= 1):
            raise ValueError("a battery's efficiencies lie in (0, 1]")
        if self.reserve_wh > self.full_wh:
            raise ValueError("a battery's reserve cannot exceed its capacity, nor what it may be filled to")


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """What the program knows of a flexible thing. Arrays have one entry per slot of `slots`.

    Args:
        slots: When it is there, within the horizon; from its end on nothing moves.
        floor_wh: Lowest energy at each slot's end, at most what is there when nothing is done.
        wish_wh: Energy wanted at each slot's end; it gives way when it cannot be had. -inf where nothing is wished.
        ceiling_wh: Highest energy at each slot's end.
        start_wh: Energy when the first slot begins.
        keeps: Share of the stored energy that a slot leaves, in (0, 1].
        drawn_wh: Energy taken out in each slot, whatever the plan is.
        wear_per_kwh: Per AC kWh, in either direction.
        left_per_kwh: Value of a stored kWh when the last slot ends.
    """

    name: str
    slots: range
    charge_max_w: Floats
    discharge_max_w: Floats
    floor_wh: Floats
    ceiling_wh: Floats
    start_wh: float
    efficiency_charge: float = 1.0
    efficiency_discharge: float = 1.0
    keeps: float = 1.0
    drawn_wh: Floats
    wear_per_kwh: float = 0.0
    left_per_kwh: float = 0.0
    wish_wh: Floats | None = None

    @property
    def gives(self) -> bool:
        """Whether it can give energy back."""
        return bool(self.discharge_max_w.any())

    def bounds_wh(self) -> tuple[Floats, tuple[int, ...]]:
        """Return the lowest energy at each slot's end, and the indices of the wishes that may have to give way."""
        if self.wish_wh is None:
            return self.floor_wh, ()
        sure = self.wish_wh <= untouched(self.start_wh, self.keeps, self.drawn_wh)
        low_wh = np.where(sure, np.maximum(self.wish_wh, self.floor_wh), self.floor_wh)
        return low_wh, tuple(int(i) for i in np.flatnonzero(~sure))


def untouched(start_wh: float, keeps: float, drawn_wh: Floats) -> Floats:
    """Return a storage's energy at each slot's end when nothing is added; shape of `drawn_wh`."""
    path_wh, stored_wh = np.empty(drawn_wh.size), start_wh
    for t, drawn in enumerate(drawn_wh):
        stored_wh = keeps * stored_wh - float(drawn)
        path_wh[t] = stored_wh
    return path_wh


def battery_storage(
    name: str, battery: Battery, stored_wh: float, slots: int, *, wear_per_kwh: float, terminal_per_kwh: float
) -> Storage:
    """Return a battery as a storage; its stored energy is clipped to what it can hold."""
    start_wh = float(np.clip(stored_wh, 0.0, battery.capacity_wh))
    return Storage(
        name=name,
        slots=range(slots),
        charge_max_w=np.full(slots, battery.charge_max_w),
        discharge_max_w=np.full(slots, battery.discharge_max_w),
        floor_wh=np.full(slots, min(battery.reserve_wh, start_wh)),
        ceiling_wh=np.full(slots, max(battery.full_wh, start_wh)),
        drawn_wh=np.zeros(slots),
        start_wh=start_wh,
        efficiency_charge=battery.efficiency_charge,
        efficiency_discharge=battery.efficiency_discharge,
        wear_per_kwh=wear_per_kwh / 2,
        left_per_kwh=terminal_per_kwh * battery.efficiency_discharge,
    )


class Flexible(Protocol):
    """Something that can wait or give back: `agent.planning.flexible` has a car, a load, a tank, a further battery."""

    @property
    def name(self) -> str: ...

    def storage(self, slots: int, slot_h: float, wear_per_kwh: float, terminal_per_kwh: float) -> Storage | None:
        """Return what the program knows of it, None when it plays no part within the horizon."""
        ...

    def missed(self, missing_wh: float, at: str) -> str:
        """Return in words what it does not get; `at` is a local time."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Island:
    """The grid is lost: nothing comes from it, nothing goes into it, and load may stay unserved.

    The cost of a kWh that is not served rises with the unserved share of its part of the load, so that at one price
    every home leaves the same share of its load unserved, and critical load only after all normal load everywhere.
    Homes share scarce energy evenly only when all of them use the same prices.

    Args:
        critical_w: The part of the load that comes first, per slot; at most the load.
        normal_per_kwh: Cost of the first and of the last unserved kWh of the rest.
        critical_per_kwh: The same for the critical part.
    """

    critical_w: Floats
    normal_per_kwh: tuple[float, float] = (0.4, 0.8)
    critical_per_kwh: tuple[float, float] = (0.9, 1.3)

    def __post_init__(self) -> None:
        steps = (*self.normal_per_kwh, *self.critical_per_kwh)
        if list(steps) != sorted(set(steps)) or steps[0] <= 0:
            raise ValueError("the cost of unserved energy must rise, from above 0: normal, then critical load")


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
        flexible: What else can wait or give back. `load_w` does not contain it.
        island: Set while the grid is lost; prices of the grid and its connection limit do not count then, except that
            the limit still bounds what goes through the connection to neighbours.

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
    flexible: tuple[Flexible, ...] = ()
    island: Island | None = None

    def __post_init__(self) -> None:
        arrays = (self.load_w, self.pv_w, self.import_per_kwh, self.export_per_kwh)
        if len({array.shape for array in arrays}) != 1 or self.load_w.ndim != 1 or not self.load_w.size:
            raise ValueError("load, pv and prices must be arrays of one common, non-zero length")
        if not all(np.isfinite(array).all() for array in arrays) or not np.isfinite(self.stored_wh):
            raise ValueError("load, pv, prices and stored energy must be finite numbers")
        if (self.export_per_kwh > self.import_per_kwh).any():
            raise ValueError("an export price above the import price lets a home earn by doing nothing: not planned")
        if len({"battery", *(thing.name for thing in self.flexible)}) != len(self.flexible) + 1:
            raise ValueError("two flexible things of a home share one name, or one is called battery")
        if self.island is not None and self.island.critical_w.shape != self.load_w.shape:
            raise ValueError("the critical load must be given for every slot")
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

    @property
    def critical_w(self) -> Floats:
        """The part of the load that an island serves first; all zero while there is a grid."""
        return np.zeros(self.slots) if self.island is None else np.clip(self.island.critical_w, 0.0, self.load_w)

    def storages(self) -> tuple[Storage, ...]:
        """Return the battery (first, where there is one) and the flexible things that play a part in the horizon."""
        values = {"wear_per_kwh": self.wear_per_kwh, "terminal_per_kwh": self.terminal_per_kwh}
        own = (
            []
            if self.battery is None
            else [battery_storage("battery", self.battery, self.stored_wh, self.slots, **values)]
        )
        others = (thing.storage(self.slots, self.slot_h, **values) for thing in self.flexible)
        return (*own, *(storage for storage in others if storage is not None))


def power_limits_w(storages: Iterable[Storage], slots: int) -> tuple[Floats, Floats]:
    """Return the most that storages together can take and give, per slot of the horizon."""
    charge_w, discharge_w = np.zeros(slots), np.zeros(slots)
    for storage in storages:
        there = slice(storage.slots.start, storage.slots.stop)
        charge_w[there] += storage.charge_max_w
        discharge_w[there] += storage.discharge_max_w
    return charge_w, discharge_w


def terminal_price(import_per_kwh: Floats) -> float:
    """Return the price of energy left at a period's end: the mean of the cheapest quarter of its import prices."""
    count = max(1, round(import_per_kwh.size / 4))
    return float(np.sort(import_per_kwh)[:count].mean())
