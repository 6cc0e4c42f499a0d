"""The CSV that Home Assistant's history page saves: `entity_id,state,last_changed`, a row per change.

Source: the frontend's own code (`data/history.ts`): times are UTC; days older than the recorder keeps are hourly
statistics, whose row carries the hour's beginning, and for counters the reading at the hour's *end*.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path

import numpy as np

from agent.imports.columns import Chosen, Column, guess_role
from agent.imports.meters import Meter
from agent.imports.moments import reader_of, utc_words
from agent.imports.source import BATCH, OnProgress, Read
from agent.imports.table import kind_by_course
from agent.imports.text_file import Form, form_of, lines_of
from coordinator.errors import ConfigError

HEADER = ["entity_id", "state", "last_changed"]
_HOUR_S = 3600
_SAMPLES = 500


class HistorySource:
    """A `history.csv`. It names no units: the owner must."""

    words = "Home Assistant history"
    knows_roles = False
    step_s = _HOUR_S

    def __init__(self, path: Path) -> None:
        self.path = path
        self._form: Form = form_of(path, delimiter=",", decimal=".", skip=0)
        first = next(islice(lines_of(path, self._form), 1, None))
        self._reader = reader_of([first[1][2]], None)

    def columns(self) -> list[Column]:
        """Return the entities whose states are numbers."""
        samples: dict[str, list[float]] = {}
        for name, _, value, _ in self._rows():
            known = samples.setdefault(name, [])
            if not math.isnan(value) and len(known) < _SAMPLES:
                known.append(value)
        return [
            Column(
                name=name,
                unit=None,
                kind="counter" if kind_by_course(values) == "counter" else None,
                role=guess_role(name),
                guessed=True,
                about=", ".join(f"{value:g}" for value in values[:3]) + ", ...",
            )
            for name, values in samples.items()
            if values
        ]

    def read(self, chosen: Sequence[Chosen], slot_s: int, on_progress: OnProgress) -> Read:
        if amounts := [each.name for each in chosen if each.kind == "energy"]:
            raise ConfigError(f"{self.path}: {amounts[0]}: a history holds readings: say {amounts[0]}=kWh,counter")
        meters = {each.name: Meter(each, slot_s, step_s=60, on_change=True) for each in chosen}
        waiting: dict[str, list[tuple[float, float]]] = {name: [] for name in meters}
        for name, at, value, share in self._rows():
            if name in waiting:
                if waiting[name] and at < waiting[name][-1][0]:
                    raise ConfigError(f"{self.path}: {name} goes back to {utc_words(at)}: sort the file by time")
                waiting[name].append((at, value))
                if len(waiting[name]) == BATCH:
                    waiting[name] = _feed(meters[name], waiting[name], last=False)
                    on_progress(share)
        for name, rows in waiting.items():
            _feed(meters[name], rows, last=True)
            meters[name].close()
        on_progress(1.0)
        return Read(meters=list(meters.values()))

    def _rows(self) -> Iterator[tuple[str, float, float, float]]:
        """Yield entity, Unix seconds, state (NaN for words) and the share of the file read."""
        for line, cells, share in islice(lines_of(self.path, self._form), 1, None):
            try:
                at = self._reader(cells[2]).seconds
            except (ValueError, IndexError):
                raise ConfigError(f"{self.path}, line {line}: {cells} is not entity, state and time") from None
            try:
                value = self._form.number(cells[1])
            except ValueError:
                value = float("nan")
            yield cells[0], at, value, share


def _feed(meter: Meter, rows: list[tuple[float, float]], *, last: bool) -> list[tuple[float, float]]:
    """Feed an entity's rows; return the newest one, whose successor is not known yet, unless it is the last."""
    now, later = (rows, []) if last else (rows[:-1], rows[-1:])
    if meter.chosen.kind == "counter":
        now = list(_readings(rows if later else [*rows, *((at + _HOUR_S, 0.0) for at, _ in rows[-1:])]))
    times, values = (np.array(column, dtype=float) for column in zip(*now, strict=True)) if now else (np.zeros(0),) * 2
    meter.feed(times, values)
    return later


def _readings(rows: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Yield all readings but the newest at their true times: an hourly row's reading is that of the hour's end."""
    for (at, value), (following, _) in pairwise(rows):
        if at % _HOUR_S:
            yield at, value
        elif following == at + _HOUR_S:
            yield following, value
        # else the hour runs into the days of single changes, whose first row tells the same
