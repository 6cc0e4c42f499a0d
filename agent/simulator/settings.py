"""What the owner of simulated homes may say, in TOML. Wrong keys and values are refused by name."""

import os
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator

from agent.simulator.generator import GeneratedHome
from agent.simulator.plant import Battery, Counters
from agent.simulator.trace import TraceHome, read_trace
from coordinator.clock import Clock, Pace, PacedClock, ScaledClock, WallClock

Port = Annotated[int, Field(ge=0, le=65_535)]
Unit = Annotated[int, Field(ge=1, le=247)]


class Section(BaseModel):
    """Base of every section: frozen, and unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def known_zone(name: str) -> str:
    """Return the name of a time zone, or refuse it (a pydantic validator)."""
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError) as error:
        raise ValueError("unknown time zone: write it like Europe/Berlin") from error
    return name


class BatterySettings(Section):
    """A battery as its owner knows it. The round trip efficiency is split evenly between the two ways."""

    capacity_kwh: float = Field(gt=0)
    charge_kw: float = Field(ge=0)
    discharge_kw: float = Field(ge=0)
    round_trip_efficiency: float = Field(default=0.9, gt=0, le=1)
    initial_soc_pct: float = Field(default=50.0, ge=0, le=100)

    def battery(self, lag_s: float = 2.0) -> Battery:
        """Return the physical battery."""
        one_way = self.round_trip_efficiency**0.5
        return Battery(
            capacity_wh=1000 * self.capacity_kwh,
            charge_w=1000 * self.charge_kw,
            discharge_w=1000 * self.discharge_kw,
            efficiency_charge=one_way,
            efficiency_discharge=one_way,
            lag_s=lag_s,
        )


class GateSettings(Section):
    """A gate at which simulated time waits: a file that does not exist, then holds the pace, and the one to come."""

    file: Path
    wait_at: AwareDatetime

    def paces(self) -> list[Pace]:
        """Return the paces known, oldest first; none while time waits."""
        try:
            lines = self.file.read_text(encoding="ascii").splitlines()
        except FileNotFoundError:
            return []
        return [self._pace(line) for line in lines]

    def _pace(self, line: str) -> Pace:
        try:
            wall, at, speed = line.split()
            return Pace(wall_at=datetime.fromisoformat(wall), at=datetime.fromisoformat(at), speed=float(speed))
        except ValueError:
            raise ValueError(f"{self.file}: {line!r} is no pace of a clock") from None

    def set_pace(self, pace: Pace) -> None:
        """Let time go at this pace, or change it: in one step for whoever looks."""
        lines = [f"{p.wall_at.isoformat()} {p.at.isoformat()} {p.speed}" for p in [*self.paces()[-1:], pace]]
        beside = self.file.with_name(self.file.name + ".new")
        beside.write_text("\n".join(lines), encoding="ascii")
        os.replace(beside, self.file)


class ClockSettings(Section):
    """It was `start_at` when the wall showed `anchor_at`; since then time runs `speed` times as fast.

    With a gate, time runs at wall speed until it is let go, and then as fast as the gate says.
    """

    start_at: AwareDatetime
    anchor_at: AwareDatetime
    speed: float = Field(gt=0)
    gate: GateSettings | None = None

    def clock(self) -> Clock:
        """Return the clock; processes with the same values share it."""
        return ScaledClock(self.start_at, self.anchor_at, self.speed) if self.gate is None else self.paced()

    def paced(self) -> PacedClock:
        """Return the clock with a gate."""
        assert self.gate is not None
        gate = self.gate
        return PacedClock(self.start_at, self.anchor_at, self.speed, wait_at=gate.wait_at, ask=gate.paces)


class GeneratorSettings(Section):
    """A home made up from a seed. Neighbours have different seeds and the same weather_seed and place."""

    kind: Literal["generator"] = "generator"
    seed: int = 1
    weather_seed: int = 1
    timezone: str = "Europe/Berlin"
    latitude: float = Field(default=52.5, ge=-90, le=90)
    longitude: float = Field(default=13.4, ge=-180, le=180)
    pv_kwp: float = Field(default=0.0, ge=0)
    load_scale: float = Field(default=1.0, gt=0)

    _zone = field_validator("timezone")(known_zone)

    def profile(self) -> GeneratedHome:
        """Return the home's life."""
        return GeneratedHome(
            seed=self.seed,
            weather_seed=self.weather_seed,
            timezone=ZoneInfo(self.timezone),
            latitude=self.latitude,
            longitude=self.longitude,
            pv_kwp=self.pv_kwp,
            load_scale=self.load_scale,
        )


class TraceSettings(Section):
    """A recorded home: a file `time_utc, load_w, pv_w`."""

    kind: Literal["trace"]
    file: Path
    slot_minutes: int = Field(default=15, ge=1, le=1440)

    def profile(self) -> TraceHome:
        """Return the home's life.

        Raises:
            ConfigError: If the file cannot be used.
        """
        return TraceHome(read_trace(self.file, 60 * self.slot_minutes))


class CounterSettings(Section):
    """What the meters have counted when the simulation begins: no real meter is new."""

    import_kwh: float = Field(default=1204.6, ge=0)
    export_kwh: float = Field(default=318.2, ge=0)
    inverter_kwh: float = Field(default=2410.0, gt=0)

    def counters(self) -> Counters:
        """Return the plant's counters; those that no register shows start at 0."""
        return Counters(
            import_wh=1000 * self.import_kwh, export_wh=1000 * self.export_kwh, inverter_wh=1000 * self.inverter_kwh
        )


class HomeSettings(Section):
    """One simulated home. Port 0 takes any free one; equal ports put both units behind one server."""

    name: str = Field(default="home-1", min_length=1, max_length=32)
    host: str = "127.0.0.1"
    inverter_port: Port = 0
    inverter_unit: Unit = 1
    meter_port: Port = 0
    meter_unit: Unit = 1
    state_file: Path | None = None
    plant: Annotated[GeneratorSettings | TraceSettings, Field(discriminator="kind")] = GeneratorSettings()
    battery: BatterySettings | None = None
    battery_lag_s: float = Field(default=2.0, ge=0)
    counters: CounterSettings = CounterSettings()

    @model_validator(mode="after")
    def _units_differ_on_one_port(self) -> Self:
        if self.shares_a_port and self.inverter_unit == self.meter_unit:
            raise ValueError(
                f"inverter and meter share port {self.meter_port} and unit {self.meter_unit}: "
                "give one of them another unit or port"
            )
        return self

    @property
    def shares_a_port(self) -> bool:
        return self.inverter_port == self.meter_port != 0


class SimulatorSettings(Section):
    """All of `commonwatt simulator`'s file: a clock (real time when absent) and the homes."""

    clock: ClockSettings | None = None
    homes: tuple[HomeSettings, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _homes_differ(self) -> Self:
        names = [home.name for home in self.homes]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two homes are called {twice[0]}: give each home its own name")
        files = [home.state_file for home in self.homes if home.state_file]
        if len(set(files)) < len(files):
            raise ValueError("two homes keep their state in the same file: give each home its own state_file")
        return self

    def make_clock(self) -> Clock:
        """Return the clock all homes live by."""
        return self.clock.clock() if self.clock else WallClock()


def default_settings() -> SimulatorSettings:
    """Return one home with PV and battery in real time: something to point an agent at."""
    home = HomeSettings(
        inverter_port=5020,
        meter_port=5021,
        plant=GeneratorSettings(pv_kwp=6.0),
        battery=BatterySettings(capacity_kwh=10.0, charge_kw=5.0, discharge_kw=5.0),
    )
    return SimulatorSettings(homes=(home,))
