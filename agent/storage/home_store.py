"""The home's own record: metered slots, forecasts and plans as issued, and small facts. One SQLite file.

Readings are no contracts: WAL with synchronous=NORMAL may lose the last moments in a power cut, never the file. The
ledger, which may lose nothing, is another file.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Literal, Self

from coordinator.errors import ConfigError

_SCHEMA = """
CREATE TABLE slots (
    key INTEGER NOT NULL, length_s INTEGER NOT NULL,
    load_wh REAL, pv_wh REAL, battery_wh REAL, import_wh INTEGER, export_wh INTEGER, soc_pct REAL,
    source TEXT NOT NULL CHECK (source IN ('meter', 'import')),
    PRIMARY KEY (length_s, key)
) WITHOUT ROWID;
CREATE TABLE issued (
    kind TEXT NOT NULL, issued_key INTEGER NOT NULL, length_s INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (kind, length_s, issued_key)
) WITHOUT ROWID;
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
VERSION = 1

Source = Literal["meter", "import"]
Series = dict[str, list[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSlot:
    """One metered slot; energies in Wh of the slot, battery + discharged. None is what nobody measured.

    Args:
        key: Unix second of the slot's start.
        soc_pct: State of charge at the slot's end.
        source: `meter` for what this agent read itself, `import` for older data the owner brought along.
    """

    key: int
    length_s: int
    load_wh: float | None
    pv_wh: float | None
    battery_wh: float | None = None
    import_wh: int | None = None
    export_wh: int | None = None
    soc_pct: float | None = None
    source: Source = "meter"


class HomeStore:
    """Typed access to the file; one connection, to be used from the thread that made it.

    Args:
        path: The file; created when missing, with its folder.

    Raises:
        ConfigError: If the file is no database of ours, is of a newer version, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None)
        except (OSError, sqlite3.OperationalError) as error:
            raise ConfigError(
                f"{path}: the home's database cannot be opened: {error}. Check that the folder exists and that "
                "this user may write to it."
            ) from None
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        try:
            version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
            foreign = version == 0 and self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if foreign or version < 0:
                raise ConfigError(f"{self.path}: this database is not a Commonwatt home's. Name another file.")
            if version > VERSION:
                raise ConfigError(
                    f"{self.path}: the home's database has version {version}, this program knows up to {VERSION}. "
                    "Update Commonwatt, or name another file."
                )
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            if version == 0:
                self._db.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version={VERSION};COMMIT;")
        except sqlite3.DatabaseError as error:
            raise ConfigError(
                f"{self.path}: the home's database cannot be used: {error}. If the file is not Commonwatt's, name "
                "another one; if it is damaged, move it away and a new one is made (history is then learned again)."
            ) from None

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def save_slot(self, slot: StoredSlot) -> None:
        """Keep a slot; a newer record of the same slot replaces the older one, but an import never a metered one."""
        self._save_slots([slot])

    def import_history(self, rows: Iterable[StoredSlot]) -> int:
        """Keep older data as source `import`, all or nothing; metered slots stay as they are.

        Returns:
            How many rows were given.
        """
        return self._save_slots([replace(row, source="import") for row in rows])

    def _save_slots(self, slots: Sequence[StoredSlot]) -> int:
        with closing(self._db.cursor()) as cursor:
            cursor.execute("BEGIN")
            try:
                cursor.executemany(
                    "INSERT INTO slots VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT (length_s, key) DO UPDATE SET "
                    "load_wh=excluded.load_wh, pv_wh=excluded.pv_wh, battery_wh=excluded.battery_wh, "
                    "import_wh=excluded.import_wh, export_wh=excluded.export_wh, soc_pct=excluded.soc_pct, "
                    "source=excluded.source WHERE slots.source='import' OR excluded.source='meter'",
                    [astuple(slot) for slot in slots],
                )
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
            cursor.execute("COMMIT")
        return len(slots)

    def slots(self, length_s: int, first_key: int, end_key: int) -> list[StoredSlot]:
        """Return the kept slots of one length with first_key <= key < end_key, oldest first."""
        rows = self._db.execute(
            "SELECT key, length_s, load_wh, pv_wh, battery_wh, import_wh, export_wh, soc_pct, source FROM slots "
            "WHERE length_s=? AND key>=? AND key<? ORDER BY key",
            (length_s, first_key, end_key),
        )
        names = [field.name for field in fields(StoredSlot)]
        return [StoredSlot(**dict(zip(names, row, strict=True))) for row in rows]

    def history_rows(self, length_s: int, first_key: int, end_key: int) -> list[tuple[int, float | None, float | None]]:
        """Return (key, load_wh, pv_wh) of the kept slots, oldest first: what a forecast learns from."""
        query = "SELECT key, load_wh, pv_wh FROM slots WHERE length_s=? AND key>=? AND key<? ORDER BY key"
        return self._db.execute(query, (length_s, first_key, end_key)).fetchall()

    def save_forecast(self, issued_key: int, length_s: int, series: Series) -> None:
        """Keep a forecast as it was issued for the slots from `issued_key` on (names such as load_w, pv_w)."""
        self._save_issued("forecast", issued_key, length_s, series)

    def save_plan(self, issued_key: int, length_s: int, series: Series) -> None:
        """Keep a plan as it was made for the slots from `issued_key` on (names such as battery_w, trade_w)."""
        self._save_issued("plan", issued_key, length_s, series)

    def forecast(self, issued_key: int, length_s: int) -> Series | None:
        """Return the forecast issued for the slots from `issued_key` on, or None."""
        return self._issued("forecast", issued_key, length_s)

    def plan(self, issued_key: int, length_s: int) -> Series | None:
        """Return the plan made for the slots from `issued_key` on, or None."""
        return self._issued("plan", issued_key, length_s)

    def _save_issued(self, kind: str, issued_key: int, length_s: int, series: Series) -> None:
        body = json.dumps(series, separators=(",", ":"), allow_nan=False)
        self._db.execute("INSERT OR REPLACE INTO issued VALUES (?,?,?,?)", (kind, issued_key, length_s, body))

    def _issued(self, kind: str, issued_key: int, length_s: int) -> Series | None:
        query = "SELECT body FROM issued WHERE kind=? AND length_s=? AND issued_key=?"
        row = self._db.execute(query, (kind, length_s, issued_key)).fetchone()
        if row is None:
            return None
        series: Series = json.loads(row[0])
        return series

    def set_fact(self, name: str, value: str) -> None:
        """Keep a small named fact, replacing an older value."""
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?,?)", (name, value))

    def fact(self, name: str) -> str | None:
        """Return a named fact, or None."""
        row = self._db.execute("SELECT value FROM facts WHERE name=?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def save_shadow_wh(self, stored_wh: float) -> None:
        """Keep the stored energy of the home's shadow that does not trade."""
        self.set_fact("shadow_stored_wh", repr(float(stored_wh)))

    def shadow_wh(self) -> float | None:
        """Return the shadow's stored energy, or None at the first start."""
        value = self.fact("shadow_stored_wh")
        return None if value is None else float(value)

    def prune(self, before_key: int) -> int:
        """Forget forecasts and plans issued before `before_key`; metered slots stay. Returns how many went."""
        return self._db.execute("DELETE FROM issued WHERE issued_key<?", (before_key,)).rowcount
