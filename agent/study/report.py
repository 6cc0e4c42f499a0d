"""The files from which anybody can recompute the figures: contracts.csv, flows.csv and constants.json."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from coordinator.errors import ConfigError

CONTRACTS, FLOWS, CONSTANTS = "contracts.csv", "flows.csv", "constants.json"
_CONTRACT_COLUMNS = ("slot", "seller", "buyer", "energy_wh", "price", "kind")
_FLOW_COLUMNS = ("slot", "home", "load_w", "pv_w", "battery_w", "soc_pct", "grid_w")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractRow:
    """One contract; `price` per kWh."""

    slot: datetime
    seller: str
    buyer: str
    energy_wh: int
    price: Decimal
    kind: Literal["slot", "residual"] = "slot"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRow:
    """One home's slot: mean powers with load == grid + pv + battery, and the charge at the slot's end."""

    slot: datetime
    home: str
    load_w: float
    pv_w: float
    battery_w: float
    soc_pct: float | None
    grid_w: float


def write_report(
    folder: Path, contracts: Iterable[ContractRow], flows: Iterable[FlowRow], constants: Mapping[str, Any]
) -> None:
    """Write the three files; older ones of the same names are replaced.

    Raises:
        ConfigError: If the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_csv(folder / CONTRACTS, _CONTRACT_COLUMNS, map(_contract_cells, contracts))
        _write_csv(folder / FLOWS, _FLOW_COLUMNS, map(_flow_cells, flows))
        (folder / CONSTANTS).write_text(json.dumps(constants, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--report {folder}: cannot be written: {error.strerror}; name another folder") from None


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _contract_cells(row: ContractRow) -> tuple[object, ...]:
    return _time(row.slot), row.seller, row.buyer, row.energy_wh, row.price, row.kind


def _flow_cells(row: FlowRow) -> tuple[object, ...]:
    soc = "" if row.soc_pct is None else _number(row.soc_pct, 4)
    return _time(row.slot), row.home, *map(_number, (row.load_w, row.pv_w, row.battery_w)), soc, _number(row.grid_w)


def _number(value: float, digits: int = 2) -> str:
    """Return a number without needless zeros: most cells of a flow file are whole or zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}".rstrip("0").rstrip(".")
