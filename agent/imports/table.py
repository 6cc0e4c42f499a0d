"""Any table with a line per time and a column per quantity."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from itertools import islice, pairwise
from pathlib import Path

import numpy as np

from agent.imports.columns import Chosen, Column, Kind, guess_role, listed, unit_in
from agent.imports.meters import Label, Meter
from agent.imports.moments import Clock, Reader, Shown, are_times, reader_of, utc_words
from agent.imports.source import BATCH, OnProgress, Read
from agent.imports.text_file import Form, form_of, lines_of
from coordinator.errors import ConfigError

_SAMPLES = 2000
_SUMMED_FROM = 10
"""The last line of a longer table may hold sums, so it is no sample."""
_GROWTHS_MIN = 10
"""A column that never falls and rose so often counts up."""
_STRANGE_MIN, _STRANGE_SHARE = 10, 0.01
"""Lines without a readable time (sums, remarks) that are left out before the file is refused."""
_TURNED_MAX = 2_000_000
"""A file whose newest line comes first is turned round in memory; longer ones must be sorted by their owner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions:
    """What the owner says of a table; None is found out.

    Args:
        time: Columns that together are the time, in their order.
        label: Whether the time is that of the interval's beginning or end.
    """

    zone: tzinfo
    time: tuple[str, ...] = ()
    time_format: str | None = None
    label: Label = "start"
    delimiter: str | None = None
    decimal: str | None = None
    skip: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    line: int
    shown: Shown
    cells: list[str]
    share: float


class TableSource:
    """A table file.

    Raises:
        ConfigError: If the file is no table, or its time column is not found or not understood.
    """

    words = "table"
    knows_roles = False

    def __init__(self, path: Path, options: TableOptions) -> None:
        self.path, self._options = path, options
        self._form: Form = form_of(path, delimiter=options.delimiter, decimal=options.decimal, skip=options.skip)
        lines = lines_of(path, self._form)
        self._header = _unlike([cell.strip() for cell in next(lines)[1]])
        samples = [cells for _, cells, _ in islice(lines, _SAMPLES) if len(cells) >= len(self._header)]
        self._samples = samples[:-1] if len(samples) > _SUMMED_FROM else samples
        self._time = self._time_columns()
        self._reader: Reader = reader_of([self._time_text(cells) for cells in self._samples], options.time_format)
        shown = [self._reader(self._time_text(cells)).seconds for cells in self._samples]
        apart = sorted(abs(b - a) for a, b in pairwise(shown) if a != b)
        if not apart:
            raise ConfigError(f"{path}: a table needs at least two different times")
        self.step_s = round(apart[(len(apart) - 1) // 2])
        self._newest_first = shown[-1] < shown[0]

    def _time_columns(self) -> list[int]:
        if missing := [name for name in self._options.time if name not in self._header]:
            raise ConfigError(f"--time {missing[0]}: no such column in {self.path}; there are {listed(self._header)}")
        if self._options.time:
            return [self._header.index(name) for name in self._options.time]
        if len(self._samples) < 2:
            raise ConfigError(f"{self.path}: no complete line below the header; --skip lines that stand before it")
        for index in range(len(self._header)):
            if are_times([cells[index].strip() for cells in self._samples[:20]]):
                return [index]
        raise ConfigError(
            f"{self.path}: no column holds times: name it with --time (twice for a date and a time of day)"
        )

    def _time_text(self, cells: Sequence[str]) -> str:
        return " ".join(cells[index].strip() for index in self._time)

    def columns(self) -> list[Column]:
        """Return the columns of numbers."""
        found = []
        for index, name in enumerate(self._header):
            try:
                values = [self._form.number(cells[index]) for cells in self._samples]
            except ValueError:
                continue
            known = [value for value in values if not math.isnan(value)]
            if index in self._time or not known:
                continue
            unit = unit_in(name)
            shown = ", ".join(f"{value:g}" for value in known[:3])
            kind = kind_by_course(known[::-1] if self._newest_first else known)
            found.append(
                Column(
                    name=name,
                    unit=unit,
                    kind="power" if unit and unit.power else kind,
                    role=guess_role(name),
                    guessed=True,
                    about=f"{shown}, ...",
                )
            )
        return found

    def read(self, chosen: Sequence[Chosen], slot_s: int, on_progress: OnProgress) -> Read:
        places = [self._header.index(each.name) for each in chosen]
        meters = [Meter(each, slot_s, step_s=self.step_s, label=self._options.label) for each in chosen]
        clock, said, bad = Clock(self._options.zone), _Said(), 0
        times: list[float] = []
        values: list[list[float]] = []
        last = float("-inf")
        for row in self._rows(said):
            at = clock.seconds(row.shown)
            if at is None:
                continue
            if at == last:
                said.repeated += 1
                continue
            if at < last:
                raise ConfigError(
                    f"{self.path}, line {row.line}: {utc_words(at)} comes after {utc_words(last)}: "
                    "sort the file by time"
                )
            numbers, wrong = self._numbers(row.cells, places)
            bad += wrong
            times.append(at)
            values.append(numbers)
            last = at
            if len(times) == BATCH:
                _feed(meters, times, values)
                on_progress(row.share)
        _feed(meters, times, values)
        for meter in meters:
            meter.close()
        on_progress(1.0)
        return Read(meters=meters, said=said.sentences(clock.nonexistent, bad))

    def _numbers(self, cells: list[str], places: list[int]) -> tuple[list[float], int]:
        numbers, wrong = [], 0
        for place in places:
            try:
                numbers.append(self._form.number(cells[place]))
            except (ValueError, IndexError):
                numbers.append(float("nan"))
                wrong += 1
        return numbers, wrong

    def _rows(self, said: "_Said") -> Iterator[_Row]:
        """Yield the lines with a readable time, oldest first."""
        if not self._newest_first:
            return self._rows_of_file(said)
        rows = list(islice(self._rows_of_file(said), _TURNED_MAX + 1))
        if len(rows) > _TURNED_MAX:
            raise ConfigError(f"{self.path}: its newest line comes first and it is long: sort it by time, oldest first")
        return reversed(rows)

    def _rows_of_file(self, said: "_Said") -> Iterator[_Row]:
        lines = lines_of(self.path, self._form)
        next(lines)
        for count, (line, cells, share) in enumerate(lines):
            try:
                shown = self._reader(self._time_text(cells))
            except (ValueError, IndexError):
                said.strange += 1
                if said.strange > _STRANGE_MIN + _STRANGE_SHARE * count:
                    raise ConfigError(
                        f"{self.path}, line {line}: {cells[:3]} has no time as the lines before: correct or remove it"
                    ) from None
                continue
            yield _Row(line=line, shown=shown, cells=cells, share=share)


def _feed(meters: Sequence[Meter], times: list[float], values: list[list[float]]) -> None:
    if times:
        table = np.array(values)
        for column, meter in enumerate(meters):
            meter.feed(np.array(times), table[:, column])
    times.clear()
    values.clear()


def kind_by_course(values: Sequence[float]) -> Kind | None:
    """Return whether values count up or are amounts of their own, by their course; None where it does not tell."""
    changes = [b - a for a, b in pairwise(values)]
    if min(changes, default=0.0) < 0:
        return "energy"
    return "counter" if sum(change > 0 for change in changes) >= _GROWTHS_MIN else None


def _unlike(names: list[str]) -> list[str]:
    """Number names that come twice."""
    return [name if names.index(name) == place else f"{name}#{place + 1}" for place, name in enumerate(names)]


@dataclass(slots=True)
class _Said:
    strange: int = 0
    repeated: int = 0

    def sentences(self, nonexistent: int, bad: int) -> list[str]:
        return [
            f"{what}: {count}"
            for count, what in (
                (self.strange, "lines without a time, left out"),
                (self.repeated, "lines that repeat the time before, left out"),
                (
                    nonexistent,
                    "lines with a local time that clocks skipped, left out (if the file's clock knows no summer time, "
                    "say so: --times-zone +01:00)",
                ),
                (bad, "cells without a number, missing now"),
            )
            if count
        ]
