"""The append-only, hash-chained book of one home, as data. ledger_store.py keeps it in SQLite.

A row is a message of our own, a message of a peer's, or a local mark. Everything the contract book knows is a fold over
these rows, so that what a restart finds is exactly what was there before.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from coordinator.clock import unix_ms
from coordinator.codec import Verified

GENESIS = "0" * 32


class Origin(Enum):
    OWN = "own"
    PEER = "peer"
    LOCAL = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A fact that concerns nobody else: {"kind": ..., plus plain JSON values}."""

    kind: str
    slot: int
    data: Mapping[str, int | str]

    def encode(self) -> bytes:
        return json.dumps({"kind": self.kind, "slot": self.slot, **self.data}, sort_keys=True).encode()

    @classmethod
    def decode(cls, raw: bytes) -> "Mark":
        data = json.loads(raw)
        return cls(kind=data.pop("kind"), slot=data.pop("slot"), data=data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A row before it has its place: what happened, and when by this home's clock."""

    origin: Origin
    at_ms: int
    content: "Verified[Any] | Mark"

    @property
    def kind(self) -> str:
        return self.content.kind if isinstance(self.content, Mark) else str(self.content.message.kind)

    @property
    def slot(self) -> int:
        return self.content.slot if isinstance(self.content, Mark) else int(self.content.message.slot)

    @property
    def wire(self) -> bytes:
        return self.content.encode() if isinstance(self.content, Mark) else self.content.wire


def own(verified: Verified[Any], now: datetime) -> Entry:
    return Entry(origin=Origin.OWN, at_ms=unix_ms(now), content=verified)


def peer(verified: Verified[Any], now: datetime) -> Entry:
    return Entry(origin=Origin.PEER, at_ms=unix_ms(now), content=verified)


def local(mark: Mark, now: datetime) -> Entry:
    return Entry(origin=Origin.LOCAL, at_ms=unix_ms(now), content=mark)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A stored entry with its number and its link of the hash chain."""

    number: int
    at_ms: int
    origin: Origin
    wire: bytes
    hash: str


def chain(previous: str, origin: Origin, at_ms: int, wire: bytes) -> str:
    """Return the hash of the row that follows `previous`."""
    head = f"{previous}\n{origin.value}\n{at_ms}\n".encode()
    return hashlib.blake2b(head + wire, digest_size=16).hexdigest()


def first_broken(rows: Iterable[Row]) -> int | None:
    """Return the number of the first row that does not fit the chain or the numbering, or None if all fit."""
    previous, expected = GENESIS, 1
    for row in rows:
        if row.number != expected or row.hash != chain(previous, row.origin, row.at_ms, row.wire):
            return expected
        previous, expected = row.hash, expected + 1
    return None
