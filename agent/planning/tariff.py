"""What the grid charges and pays, per slot: exact micro-units for contracts, floats for planning."""

from collections.abc import Mapping
from datetime import datetime, time, tzinfo
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from agent.planning.problem import Floats
from agent.planning.tariff_file import read_tariff
from agent.planning.tariff_live import GrowingRates
from coordinator.errors import ConfigError
from coordinator.quantities import from_micro, round_ratio, to_micro
from coordinator.slots import Slot

_GRID_MIN = 5
"""Periods begin and end on multiples of this many minutes; a slot's price is the mean over its five-minute steps."""


class FixedTariff(BaseModel):
    """One price for all times."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    import_per_kwh: float
    export_per_kwh: float


class Period(BaseModel):
    """A part of every local day. `to` is exclusive; it may lie past midnight ("22:00" to "06:00")."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    start: str = Field(alias="from")
    to: str
    import_per_kwh: float

    @field_validator("start", "to")
    @classmethod
    def _clock_time(cls, text: str) -> str:
        if _minute(text) % _GRID_MIN:
            raise ValueError(f"{text}: periods begin and end on multiples of {_GRID_MIN} minutes")
        return text

    def minutes(self) -> range | tuple[int, ...]:
        """Return the minutes of the day, in steps of the grid, that the period covers."""
        start, end = _minute(self.start), _minute(self.to)
        if end <= start:
            return (*range(start, 1440, _GRID_MIN), *range(0, end, _GRID_MIN))
        return range(start, end, _GRID_MIN)


def _minute(text: str) -> int:
    if text == "24:00":
        return 1440
    try:
        at = time.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time of day: write it as 06:00") from None
    return at.hour * 60 + at.minute


class TariffSettings(BaseModel):
    """The owner's tariff: exactly one of `fixed`, `time_of_use` (with `export_per_kwh`) or `file`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fixed: FixedTariff | None = None
    time_of_use: tuple[Period, ...] | None = None
    export_per_kwh: float | None = None
    file: Path | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "TariffSettings":
        kinds = [name for name in ("fixed", "time_of_use", "file") if getattr(self, name) is not None]
        if len(kinds) != 1:
            raise ValueError(f"give exactly one of fixed, time_of_use and file, not {' and '.join(kinds) or 'none'}")
        if (self.time_of_use is None) != (self.export_per_kwh is None):
            raise ValueError("export_per_kwh belongs to time_of_use, and time_of_use needs it")
        if self.time_of_use is not None:
            _minute_prices(self.time_of_use)
        return self


def _minute_prices(periods: tuple[Period, ...]) -> Mapping[int, int]:
    """Return the import price in micro-units for every grid minute of the local day.

    Raises:
        ValueError: If the periods overlap or leave a part of the day out.
    """
    prices: dict[int, int] = {}
    for period in periods:
        for minute in period.minutes():
            if minute in prices:
                raise ValueError(f"two periods of time_of_use cover {minute // 60:02d}:{minute % 60:02d}")
            prices[minute] = to_micro(period.import_per_kwh)
    for minute in range(0, 1440, _GRID_MIN):
        if minute not in prices:
            raise ValueError(f"no period of time_of_use covers {minute // 60:02d}:{minute % 60:02d}")
    return prices


class Rates(Protocol):
    """A source of prices, constant over steps of `step_s` seconds of UTC."""

    @property
    def step_s(self) -> int: ...

    def at(self, second: int) -> tuple[int, int]:
        """Return import and export price (micro-units per kWh) at a Unix second.

        Raises:
            ConfigError: If nothing is known of that time.
        """
        ...


_KNOWN_MAX = 1_000
"""Slots remembered: a plan asks for the same ones many times, a year of them is nobody's use."""


class _FixedRates:
    step_s = 86_400

    def __init__(self, settings: FixedTariff) -> None:
        self._rates = to_micro(settings.import_per_kwh), to_micro(settings.export_per_kwh)

    def at(self, second: int) -> tuple[int, int]:
        return self._rates


class _TimeOfUseRates:
    step_s = _GRID_MIN * 60

    def __init__(self, periods: tuple[Period, ...], export_per_kwh: float, timezone: tzinfo) -> None:
        self._import = _minute_prices(periods)
        self._export = to_micro(export_per_kwh)
        self._timezone = timezone

    def at(self, second: int) -> tuple[int, int]:
        local = datetime.fromtimestamp(second, self._timezone)
        minute = local.hour * 60 + local.minute
        return self._import[minute - minute % _GRID_MIN], self._export


class Tariff:
    """Prices per slot. A slot that spans several steps of its source gets their mean, rounded half even."""

    def __init__(self, rates: Rates) -> None:
        self._rates = rates
        self._known: dict[Slot, tuple[int, int]] = {}

    def trouble(self, now: datetime) -> str:
        """Return what the owner must do for right prices, or nothing."""
        return self._rates.trouble(now) if isinstance(self._rates, GrowingRates) else ""

    def import_micro(self, slot: Slot) -> int:
        """Return the price of taking energy from the grid, in micro-units per kWh.

        Raises:
            ConfigError: If nothing is known of the slot, or its export price exceeds its import price.
        """
        return self._of(slot)[0]

    def export_micro(self, slot: Slot) -> int:
        """Return the price paid for energy into the grid, in micro-units per kWh; errors as `import_micro`."""
        return self._of(slot)[1]

    def prices(self, first: Slot, count: int) -> tuple[Floats, Floats]:
        """Return import and export prices per kWh of `count` slots, each of shape (count,); errors as above."""
        rows = [self._of(slot) for slot in first.horizon(count)]
        both = np.array([[float(from_micro(price)) for price in row] for row in rows])
        return both[:, 0], both[:, 1]

    def _of(self, slot: Slot) -> tuple[int, int]:
        known = self._known.get(slot)
        if known is None:
            steps = range(slot.key, slot.key + slot.length_s, min(self._rates.step_s, slot.length_s))
            samples = [self._rates.at(second) for second in steps]
            known = (
                round_ratio(sum(sample[0] for sample in samples), len(samples)),
                round_ratio(sum(sample[1] for sample in samples), len(samples)),
            )
            if known[1] > known[0]:
                raise ConfigError(
                    f"tariff: at {slot.start_at:%Y-%m-%d %H:%M} UTC the export price {from_micro(known[1])} exceeds "
                    f"the import price {from_micro(known[0])}: a home would earn by doing nothing. "
                    "Check the two prices."
                )
            if isinstance(self._rates, GrowingRates):
                return known  # its next row may say better
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            self._known[slot] = known
        return known


def open_tariff(settings: TariffSettings, timezone: str, folder: Path, *, live: bool = False) -> Tariff:
    """Build the tariff an owner configured.

    Args:
        timezone: IANA name; the local days of `time_of_use` are of this zone.
        folder: Where a relative `file` lies.
        live: For a running home: the file may grow, and past its end the day before's prices hold.

    Raises:
        ConfigError: If the timezone is unknown or the file cannot be used.
    """
    if settings.file is not None:
        path = folder / settings.file
        return Tariff(GrowingRates(path) if live else read_tariff(path))
    if settings.fixed is not None:
        if settings.fixed.export_per_kwh > settings.fixed.import_per_kwh:
            raise ConfigError(
                "tariff: fixed.export_per_kwh exceeds fixed.import_per_kwh: a home would earn by doing nothing. "
                "Check the two prices."
            )
        return Tariff(_FixedRates(settings.fixed))
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError):
        raise ConfigError(f"timezone: {timezone!r} is unknown; write an IANA name such as Europe/Berlin") from None
    return Tariff(_TimeOfUseRates(settings.time_of_use or (), settings.export_per_kwh or 0.0, zone))
