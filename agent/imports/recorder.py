"""The database of Home Assistant's recorder: its long-term and short-term statistics.

Source: the recorder's schema as its own code declares it (`homeassistant/components/recorder/db_schema.py`).
`statistics_meta` has one row per series (`statistic_id`, `unit_of_measurement`, `has_sum`); `statistics` one row per
hour, `statistics_short_term` one per five minutes of the last days. `start_ts` is the Unix second of the beginning,
`mean` the mean over the row's time, `sum` a counter's growth up to the row's *end*, made free of resets; `state` is the
counter's own reading there. Before schema 33 times were text in `start`.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from agent.imports.columns import Chosen, Column, guess_role, unit_of
from agent.imports.meters import Meter
from agent.imports.source import BATCH, OnProgress, Read
from coordinator.errors import ConfigError

HOUR_S, SHORT_S = 3600, 300
_NEVER_S = 10**12
_Row = tuple[float, float | None, float | None]


class RecorderSource:
    """A recorder's SQLite file; it is only read.

    Raises:
        ConfigError: If it cannot be opened.
    """

    words = "Home Assistant recorder"
    knows_roles = False
    step_s = HOUR_S

    def __init__(self, path: Path) -> None:
        self.path = path

    def columns(self) -> list[Column]:
        """Return the series that are power or energy."""
        with closing(self._open()) as db:
            rows = db.execute(
                "SELECT m.id, m.statistic_id, m.unit_of_measurement, m.has_sum FROM statistics_meta m "
                "ORDER BY m.statistic_id"
            ).fetchall()
            found = []
            for meta, name, unit_name, has_sum in rows:
                unit = unit_of(unit_name or "")
                if unit is None or not (unit.power or has_sum):
                    continue
                at = _time(db, "statistics")
                first, last = db.execute(
                    f"SELECT min({at}), max({at}) FROM statistics WHERE metadata_id=?", (meta,)
                ).fetchone()
                found.append(
                    Column(
                        name=name,
                        unit=unit,
                        kind="power" if unit.power else "counter",
                        role=guess_role(name),
                        about="no hourly rows" if first is None else f"{_day(first)} to {_day(last)}",
                    )
                )
        return found

    def read(self, chosen: Sequence[Chosen], slot_s: int, on_progress: OnProgress) -> Read:
        meters = []
        with closing(self._open()) as db:
            for number, each in enumerate(chosen):
                meter = Meter(each, slot_s, step_s=HOUR_S)
                self._read_one(db, each, meter)
                meters.append(meter)
                on_progress((number + 1) / len(chosen))
        return Read(meters=meters)

    def _read_one(self, db: sqlite3.Connection, chosen: Chosen, meter: Meter) -> None:
        meta = db.execute("SELECT id FROM statistics_meta WHERE statistic_id=?", (chosen.name,)).fetchone()[0]
        resets, state = [], None
        for rows, length_s in _batches(db, meta, chosen.kind == "counter"):
            start_s = np.array([row[0] for row in rows], dtype=float)
            values = np.array([row[1] for row in rows], dtype=float)  # None becomes NaN
            if chosen.kind != "counter":
                meter.intervals(start_s, start_s + length_s, values)
                continue
            meter.feed(start_s + length_s, values)
            for at, _, reading in rows:
                if reading is not None and state is not None and reading < 0.9 * state:
                    resets.append(at)
                state = reading if reading is not None else state
        meter.close()
        meter.resets += resets

    def _open(self) -> sqlite3.Connection:
        try:
            db = sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True)
            db.execute("SELECT 1 FROM statistics_meta LIMIT 1")
        except sqlite3.DatabaseError as error:
            raise ConfigError(
                f"{self.path}: cannot be read ({error}). Copy the database while Home Assistant is stopped, or "
                "take it out of a backup, with its -wal file if there is one."
            ) from None
        return db


def _batches(db: sqlite3.Connection, meta: int, counter: bool) -> Iterator[tuple[list[_Row], int]]:
    """Yield rows (start, value, reading) with their length: hours, then five minutes from the first whole hour on."""
    value = "sum" if counter else "mean"
    short = _time(db, "statistics_short_term")
    first = db.execute(f"SELECT min({short}) FROM statistics_short_term WHERE metadata_id=?", (meta,)).fetchone()[0]
    cut = _NEVER_S if first is None else -(-first // HOUR_S) * HOUR_S
    for table, length_s, low, high in (
        ("statistics", HOUR_S, 0, cut),
        ("statistics_short_term", SHORT_S, cut, _NEVER_S),
    ):
        query = f"SELECT {_time(db, table)} AS at, {value}, state FROM {table} WHERE metadata_id=? AND at>=? AND at<?"
        rows = db.execute(f"{query} ORDER BY at", (meta, low, high))
        while batch := rows.fetchmany(BATCH):
            yield batch, length_s


def _time(db: sqlite3.Connection, table: str) -> str:
    """Return the SQL of a row's beginning in Unix seconds."""
    names = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
    text = "CAST(strftime('%s', start) AS REAL)"
    if "start_ts" not in names:
        return text
    return f"coalesce(start_ts, {text})" if "start" in names else "start_ts"


def _day(at_s: float) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d}"
