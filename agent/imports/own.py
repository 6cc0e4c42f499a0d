"""The agent's own database: the slots it metered."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from agent.imports.columns import Chosen, Column, Role, Unit
from agent.imports.meters import Meter
from agent.imports.source import BATCH, OnProgress, Read
from coordinator.errors import ConfigError

_COLUMNS: tuple[tuple[Role, str], ...] = (("load", "load_wh"), ("pv", "pv_wh"))


class OwnSource:
    """A home's `home.db`; it is only read, so that the agent may go on meanwhile.

    Raises:
        ConfigError: If it holds no slot.
    """

    words = "Commonwatt home"
    knows_roles = True

    def __init__(self, path: Path) -> None:
        self.path = path
        with closing(self._open()) as db:
            lengths = db.execute("SELECT length_s, count(*) FROM slots GROUP BY length_s ORDER BY 2 DESC").fetchall()
        if not lengths:
            raise ConfigError(f"{path}: the home has not metered a slot yet: let it run, or name another file")
        self.step_s = int(lengths[0][0])
        """Slots of a charter with another length, before or after, are left out."""
        self._left_out = sum(count for _, count in lengths[1:])

    def columns(self) -> list[Column]:
        unit = Unit(name="Wh", factor=1.0, power=False)
        return [Column(name=name, unit=unit, kind="energy", role=role) for role, name in _COLUMNS]

    def read(self, chosen: Sequence[Chosen], slot_s: int, on_progress: OnProgress) -> Read:
        meters = [Meter(each, slot_s, step_s=self.step_s) for each in chosen]
        with closing(self._open()) as db:
            rows = db.execute("SELECT key, load_wh, pv_wh FROM slots WHERE length_s=? ORDER BY key", (self.step_s,))
            while batch := rows.fetchmany(BATCH):
                table = np.array(batch, dtype=float)
                for meter in meters:
                    column = table[:, 1 if meter.chosen.name == "load_wh" else 2]
                    meter.intervals(table[:, 0], table[:, 0] + self.step_s, column)
        on_progress(1.0)
        left_out = f"slots of another length than {self.step_s // 60} minutes, left out: {self._left_out}"
        return Read(meters=meters, said=[left_out] if self._left_out else [])

    def _open(self) -> sqlite3.Connection:
        try:
            db = sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True)
            db.execute("SELECT 1 FROM slots LIMIT 1")
        except sqlite3.DatabaseError as error:
            raise ConfigError(
                f"{self.path}: cannot be read ({error}): copy it with its -wal file, or stop the agent"
            ) from None
        return db
