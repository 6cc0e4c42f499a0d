"""Recorded homes: reading a trace file, and living by it.

A trace is CSV (gzipped when its name ends in .gz): `time_utc, load_w, pv_w`, mean power of the slot that starts then,
empty cell = missing.
"""

import csv
import gzip
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent.simulator.profile import HistoryRow
from coordinator.errors import ConfigError, LocalProtocolError
from coordinator.slots import require_utc

HEADER = ["time_utc", "load_w", "pv_w"]
DAY_S = 86_400
LONGEST_DAYS = 20 * 366
"""A single mistyped year must not ask for a century of memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Mean load and PV per slot from `start_at` on, shape (slots,) [W]; NaN = missing."""

    start_at: datetime
    slot_s: int
    load_w: NDArray[np.float64]
    pv_w: NDArray[np.float64]

    @property
    def end_at(self) -> datetime:
        return self.start_at + timedelta(seconds=self.slot_s * len(self.load_w))

    def on_grid(self, start_at: datetime, slots: int) -> "Trace":
        """Return `slots` slots from `start_at` on; what the trace does not cover is missing."""
        grid = {name: np.full(slots, np.nan) for name in ("load_w", "pv_w")}
        shift = int((start_at - self.start_at).total_seconds()) // self.slot_s
        first, last = max(-shift, 0), min(len(self.load_w) - shift, slots)
        if last > first:
            grid["load_w"][first:last] = self.load_w[first + shift : last + shift]
            grid["pv_w"][first:last] = self.pv_w[first + shift : last + shift]
        return Trace(start_at=start_at, slot_s=self.slot_s, **grid)

    def history_rows(self, start_at: datetime, slots: int) -> list[HistoryRow]:
        """Return the recorded means of `slots` slots from `start_at` on."""
        part = self.on_grid(require_utc(start_at), slots)
        return [
            HistoryRow(
                start_at=part.start_at + index * timedelta(seconds=self.slot_s),
                load_w=None if math.isnan(load) else load,
                pv_w=None if math.isnan(pv) else pv,
            )
            for index, (load, pv) in enumerate(zip(part.load_w.tolist(), part.pv_w.tolist(), strict=True))
        ]


def read_trace(path: Path, slot_s: int) -> Trace:
    """Read a trace file.

    Raises:
        ConfigError: If the file is missing or a line is wrong; the text names file, line, cause and cure.
    """
    times: list[int] = []
    load: list[float] = []
    pv: list[float] = []
    for line, row in _rows(path):
        where = f"{path}, line {line}"
        at = _time(row[0], where)
        if at % slot_s:
            raise ConfigError(
                f"{where}: {row[0]} does not start a slot of {slot_s // 60} minutes: correct slot_minutes"
            )
        if times and at <= times[-1]:
            raise ConfigError(f"{where}: {row[0]} is not after the line before: sort the file by time, one line a slot")
        times.append(at)
        load.append(_power(row[1], f"{where}: load_w"))
        pv.append(_power(row[2], f"{where}: pv_w"))
    if not times:
        raise ConfigError(f"{path}: no line below the header: a trace needs at least one slot")
    if times[-1] - times[0] > LONGEST_DAYS * DAY_S:
        raise ConfigError(f"{path}: spans {(times[-1] - times[0]) // DAY_S} days: correct the first or the last time")
    slots = (times[-1] - times[0]) // slot_s + 1
    place = (np.array(times) - times[0]) // slot_s
    trace = Trace(
        start_at=datetime.fromtimestamp(times[0], UTC),
        slot_s=slot_s,
        load_w=np.full(slots, np.nan),
        pv_w=np.full(slots, np.nan),
    )
    trace.load_w[place], trace.pv_w[place] = load, pv
    return trace


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of every line below the header."""
    try:
        with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as file:
            reader = csv.reader(file)
            header = [cell.strip() for cell in next(reader, [])]
            if header != HEADER:
                raise ConfigError(f"{path}, line 1: the header is {header}: make it {','.join(HEADER)}")
            for row in reader:
                if len(row) != len(HEADER):
                    raise ConfigError(f"{path}, line {reader.line_num}: {len(row)} cells: a line has {len(HEADER)}")
                yield reader.line_num, row
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file: correct the name, or put the trace there") from error
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(
            f"{path}: cannot be read ({error}): a trace is CSV text, gzipped if it ends in .gz"
        ) from error


def _time(text: str, where: str) -> int:
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ConfigError(f"{where}: {text!r} is no time: write it like 2025-06-01T10:00:00Z") from error
    if at.tzinfo is None:
        raise ConfigError(f"{where}: {text!r} has no zone: write UTC times with a Z, as in 2025-06-01T10:00:00Z")
    return int(at.timestamp())


def _power(text: str, where: str) -> float:
    if not text.strip():
        return math.nan
    try:
        power_w = float(text)
    except ValueError as error:
        raise ConfigError(f"{where} is {text!r}: write watts as a number, or leave the cell empty") from error
    if not 0 <= power_w < math.inf:
        raise ConfigError(f"{where} is {text}: watts are 0 or more here; leave the cell empty if unknown")
    return power_w


@dataclass(slots=True)
class TraceHome:
    """A home that lives by a trace (a `Profile`).

    A real house draws power even where its record has a gap, so a missing slot is lived as the same time of the last
    recorded day before it (else after it), and before or beyond the record the nearest days repeat.
    """

    trace: Trace
    _load_w: NDArray[np.float64] = field(init=False)
    _pv_w: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        slots_a_day = max(DAY_S // self.trace.slot_s, 1)
        self._load_w = _filled(self.trace.load_w, slots_a_day)
        self._pv_w = _filled(self.trace.pv_w, slots_a_day)

    @property
    def pv_peak_w(self) -> float:
        return float(self._pv_w.max())

    def load_w(self, at: datetime) -> float:
        return float(self._load_w[self._index(at)])

    def pv_w(self, at: datetime) -> float:
        return float(self._pv_w[self._index(at)])

    def next_change(self, at: datetime) -> datetime:
        return datetime.fromtimestamp((int(at.timestamp()) // self.trace.slot_s + 1) * self.trace.slot_s, UTC)

    def history_rows(self, start_at: datetime, slots: int, slot_s: int) -> list[HistoryRow]:
        """Return the record (gaps are None) of `slots` slots from `start_at` on.

        Raises:
            LocalProtocolError: If the slots are not those of the record.
        """
        if slot_s != self.trace.slot_s or int(start_at.timestamp()) % slot_s:
            raise LocalProtocolError(f"the record has slots of {self.trace.slot_s} s, not {slot_s} s from {start_at}")
        return self.trace.history_rows(start_at, slots)

    def _index(self, at: datetime) -> int:
        index = int((at - self.trace.start_at).total_seconds() // self.trace.slot_s)
        return _nearest_day(index, len(self._load_w), max(DAY_S // self.trace.slot_s, 1))


def _nearest_day(index: int, slots: int, slots_a_day: int) -> int:
    """Return the slot within the record at the same time of the nearest day (or the nearest slot, if under a day)."""
    if slots < slots_a_day:
        return min(max(index, 0), slots - 1)
    if index < 0:
        return index % slots_a_day
    if index >= slots:
        return slots - slots_a_day + (index - slots) % slots_a_day
    return index


def _filled(values: NDArray[np.float64], slots_a_day: int) -> NDArray[np.float64]:
    filled = values.copy()
    for offset in range(min(slots_a_day, len(values))):
        column = filled[offset::slots_a_day]
        known = np.flatnonzero(~np.isnan(column))
        if len(known):
            before = np.searchsorted(known, np.arange(len(column)), side="right") - 1
            column[:] = column[known[np.maximum(before, 0)]]
    return np.nan_to_num(filled, nan=0.0)
