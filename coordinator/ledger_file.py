"""A ledger as it is on the disk, read only and at one moment, while its home runs or not."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from coordinator.errors import ConfigError
from coordinator.ledger import Origin, Row
from coordinator.ledger_store import SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerFile:
    """All that stands in a ledger; nothing is checked yet."""

    owner: str
    incarnation: int
    rows: tuple[Row, ...]


def read_ledger(path: Path) -> LedgerFile:
    """Read a ledger's file.

    Raises:
        ConfigError: If there is none, or it cannot be read.
    """
    if not path.exists():
        raise ConfigError(f"no ledger at {path}: `commonwatt run` begins it; is this the right home?")
    try:
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            db.execute("BEGIN")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version != SCHEMA_VERSION:
                raise ConfigError(f"{path} is a ledger of version {version}, not {SCHEMA_VERSION}: update commonwatt")
            meta = dict(db.execute("SELECT name, value FROM meta"))
            found = db.execute("SELECT number, at_ms, origin, wire, hash FROM rows ORDER BY number")
            rows = tuple(
                Row(number=number, at_ms=at_ms, origin=Origin(origin), wire=wire, hash=chained)
                for number, at_ms, origin, wire, chained in found
            )
        finally:
            db.close()
        return LedgerFile(owner=meta["owner"], incarnation=int(meta["incarnation"]), rows=rows)
    except (sqlite3.DatabaseError, KeyError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as a ledger ({error}): restore it from a backup") from None
