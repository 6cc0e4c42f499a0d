"""A tariff as a CSV file: `time_utc,import_price_per_kwh,export_price_per_kwh`, plain or gzipped."""

import csv
import gzip
from bisect import bisect_right
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from pathlib import Path

from coordinator.errors import ConfigError
from coordinator.quantities import to_micro

HEADER = ["time_utc", "import_price_per_kwh", "export_price_per_kwh"]


class FileRates:
    """Prices read from a file. A row holds from its time for one step of the file, never longer.

    Args:
        name: How errors name the file.
        rows: (Unix second, import, export) in micro-units per kWh, sorted by time, at least one.
    """

    def __init__(self, name: str, rows: list[tuple[int, int, int]]) -> None:
        self._name = name
        self._seconds = [row[0] for row in rows]
        self._rates = [(row[1], row[2]) for row in rows]
        steps = Counter(b - a for a, b in pairwise(self._seconds))
        self.step_s = steps.most_common(1)[0][0] if steps else 3600

    @property
    def first_s(self) -> int:
        """The time of the first row, Unix second."""
        return self._seconds[0]

    @property
    def known_until(self) -> datetime:
        """The end of the last row."""
        return datetime.fromtimestamp(self._seconds[-1] + self.step_s, UTC)

    def at(self, second: int) -> tuple[int, int]:
        """Return import and export price (micro-units per kWh) at a Unix second.

        Raises:
            ConfigError: If no row covers it. Yesterday's price is never silently repeated: a plan on a wrong price
                costs money without anybody noticing.
        """
        found = self.find(second)
        if found is None:
            first = datetime.fromtimestamp(self._seconds[0], UTC)
            raise ConfigError(
                f"{self._name}: no price for {datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M} UTC; the file knows "
                f"{first:%Y-%m-%d %H:%M} to {self.known_until:%Y-%m-%d %H:%M} UTC. Add rows for that time, "
                "or use a fixed or time_of_use tariff."
            )
        return found

    def find(self, second: int) -> tuple[int, int] | None:
        """Return the prices as `at` does, None where no row covers the second."""
        index = bisect_right(self._seconds, second) - 1
        return None if index < 0 or second >= self._seconds[index] + self.step_s else self._rates[index]


def read_tariff(path: Path) -> FileRates:
    """Read a tariff file.

    Raises:
        ConfigError: If it is missing, has another header, or a row that is not usable; names file, line and cure.
    """
    try:
        with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            if header != HEADER:
                raise ConfigError(f"{path}: the first line must be {','.join(HEADER)}, not {','.join(header)!r}")
            rows = [_row(path, reader.line_num, cells) for cells in reader if cells]
    except OSError as error:
        cause = error.strerror or "not a gzip file"
        raise ConfigError(f"{path}: the tariff file cannot be read: {cause}. Check the path in the tariff.") from None
    except (UnicodeDecodeError, EOFError, csv.Error):
        raise ConfigError(f"{path}: the tariff file is damaged or no text; get it again") from None
    if not rows:
        raise ConfigError(f"{path}: the tariff file has no rows")
    for earlier, later in pairwise(rows):
        if later[0] <= earlier[0]:
            at = datetime.fromtimestamp(later[0], UTC)
            raise ConfigError(f"{path}: rows must be sorted by time, once each; {at:%Y-%m-%d %H:%M} UTC is not")
    return FileRates(str(path), rows)


def _row(path: Path, line: int, cells: list[str]) -> tuple[int, int, int]:
    where = f"{path}, line {line}"
    if len(cells) != len(HEADER):
        raise ConfigError(f"{where}: {len(cells)} cells where {len(HEADER)} belong ({','.join(HEADER)})")
    try:
        at = datetime.fromisoformat(cells[0])
        prices = [to_micro(Decimal(cell)) for cell in cells[1:]]
    except (ValueError, InvalidOperation, OverflowError):
        raise ConfigError(f"{where}: {','.join(cells)!r} is not a time and two prices") from None
    if at.tzinfo is None:
        raise ConfigError(f"{where}: {cells[0]} has no zone; write UTC times with a Z, as 2026-01-31T13:00:00Z")
    if prices[1] > prices[0]:
        raise ConfigError(f"{where}: at {cells[0]} the export price {cells[2]} exceeds the import price {cells[1]}")
    return int(at.timestamp()), prices[0], prices[1]
