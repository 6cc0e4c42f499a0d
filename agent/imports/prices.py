"""A tariff from what a person types: one price, prices by the time of day, or a file."""

import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from agent.planning.tariff import TariffSettings
from coordinator.errors import ConfigError
from coordinator.toml_file import explain

_PERIOD = re.compile(r"\s*(\d{1,2}:\d{2})\s*-\s*(\d{1,2}:\d{2})\s*=\s*([0-9.]+)\s*")


def tariff_of(
    import_price: float | None, periods: Sequence[str], export_price: float | None, file: Path | None
) -> TariffSettings:
    """Return the tariff that options tell.

    Args:
        periods: As 22:00-06:00=0.21, together a whole day.

    Raises:
        ConfigError: If more than one kind is told, or a period is not understood.
    """
    told = {
        "--import-price": import_price is not None,
        "--period": bool(periods),
        "--tariff": file is not None,
    }
    if sum(told.values()) != 1:
        raise ConfigError(f"{' and '.join(name for name, given in told.items() if given)}: give one of them")
    if file is not None:
        if export_price is not None:
            raise ConfigError("--export-price: a --tariff file has its own export prices: leave the option out")
        return TariffSettings(file=file)
    try:
        if import_price is not None:
            fixed = {"import_per_kwh": import_price, "export_per_kwh": export_price or 0.0}
            return TariffSettings.model_validate({"fixed": fixed})
        return TariffSettings.model_validate(
            {"time_of_use": [_period(text) for text in periods], "export_per_kwh": export_price or 0.0}
        )
    except ValidationError as error:
        raise ConfigError(f"--period: {explain(error, TariffSettings)}") from None


def _period(text: str) -> dict[str, str | float]:
    if (found := _PERIOD.fullmatch(text)) is None:
        raise ConfigError(f"--period {text}: write it like 22:00-06:00=0.21")
    start, end, price = found.groups()
    return {"from": start.zfill(5), "to": end.zfill(5), "import_per_kwh": float(price)}
