"""A community folder: `community.toml`, the homes' traces and the tariff files, checked as a whole."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from agent.simulator.profile import HistoryRow
from agent.simulator.settings import BatterySettings, Section, known_zone
from agent.simulator.trace import Trace, read_trace
from agent.simulator.wishes import NO_WISHES, Wishes
from coordinator.errors import ConfigError
from coordinator.toml_file import read_toml

FILE = "community.toml"
_VOLT = 230.0
"""Between a phase and neutral."""


def fuse_w(fuse_a: float) -> float:
    """Return what three phases behind a main fuse carry."""
    return 3 * _VOLT * fuse_a


class HomeEntry(Wishes):
    """One `[[homes]]` of community.toml; files are named relative to the folder.

    Cars, loads that can wait and tanks are optional lists `vehicles`, `shiftables` and `tanks`, see
    `agent.simulator.wishes`; the trace's load does not contain them.
    """

    name: str = Field(min_length=1, max_length=32)
    trace: Path
    tariff: Path | None = None
    battery: BatterySettings | None = None
    pv_kwp: float | None = Field(default=None, ge=0)
    fuse_a: float | None = Field(default=None, gt=0)


class CommunityFile(Section):
    """community.toml as it is written."""

    name: str = Field(min_length=1)
    timezone: str
    slot_minutes: int = Field(ge=1, le=1440)
    currency: str = Field(min_length=1)
    tariff: Path
    weather: Path | None = None
    carbon: Path | None = None
    country: str | None = None
    latitude: float | None = Field(default=None, ge=-90, le=90)
    longitude: float | None = Field(default=None, ge=-180, le=180)
    homes: tuple[HomeEntry, ...] = Field(min_length=1)

    _zone = field_validator("timezone")(known_zone)

    @field_validator("slot_minutes")
    @classmethod
    def _divides_a_day(cls, minutes: int) -> int:
        if 1440 % minutes:
            raise ValueError("slots must divide a day evenly: use 5, 10, 15, 30 or 60 minutes")
        return minutes

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [home.name for home in self.homes]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two homes are called {twice[0]}: give each home its own name")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class CommunityHome:
    """One home: its record on the community's slot grid and what stands in it. None is not told."""

    name: str
    trace_path: Path
    trace: Trace
    tariff_path: Path
    battery: BatterySettings | None
    pv_kwp: float | None
    fuse_a: float | None
    wishes: Wishes = NO_WISHES

    @property
    def load_w(self) -> NDArray[np.float64]:
        """Mean load per slot, shape (slots,) [W]; NaN = missing."""
        return self.trace.load_w

    @property
    def pv_w(self) -> NDArray[np.float64]:
        """Mean generation per slot, shape (slots,) [W]; NaN = missing."""
        return self.trace.pv_w

    @property
    def pv_limit_w(self) -> float | None:
        """Installed PV power, if it is told."""
        return None if self.pv_kwp is None else 1000 * self.pv_kwp

    @property
    def fuse_limit_w(self) -> float:
        """Most that the connection carries; infinite where it is not told."""
        return float("inf") if self.fuse_a is None else fuse_w(self.fuse_a)

    @property
    def has_pv(self) -> bool:
        return bool(np.nanmax(self.pv_w, initial=0.0) > 0)

    def history_rows(self, start_at: datetime, slots: int) -> list[HistoryRow]:
        """Return the record of `slots` slots from `start_at` on."""
        return self.trace.history_rows(start_at, slots)


@dataclass(frozen=True, slots=True, kw_only=True)
class Community:
    """A community folder, loaded. Every home's arrays cover the same `slots` slots from `start_at` on."""

    name: str
    timezone: ZoneInfo
    slot_s: int
    currency: str
    start_at: datetime
    slots: int
    tariff_path: Path
    homes: tuple[CommunityHome, ...]
    weather_path: Path | None
    carbon_path: Path | None
    country: str | None
    latitude: float | None
    longitude: float | None


def load_community(folder: Path) -> Community:
    """Load a community folder.

    Raises:
        ConfigError: If a file is missing or wrong; the text names file, key or line, cause and cure.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder: a community folder holds {FILE}, homes/ and a tariff file")
    path = folder / FILE
    file = read_toml(path, CommunityFile)
    slot_s = 60 * file.slot_minutes
    traces = [read_trace(folder / home.trace, slot_s) for home in file.homes]
    start_at = min(trace.start_at for trace in traces)
    slots = int((max(trace.end_at for trace in traces) - start_at).total_seconds()) // slot_s
    return Community(
        name=file.name,
        timezone=ZoneInfo(file.timezone),
        slot_s=slot_s,
        currency=file.currency,
        start_at=start_at,
        slots=slots,
        tariff_path=_existing(folder, file.tariff, path, "tariff"),
        homes=tuple(
            CommunityHome(
                name=home.name,
                trace_path=folder / home.trace,
                trace=trace.on_grid(start_at, slots),
                tariff_path=_existing(folder, home.tariff or file.tariff, path, f"homes.{home.name}.tariff"),
                battery=home.battery,
                pv_kwp=home.pv_kwp,
                fuse_a=home.fuse_a,
                wishes=Wishes(vehicles=home.vehicles, shiftables=home.shiftables, tanks=home.tanks),
            )
            for home, trace in zip(file.homes, traces, strict=True)
        ),
        weather_path=_existing(folder, file.weather, path, "weather") if file.weather else None,
        carbon_path=_existing(folder, file.carbon, path, "carbon") if file.carbon else None,
        country=file.country,
        latitude=file.latitude,
        longitude=file.longitude,
    )


def _existing(folder: Path, name: Path, path: Path, key: str) -> Path:
    if not (folder / name).is_file():
        raise ConfigError(f"{path}: {key}: no file {folder / name}: correct the name, or put the file there")
    return folder / name
