"""Small files as other programs write them, and the command that imports them."""

import json
import math
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from agent.cli.main import app

START_AT = datetime(2025, 6, 1, tzinfo=UTC)
HOUR_S = 3600
NEW = ("--timezone", "Europe/Berlin", "--import-price", "0.32", "--export-price", "0.08")
"""What a new community needs."""

_SCHEMA = """
CREATE TABLE statistics_meta (
    id INTEGER PRIMARY KEY, statistic_id VARCHAR(255), source VARCHAR(32), unit_of_measurement VARCHAR(255),
    has_mean BOOLEAN, has_sum BOOLEAN, name VARCHAR(255), mean_type SMALLINT NOT NULL DEFAULT 0);
CREATE TABLE statistics (
    id INTEGER PRIMARY KEY, created DATETIME, created_ts FLOAT, metadata_id INTEGER, start DATETIME, start_ts FLOAT,
    mean FLOAT, mean_weight FLOAT, min FLOAT, max FLOAT, last_reset DATETIME, last_reset_ts FLOAT, state FLOAT,
    sum FLOAT);
CREATE TABLE statistics_short_term AS SELECT * FROM statistics WHERE 0;
"""
Row = tuple[float, float | None, float | None, float | None]
"""Unix second of the beginning, mean, state, sum."""


def write_recorder(
    path: Path,
    series: Mapping[tuple[str, str], Sequence[Row]],
    short: Mapping[tuple[str, str], Sequence[Row]] | None = None,
    *,
    old: bool = False,
) -> Path:
    """Write a recorder's database; series are named (statistic_id, unit).

    Args:
        old: Times as text, as before schema 33.
    """
    with closing(sqlite3.connect(path)) as db:
        schema = _SCHEMA.replace("start_ts FLOAT,", "").replace(" created_ts FLOAT,", "") if old else _SCHEMA
        db.executescript(schema)
        for number, name in enumerate(dict.fromkeys([*series, *(short or {})]), start=1):
            counts = name[1].endswith("h")
            db.execute(
                "INSERT INTO statistics_meta VALUES (?,?,'recorder',?,?,?,NULL,?)",
                (number, name[0], name[1], not counts, counts, int(not counts)),
            )
            for table, rows in (
                ("statistics", series.get(name, ())),
                ("statistics_short_term", (short or {}).get(name, ())),
            ):
                for at, mean, state, total in rows:
                    when = f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S.000000}" if old else at
                    db.execute(
                        f"INSERT INTO {table} (metadata_id, {'start' if old else 'start_ts'}, mean, state, sum) "
                        "VALUES (?,?,?,?,?)",
                        (number, when, mean, state, total),
                    )
        db.commit()
    return path


def counter(
    amounts: Sequence[float], *, first: float = 0.0, step_s: int = HOUR_S, start_s: float | None = None
) -> list[Row]:
    """Return rows of a counter: each row's sum is reached at its end; the first row opens it and holds `first`."""
    begin = START_AT.timestamp() - step_s if start_s is None else start_s
    rows, total = [(begin, None, first, 0.0)], 0.0
    for number, amount in enumerate(amounts, start=1):
        total += amount
        rows.append((begin + number * step_s, None, first + total, total))
    return rows  # type: ignore[return-value]


def sun_w(hour: float) -> float:
    """Return the sun of a June day in Berlin, by the hour of UTC."""
    return max(0.0, 4000 * math.sin((hour - 3.5) / 15.5 * math.pi)) if 3.5 < hour < 19 else 0.0


def load_w(hour: float) -> float:
    return 300 + 40 * (hour % 5) + (900 if 17 <= hour % 24 < 21 else 0)


def run(*arguments: object, answers: str | None = None) -> str:
    """Run `commonwatt import`; errors are raised."""
    done = CliRunner().invoke(app, ["import", *map(str, arguments)], input=answers)
    if done.exception is not None:
        raise done.exception
    return done.stdout


def report(*arguments: object) -> dict[str, Any]:
    """Run the command; return its report."""
    found: dict[str, Any] = json.loads(run(*arguments, "--json"))
    return found


def kinds(found: Mapping[str, Any]) -> set[str]:
    return {finding["kind"] for finding in found["findings"]}


def finding(found: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return next(each for each in found["findings"] if each["kind"] == kind)
