"""The ledger on disk: SQLite with `synchronous=FULL`, so that what was committed survives a power cut.

WAL with `synchronous=NORMAL` may roll back committed rows after a power loss; a countersignature must not be lost so.
"""

import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from coordinator.codec import Verifier
from coordinator.errors import ConfigError
from coordinator.ledger import GENESIS, Entry, Mark, Origin, Row, chain

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE rows (
  number INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, origin TEXT NOT NULL, kind TEXT NOT NULL,
  slot INTEGER NOT NULL, wire BLOB NOT NULL, hash TEXT NOT NULL
) STRICT;
CREATE INDEX rows_by_slot ON rows (slot, number);
CREATE INDEX rows_by_kind ON rows (kind, slot);
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
"""


class LedgerStore:
    """One home's ledger file. Used from one thread.

    Raises:
        ConfigError: If the file is no ledger, belongs to another home, or is of a newer version.
    """

    def __init__(self, path: Path, owner: str) -> None:
        self._path = path
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
        except sqlite3.DatabaseError as error:
            raise ConfigError(f"{path} cannot be opened as a ledger ({error}): check its folder") from None
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._open(owner)
        except sqlite3.DatabaseError as error:
            self.close()
            raise ConfigError(
                f"{path} cannot be used as a ledger ({error}): move it away or restore a backup"
            ) from None
        except ConfigError:
            self.close()
            raise

    def _open(self, owner: str) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise ConfigError(f"{self._path} was written by a newer commonwatt (version {version}): update this one")
        if version == 0:
            # The incarnation tells this book's life from an earlier one that was lost or restored from a backup.
            meta = [("owner", owner), ("incarnation", str(secrets.randbits(48))), ("salt_key", secrets.token_hex(16))]
            with self._transaction():  # a power cut in here leaves an empty file, not a ledger without an owner
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    self._db.execute(statement)
                self._db.executemany("INSERT INTO meta VALUES (?, ?)", meta)
                self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        if self.meta("owner") != owner:
            raise ConfigError(
                f"{self._path} is the ledger of home {self.meta('owner')}, not of {owner}: wrong key or file?"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def meta(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    @cached_property
    def incarnation(self) -> int:
        return int(self.meta("incarnation") or 0)

    @property
    def owner(self) -> str:
        return self.meta("owner") or ""

    def append(self, entries: Sequence[Entry]) -> None:
        """Write the entries in one transaction; when this returns they survive a power cut."""
        if not entries:
            return
        with self._transaction():
            self._insert(entries)

    def renew(self, entry: Entry) -> None:
        """Begin another life of this book: in one transaction a new incarnation, and the entry that tells of it."""
        with self._transaction():
            incarnation = str(secrets.randbits(48))
            self._db.execute("UPDATE meta SET value = ? WHERE name = 'incarnation'", (incarnation,))
            self._insert([entry])
        self.__dict__.pop("incarnation", None)

    def _insert(self, entries: Sequence[Entry]) -> None:
        last = self._db.execute("SELECT number, hash FROM rows ORDER BY number DESC LIMIT 1").fetchone()
        number, previous = last or (0, GENESIS)
        for entry in entries:
            number += 1
            previous = chain(previous, entry.origin, entry.at_ms, entry.wire)
            row = (number, entry.at_ms, entry.origin.value, entry.kind, entry.slot, entry.wire, previous)
            self._db.execute("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing; on a full disk SQLite may have rolled back by itself."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def rows(self) -> Iterator[Row]:
        for number, at_ms, origin, wire, chained in self._db.execute(
            "SELECT number, at_ms, origin, wire, hash FROM rows ORDER BY number"
        ):
            yield Row(number=number, at_ms=at_ms, origin=Origin(origin), wire=wire, hash=chained)

    def newest_ms(self) -> int | None:
        """Return when the newest row was written by this home's clock, or None for an empty book."""
        row = self._db.execute("SELECT at_ms FROM rows ORDER BY number DESC LIMIT 1").fetchone()
        return None if row is None else int(row[0])

    def has(self, slot: int, wire: bytes) -> bool:
        return self._db.execute("SELECT 1 FROM rows WHERE slot = ? AND wire = ?", (slot, wire)).fetchone() is not None

    def wires(self, since_slot: int, until_slot: int) -> list[bytes]:
        """Return the messages of these slots, both ends included, in the order they were written."""
        query = "SELECT wire FROM rows WHERE slot BETWEEN ? AND ? AND origin != 'local' ORDER BY number"
        return [wire for (wire,) in self._db.execute(query, (since_slot, until_slot))]

    def entries(self, verifier: Verifier, since_slot: int = 0) -> Iterator[Entry]:
        """Yield the entries of the slots from `since_slot` on, in order, each signature checked again.

        Raises:
            RemoteProtocolError: If a stored message does not verify: the file was changed.
        """
        query = "SELECT at_ms, origin, wire FROM rows WHERE slot >= ? ORDER BY number"
        return _entries(self._db.execute(query, (since_slot,)), verifier)

    def of_kinds(self, kinds: Iterable[str], verifier: Verifier, since_slot: int = 0) -> Iterator[Entry]:
        """Yield the entries of some kinds, as `entries` does."""
        names = list(kinds)
        query = f"SELECT at_ms, origin, wire FROM rows WHERE kind IN ({_marks(names)}) AND slot >= ? ORDER BY number"
        return _entries(self._db.execute(query, [*names, since_slot]), verifier)

    def newest_first(self, kinds: Iterable[str]) -> Iterator[tuple[int, Origin, bytes]]:
        """Yield time, origin and wire of all rows of some kinds from the newest on; nothing is checked."""
        names = list(kinds)
        query = f"SELECT at_ms, origin, wire FROM rows WHERE kind IN ({_marks(names)}) ORDER BY number DESC"
        for at_ms, origin, wire in self._db.execute(query, names):
            yield at_ms, Origin(origin), wire

    def marks(self, kind: str, since_slot: int = 0) -> list[Mark]:
        query = "SELECT wire FROM rows WHERE kind = ? AND origin = 'local' AND slot >= ? ORDER BY number"
        return [Mark.decode(wire) for (wire,) in self._db.execute(query, (kind, since_slot))]

    def last_slot(self, kinds: Iterable[str], until_slot: int = 2**62) -> int:
        """Return the newest slot up to `until_slot` that has a row of one of these kinds, or 0."""
        names = list(kinds)
        query = f"SELECT max(slot) FROM rows WHERE kind IN ({_marks(names)}) AND slot <= ?"
        return int(self._db.execute(query, [*names, until_slot]).fetchone()[0] or 0)


def _marks(names: Sequence[str]) -> str:
    return ",".join("?" * len(names))


def _entries(rows: Iterable[tuple[int, str, bytes]], verifier: Verifier) -> Iterator[Entry]:
    for at_ms, origin, wire in rows:
        content = Mark.decode(wire) if origin == Origin.LOCAL.value else verifier.reopen(wire)
        yield Entry(origin=Origin(origin), at_ms=at_ms, content=content)
