"""Text files of tables, plain or gzipped: their encoding, delimiter, decimal sign and lines."""

import csv
import gzip
import io
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from coordinator.errors import ConfigError

_LOOKED_AT_BYTES = 65_536
_DELIMITERS = ";,\t|"
_COMMA_NUMBER = re.compile(r"-?\d+,\d+")
_PROGRESS_ROWS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How a file writes its table.

    Args:
        skip: Lines before the header.
    """

    encoding: str
    delimiter: str
    decimal: str
    skip: int

    def number(self, cell: str) -> float:
        """Return a cell's number; NaN for an empty one and for words such as unavailable.

        Raises:
            ValueError: If it is neither a number nor a word.
        """
        text = cell.strip()
        if not text or text.lower() in _UNKNOWN:
            return math.nan
        if self.decimal == ",":
            text = text.replace(".", "").replace(",", ".")
        return float(text.replace(" ", "").replace("\u00a0", ""))


_UNKNOWN = {"unavailable", "unknown", "none", "null", "nan", "n/a", "na", "-", "--"}


def form_of(path: Path, *, delimiter: str | None, decimal: str | None, skip: int) -> Form:
    """Return a file's form, as told or else as its beginning shows.

    Raises:
        ConfigError: If the file cannot be read or is no table.
    """
    try:
        with path.open("rb") as raw, _unzipped(path, raw) as data:
            head = data.read(_LOOKED_AT_BYTES)
    except (OSError, EOFError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}): name a CSV file, or one that ends in .gz") from None
    encoding = "utf-8-sig" if _is_utf8(head) else "cp1252"
    lines = head.decode(encoding, errors="replace").splitlines()[skip:]
    if len(lines) < 2:
        raise ConfigError(f"{path}: no line below a header: a table has a header and a line per time")
    if delimiter is None:
        counts = Counter({each: lines[0].count(each) for each in _DELIMITERS})
        delimiter, count = counts.most_common(1)[0]
        if not count:
            raise ConfigError(
                f"{path}: the header is {lines[0][:60]!r}: name the --delimiter, or --skip lines before it"
            )
    if decimal is None:
        cells = [cell.strip().strip('"') for line in lines[1:200] for cell in line.split(delimiter)]
        decimal = "," if delimiter != "," and any(_COMMA_NUMBER.fullmatch(cell) for cell in cells) else "."
    return Form(encoding=encoding, delimiter=delimiter, decimal=decimal, skip=skip)


def _is_utf8(head: bytes) -> bool:
    try:
        head[:-4].decode("utf-8")  # the end may cut a character
    except UnicodeDecodeError:
        return False
    return True


def _unzipped(path: Path, raw: io.BufferedReader) -> "gzip.GzipFile | io.BufferedReader":
    return gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw


def lines_of(path: Path, form: Form) -> Iterator[tuple[int, list[str], float]]:
    """Yield (line number, cells, share of the file read) from the header on; empty lines are left out.

    Raises:
        ConfigError: If the file is damaged.
    """
    size = max(1, path.stat().st_size)
    try:
        with path.open("rb") as raw, _unzipped(path, raw) as data:
            text = io.TextIOWrapper(data, encoding=form.encoding, errors="replace", newline="")
            for _ in range(form.skip):
                text.readline()
            reader, share = csv.reader(text, delimiter=form.delimiter), 0.0
            for number, cells in enumerate(reader):
                if number % _PROGRESS_ROWS == 0:
                    share = raw.tell() / size
                if any(cells):
                    yield form.skip + reader.line_num, cells, share
    except (OSError, EOFError, csv.Error) as error:
        raise ConfigError(f"{path}: damaged ({error}): get the file again") from None
