"""Which kind of source a file is, by its content."""

import csv
import sqlite3
from contextlib import closing
from pathlib import Path

from agent.imports import energy_panel, history_csv
from agent.imports.energy_panel import EnergyPanelSource
from agent.imports.history_csv import HistorySource
from agent.imports.own import OwnSource
from agent.imports.recorder import RecorderSource
from agent.imports.source import Source
from agent.imports.table import TableOptions, TableSource
from agent.imports.text_file import form_of, lines_of
from coordinator.errors import ConfigError

_SQLITE = b"SQLite format 3\x00"


def open_source(path: Path, options: TableOptions) -> Source:
    """Return the source that a file is.

    Raises:
        ConfigError: If there is no such file, or it is none of them.
    """
    if path.is_dir():
        raise ConfigError(f"{path}: a folder: name the file in it that holds what was recorded")
    if not path.is_file():
        raise ConfigError(f"{path}: no such file: name a recorder database, a CSV file or a home's home.db")
    with path.open("rb") as file:
        if file.read(len(_SQLITE)) == _SQLITE:
            return _database(path)
    if (kind := _saved_by_home_assistant(path)) is not None:
        return kind
    return TableSource(path, options)


def _database(path: Path) -> Source:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
            tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type='table'")}
    except sqlite3.DatabaseError as error:
        raise ConfigError(f"{path}: a damaged database ({error}): copy it again, with its -wal file") from None
    if {"statistics_meta", "statistics", "statistics_short_term"} <= tables:
        return RecorderSource(path)
    if {"slots", "facts"} <= tables:
        return OwnSource(path)
    raise ConfigError(
        f"{path}: neither Home Assistant's recorder nor a home of ours: it has no statistics and no slots"
    )


def _saved_by_home_assistant(path: Path) -> Source | None:
    try:
        form = form_of(path, delimiter=",", decimal=".", skip=0)
        header = next(lines_of(path, form))[1]
    except (ConfigError, StopIteration, csv.Error):
        return None
    if header == history_csv.HEADER:
        return HistorySource(path)
    return EnergyPanelSource(path) if tuple(header[: len(energy_panel.HEADER)]) == energy_panel.HEADER else None
