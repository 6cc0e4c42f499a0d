"""Everything flexible in a home: batteries, cars, machines that can wait, tanks. To the program all are one: a storage.

Slots count from the beginning of the horizon; negative ones lie in the past, those past the end after the horizon.
"""

from dataclasses import dataclass

import numpy as np

from agent.planning.problem import Battery, Floats, Storage, battery_storage, untouched

WATER_WH_PER_LITRE_K = 1.163
"""Energy that warms one litre of water by one degree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherBattery:
    """A further battery of the home, beside the one that trading controls."""

    name: str
    battery: Battery
    stored_wh: float

    def storage(self, slots: int, slot_h: float, wear_per_kwh: float, terminal_per_kwh: float) -> Storage:
        """Return the battery as the program knows it."""
        return battery_storage(
            self.name, self.battery, self.stored_wh, slots, wear_per_kwh=wear_per_kwh, terminal_per_kwh=terminal_per_kwh
        )

    def missed(self, missing_wh: float, at: str) -> str:
        """Return nothing to say: a battery has no wishes."""
        return ""


def _at_the_end(count: int, energy_wh: float) -> Floats:
    """Return the wish for this energy after the last of `count` slots, and for none before."""
    wish_wh = np.full(count, -np.inf)
    wish_wh[-1] = energy_wh
    return wish_wh


def _less_than_wished(name: str, wished_wh: float, missing_wh: float, at: str) -> str:
    """Say what a thing gets of its wish by a local time, and what it lacks."""
    got_kwh, wished_kwh = (wished_wh - missing_wh) / 1000, wished_wh / 1000
    return f"{name}: {got_kwh:.1f} of {wished_kwh:.1f} kWh by {at}, {missing_wh:.0f} Wh less than wished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vehicle:
    """One stay of an electric car at home.

    Args:
        arrival: First slot in which it can charge; 0 or less when it is there already.
        departure: The slot before which it must be ready; it may lie past the horizon.
        needed_wh: Energy wanted in it at departure.
        arrival_wh: Energy in it at arrival, or now when it is there already.
        charge_max_w: Highest AC power into it.
        discharge_max_w: Highest AC power out of it; 0 for a car that only charges.
        reserve_wh: It never gives energy below this.
    """

    name: str
    arrival: int
    departure: int
    needed_wh: float
    arrival_wh: float
    capacity_wh: float
    charge_max_w: float
    discharge_max_w: float = 0.0
    efficiency: float = 0.92
    reserve_wh: float = 0.0

    def __post_init__(self) -> None:
        if min(self.needed_wh, self.arrival_wh, self.charge_max_w, self.discharge_max_w, self.reserve_wh) < 0:
            raise ValueError(f"{self.name}: energies and powers cannot be negative")
        if max(self.needed_wh, self.reserve_wh) > self.capacity_wh:
            raise ValueError(f"{self.name}: more is needed or reserved than the battery holds")
        if not 0 < self.efficiency <= 1:
            raise ValueError(f"{self.name}: the efficiency lies in (0, 1]")
        if self.departure <= max(self.arrival, 0):
            raise ValueError(f"{self.name}: the departure must come after the arrival and after now")

    def storage(self, slots: int, slot_h: float, wear_per_kwh: float, terminal_per_kwh: float) -> Storage | None:
        """Return the car as the program knows it, None when it is not there within the horizon.

        A departure past the horizon asks at its end for what could no longer be charged afterwards.
        """
        there = range(max(self.arrival, 0), min(self.departure, slots))
        if not there:
            return None
        count, start_wh = len(there), min(self.arrival_wh, self.capacity_wh)
        later_wh = (self.departure - there.stop) * slot_h * self.charge_max_w * self.efficiency
        floor_wh = np.full(count, min(self.reserve_wh, start_wh))
        return Storage(
            name=self.name,
            slots=there,
            charge_max_w=np.full(count, self.charge_max_w),
            discharge_max_w=np.full(count, self.discharge_max_w),
            floor_wh=floor_wh,
            ceiling_wh=np.full(count, self.capacity_wh),
            drawn_wh=np.zeros(count),
            start_wh=start_wh,
            efficiency_charge=self.efficiency,
            efficiency_discharge=self.efficiency,
            wear_per_kwh=wear_per_kwh / 2 if self.discharge_max_w else 0.0,
            wish_wh=_at_the_end(count, self.needed_wh - later_wh),
        )

    def missed(self, missing_wh: float, at: str) -> str:
        """Return in words what the car does not get; `at` is the local time."""
        return _less_than_wished(self.name, self.needed_wh, missing_wh, at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shiftable:
    """A load that must have its energy by a deadline, and does not mind when.

    Args:
        energy_wh: Still to come.
        earliest: First slot in which it may run.
        deadline: The slot before which it must be done; it may lie past the horizon.
    """

    name: str
    energy_wh: float
    earliest: int
    deadline: int
    power_max_w: float

    def __post_init__(self) -> None:
        if min(self.energy_wh, self.power_max_w) < 0:
            raise ValueError(f"{self.name}: energy and power cannot be negative")
        if self.deadline <= max(self.earliest, 0):
            raise ValueError(f"{self.name}: the deadline must come after the earliest start and after now")

    def storage(self, slots: int, slot_h: float, wear_per_kwh: float, terminal_per_kwh: float) -> Storage | None:
        """Return the load as the program knows it, None when it is not due within the horizon."""
        there = range(max(self.earliest, 0), min(self.deadline, slots))
        if not there:
            return None
        count = len(there)
        later_wh = (self.deadline - there.stop) * slot_h * self.power_max_w
        return Storage(
            name=self.name,
            slots=there,
            charge_max_w=np.full(count, self.power_max_w),
            discharge_max_w=np.zeros(count),
            floor_wh=np.zeros(count),
            ceiling_wh=np.full(count, self.energy_wh),
            drawn_wh=np.zeros(count),
            start_wh=0.0,
            wish_wh=_at_the_end(count, self.energy_wh - later_wh),
        )

    def missed(self, missing_wh: float, at: str) -> str:
        """Return in words what the load does not get; `at` is the local time."""
        return _less_than_wished(self.name, self.energy_wh, missing_wh, at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tank:
    """A tank that an electric heater or a heat pump keeps within a band. Energies are above the surroundings.

    Args:
        stored_wh: Heat in it now.
        floor_wh: Heat that it should always hold.
        ceiling_wh: Heat that it may hold.
        heater_max_w: Electric power.
        cop: Heat per electric energy.
        loss_per_h: Share of the heat that is lost in an hour.
        drawn_wh: Heat taken in each slot of the horizon, shape (n,), or None.
        wh_per_k: Heat of one degree, where the band is known as temperatures.
        surroundings_c: Temperature at which the tank holds nothing.
    """

    name: str
    stored_wh: float
    floor_wh: float
    ceiling_wh: float
    heater_max_w: float
    cop: float = 1.0
    loss_per_h: float = 0.0
    drawn_wh: Floats | None = None
    wh_per_k: float | None = None
    surroundings_c: float = 20.0

    def __post_init__(self) -> None:
        if self.heater_max_w < 0 or self.cop <= 0 or not 0 <= self.loss_per_h < 1:
            raise ValueError(f"{self.name}: heater power >= 0, COP > 0 and a loss in [0, 1) per hour are needed")
        if self.floor_wh > self.ceiling_wh:
            raise ValueError(f"{self.name}: the lower end of the band lies above the upper end")

    @classmethod
    def of_water(
        cls,
        *,
        name: str,
        litres: float,
        temperature_c: float,
        lowest_c: float,
        highest_c: float,
        heater_max_w: float,
        cop: float = 1.0,
        loss_per_h: float = 0.0,
        drawn_wh: Floats | None = None,
        surroundings_c: float = 20.0,
    ) -> "Tank":
        """Return a hot water tank by its temperatures; what is mixed counts as one temperature."""
        wh_per_k = WATER_WH_PER_LITRE_K * litres

        def heat_wh(celsius: float) -> float:
            return wh_per_k * (celsius - surroundings_c)

        return cls(
            name=name,
            stored_wh=heat_wh(temperature_c),
            floor_wh=heat_wh(lowest_c),
            ceiling_wh=heat_wh(highest_c),
            heater_max_w=heater_max_w,
            cop=cop,
            loss_per_h=loss_per_h,
            drawn_wh=drawn_wh,
            wh_per_k=wh_per_k,
            surroundings_c=surroundings_c,
        )

    def storage(self, slots: int, slot_h: float, wear_per_kwh: float, terminal_per_kwh: float) -> Storage:
        """Return the tank as the program knows it. One that is too hot may cool down by itself."""
        keeps = (1 - self.loss_per_h) ** slot_h
        drawn_wh = np.zeros(slots) if self.drawn_wh is None else self.drawn_wh
        if drawn_wh.shape != (slots,):
            raise ValueError(f"{self.name}: the heat drawn must be given for every slot of the horizon")
        return Storage(
            name=self.name,
            slots=range(slots),
            charge_max_w=np.full(slots, self.heater_max_w),
            discharge_max_w=np.zeros(slots),
            floor_wh=np.full(slots, -np.inf),
            ceiling_wh=np.maximum(self.ceiling_wh, untouched(self.stored_wh, keeps, drawn_wh)),
            start_wh=self.stored_wh,
            efficiency_charge=self.cop,
            keeps=keeps,
            drawn_wh=drawn_wh,
            left_per_kwh=terminal_per_kwh / self.cop,
            wish_wh=np.full(slots, self.floor_wh),
        )

    def missed(self, missing_wh: float, at: str) -> str:
        """Return in words how far the tank falls below its band; `at` is the local time of the worst."""
        if self.wh_per_k is None:
            return f"{self.name}: {missing_wh:.0f} Wh below its band at {at}"
        lowest_c = self.surroundings_c + self.floor_wh / self.wh_per_k
        return f"{self.name}: {lowest_c - missing_wh / self.wh_per_k:.1f} instead of {lowest_c:.1f} °C at {at}"
