"""Ledgers that tell the simulation what they commit: the real one on SQLite, and a fast one in memory.

Both crash where a process may: before a commit and after it. What was not committed is lost with the process.
"""

import copy
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from operator import itemgetter
from pathlib import Path
from random import Random
from typing import Any

import coordinator.ledger_store
from coordinator.codec import Verifier
from coordinator.ledger import Entry, Mark, Origin
from coordinator.ledger_store import LedgerStore

Commit = Callable[[Callable[[], None], Sequence[Entry]], None]
"""Is called with what writes, and with what is written; crashes before or after it."""


class MemoryStore:
    """Has the interface of LedgerStore; keeps what was verified instead of verifying it again."""

    def __init__(self, commit: Commit, draw: Random) -> None:
        self._commit = commit
        self._draw = draw
        self._kept: list[Entry] = []
        self._slots: list[int] = []
        self._said: list[tuple[int, bytes]] = []
        """By slot: what is kept but for marks."""
        self._marks: defaultdict[str, list[Mark]] = defaultdict(list)
        self._by_kind: defaultdict[str, list[tuple[int, Entry]]] = defaultdict(list)
        self._meta = {"incarnation": str(draw.getrandbits(48)), "salt_key": f"{draw.getrandbits(128):032x}"}

    @property
    def incarnation(self) -> int:
        return int(self._meta["incarnation"])

    def meta(self, name: str) -> str | None:
        return self._meta.get(name)

    def append(self, entries: Sequence[Entry]) -> None:
        if entries:
            self._commit(lambda: self._keep(entries), entries)

    def renew(self, entry: Entry) -> None:
        def write() -> None:
            self._meta["incarnation"] = str(self._draw.getrandbits(48))
            self._keep([entry])

        self._commit(write, [entry])

    def newest_ms(self) -> int | None:
        return self._kept[-1].at_ms if self._kept else None

    def has(self, slot: int, wire: bytes) -> bool:
        return any(said == wire for _, said in self._said)

    def wires(self, since_slot: int, until_slot: int) -> list[bytes]:
        return [wire for slot, wire in self._said if since_slot <= slot <= until_slot]

    def _keep(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._by_kind[entry.kind].append((len(self._kept), entry))
            self._kept.append(entry)
            self._slots.append(entry.slot)
            if isinstance(entry.content, Mark):
                self._marks[entry.kind].append(entry.content)
            else:
                self._said.append((entry.slot, entry.wire))

    def entries(self, verifier: Verifier, since_slot: int = 0) -> Iterator[Entry]:
        return (entry for entry, slot in zip(self._kept, self._slots, strict=True) if slot >= since_slot)

    def of_kinds(self, kinds: Iterable[str], verifier: Verifier, since_slot: int = 0) -> Iterator[Entry]:
        return (entry for entry in self._of(kinds) if entry.slot >= since_slot)

    def _of(self, kinds: Iterable[str]) -> list[Entry]:
        return [entry for _, entry in sorted(chain(*(self._by_kind[kind] for kind in set(kinds))), key=itemgetter(0))]

    def newest_first(self, kinds: Iterable[str]) -> Iterator[tuple[int, Origin, bytes]]:
        return ((e.at_ms, e.origin, e.wire) for e in reversed(self._of(kinds)))

    def marks(self, kind: str, since_slot: int = 0) -> list[Mark]:
        return [mark for mark in self._marks[kind] if mark.slot >= since_slot]

    def last_slot(self, kinds: Iterable[str], until_slot: int = 2**62) -> int:
        return max((entry.slot for entry in self._of(kinds) if entry.slot <= until_slot), default=0)

    def everything(self, verifier: Verifier) -> list[Entry]:
        return list(self._kept)

    def backup(self) -> Any:
        return copy.copy(self._kept), dict(self._meta)

    def restore(self, backup: Any) -> None:
        self._replace(backup[0])
        self._meta = dict(backup[1])

    def _replace(self, entries: Sequence[Entry]) -> None:
        self._kept, self._slots, self._said = [], [], []
        self._marks, self._by_kind = defaultdict(list), defaultdict(list)
        self._keep(entries)

    def lose(self, rows: int) -> None:
        """Forget the newest rows, as a power cut may with `synchronous=NORMAL`: for a planted bug."""
        self._replace(self._kept[: max(0, len(self._kept) - rows)])


class _SeededSecrets:
    """Stands for `secrets` in the ledger's module, so that a seed repeats."""

    def __init__(self, draw: Random) -> None:
        self.randbits = draw.getrandbits
        self.token_hex = lambda n: f"{draw.getrandbits(8 * n):0{2 * n}x}"


class RealStore:
    """The product's own ledger on a file, opened anew after each crash."""

    def __init__(self, commit: Commit, draw: Random, path: Path, owner: str) -> None:
        self._commit = commit
        self._path, self._owner = path, owner
        self._secrets = _SeededSecrets(draw)
        self._ledger = self._open()

    def _open(self) -> LedgerStore:
        with self._seeded():
            return LedgerStore(self._path, self._owner)

    @contextmanager
    def _seeded(self) -> Iterator[None]:
        module: Any = coordinator.ledger_store
        true, module.secrets = module.secrets, self._secrets
        try:
            yield
        finally:
            module.secrets = true

    def renew(self, entry: Entry) -> None:
        with self._seeded():
            self._commit(lambda: self._ledger.renew(entry), [entry])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def append(self, entries: Sequence[Entry]) -> None:
        if entries:
            self._commit(lambda: self._ledger.append(entries), entries)

    def everything(self, verifier: Verifier) -> list[Entry]:
        return list(self._ledger.entries(verifier))

    def reopen(self) -> None:
        self._ledger.close()
        self._ledger = self._open()

    def backup(self) -> Any:
        copied = self._path.with_suffix(".backup")
        self._ledger.close()  # checkpoints: the one file is all
        shutil.copy(self._path, copied)
        self._ledger = self._open()
        return copied

    def restore(self, backup: Any) -> None:
        self._ledger.close()
        shutil.copy(backup, self._path)
        self._ledger = self._open()
