"""What people say of their cars, machines and tanks, in TOML: the same every day, in local time.

vehicles = [{ name = "car", capacity_kwh = 40, charge_kw = 11, arrives = "18:00", leaves = "07:00",
              arrives_with_kwh = 15, needed_kwh = 25 }]
shiftables = [{ name = "laundry", energy_kwh = 2, power_kw = 2, from = "09:00", to = "17:00" }]
tanks = [{ name = "hot water", litres = 200, heater_kw = 2, lowest_c = 45, highest_c = 60 }]
"""

from datetime import time
from typing import Annotated, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from agent.simulator.settings import Section

Name = Annotated[str, Field(min_length=1, max_length=32)]


def _clock_time(text: str) -> str:
    try:
        at = time.fromisoformat(text)
    except ValueError:
        raise ValueError("write a time of day like 18:00") from None
    if at.tzinfo is not None or at.second or at.microsecond:
        raise ValueError("write a time of day like 18:00, local and in whole minutes")
    return text


ClockTime = Annotated[str, AfterValidator(_clock_time)]


class VehicleSettings(Section):
    """An electric car and its usual stay at home."""

    name: Name
    capacity_kwh: float = Field(gt=0)
    charge_kw: float = Field(gt=0)
    discharge_kw: float = Field(default=0.0, ge=0)
    """Above 0 for a car that can give energy back."""
    efficiency: float = Field(default=0.92, gt=0, le=1)
    """One way."""
    arrives: ClockTime
    leaves: ClockTime
    arrives_with_kwh: float = Field(ge=0)
    needed_kwh: float = Field(ge=0)
    reserve_kwh: float = Field(default=0.0, ge=0)
    """It never gives energy below this."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if max(self.needed_kwh, self.arrives_with_kwh, self.reserve_kwh) > self.capacity_kwh:
            raise ValueError("needed_kwh, arrives_with_kwh and reserve_kwh must not exceed capacity_kwh")
        if self.arrives == self.leaves:
            raise ValueError("arrives and leaves are the same time")
        return self


class ShiftableSettings(Section):
    """A load that must have its energy once a day within a window."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    name: Name
    energy_kwh: float = Field(gt=0)
    power_kw: float = Field(gt=0)
    earliest: ClockTime = Field(alias="from")
    deadline: ClockTime = Field(alias="to")

    @model_validator(mode="after")
    def _has_a_window(self) -> Self:
        if self.earliest == self.deadline:
            raise ValueError("from and to are the same time")
        return self


class TankSettings(Section):
    """A hot water tank."""

    name: Name
    litres: float = Field(gt=0)
    heater_kw: float = Field(gt=0)
    """Electric power."""
    cop: float = Field(default=1.0, gt=0)
    lowest_c: float
    highest_c: float
    initial_c: float | None = None
    """Without it, the middle of the band."""
    surroundings_c: float = 20.0
    loss_pct_per_day: float = Field(default=15.0, ge=0, lt=100)
    """Of the heat above the surroundings."""
    drawn_kwh_per_day: float = Field(default=0.0, ge=0)
    """Heat taken, in equal parts at the times of `drawn_at`."""
    drawn_at: tuple[ClockTime, ...] = ("07:00", "19:00")

    @model_validator(mode="after")
    def _has_a_band(self) -> Self:
        if self.lowest_c >= self.highest_c:
            raise ValueError("lowest_c must lie below highest_c")
        if self.drawn_kwh_per_day and not self.drawn_at:
            raise ValueError("drawn_at must name a time when heat is drawn")
        return self


class Wishes(Section):
    """Base of a home's settings: its flexible things, none by default."""

    vehicles: tuple[VehicleSettings, ...] = ()
    shiftables: tuple[ShiftableSettings, ...] = ()
    tanks: tuple[TankSettings, ...] = ()

    @model_validator(mode="after")
    def _names_of_things_differ(self) -> Self:
        things: tuple[VehicleSettings | ShiftableSettings | TankSettings, ...]
        things = (*self.vehicles, *self.shiftables, *self.tanks)
        names = ["battery", *(thing.name for thing in things)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two things of the home are called {twice[0]}: give each its own name")
        return self


NO_WISHES = Wishes()
