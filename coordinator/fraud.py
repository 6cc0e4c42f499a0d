"""What an honest home never signs twice, and how two messages prove that somebody did. Pure.

A proof is two messages with one sender, one incarnation and one key, but two contents. Both signatures and the charter
are all that is needed to check it. The table below names only what an honest home keeps to through crashes, wrong
clocks and restored backups (a new incarnation is another life: nothing is compared across it); what it may rightly say
twice, such as a meter's reading after a clock went back by days, is not in it. Better one liar unproven than one honest
home accused.

What is compared is what a message says, never its header: the same words signed at another time are the same words.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from coordinator.codec import Verified, Verifier
from coordinator.errors import RemoteProtocolError
from coordinator.merkle import leaf_hash, prove
from coordinator.messages import (
    Accept,
    Bid,
    Fraud,
    Lapse,
    Leaf,
    Message,
    Offer,
    Position,
    Ready,
    Reject,
    Residual,
    Settle,
)

Key = tuple[str | int, ...]
"""What one life of a ledger gives one content to; its first part is a name of `WORDS`."""

WORDS = {
    "offer": "two offers under one number",
    "answer": "two answers to one offer",
    "lapse": "two ends of one offer",
    "position": "two positions for one slot",
    "leaf": "two lists of one partner's contracts in a slot",
    "unproved": "a list of contracts that its own position does not contain",
    "ready": "two opening prices for one slot",
    "bid": "two bids in one round",
    "residual": "two amounts left over for one slot",
    "settle": "two statements with one number",
}
"""For people."""

FIRST_BID, ROUNDS_COMPARED = 4, 32
PLACES = FIRST_BID + ROUNDS_COMPARED
"""Heads have a place for each thing said to all: ready, position, residual, position of the residual round, bids."""


_KEYS: dict[type[Message], Callable[[Any], Key]] = {
    Offer: lambda said: ("offer", said.contract_id),
    Accept: lambda said: ("answer", said.contract_id),
    Reject: lambda said: ("answer", said.contract_id),
    Lapse: lambda said: ("lapse", said.contract_id),
    Position: lambda said: ("position", said.slot, said.trade),
    Leaf: lambda said: ("leaf", said.slot, said.trade, said.to),
    Ready: lambda said: ("ready", said.slot),
    Bid: lambda said: ("bid", said.slot, said.round),
    Residual: lambda said: ("residual", said.slot),
    Settle: lambda said: ("settle", said.to, said.number),
}


def key_of(message: Message) -> Key | None:
    """Return what the message gives its content to, or None if it may be said again otherwise."""
    key = _KEYS.get(type(message))
    return None if key is None else key(message)


def place_of(message: Message) -> int | None:
    """Return the place in heads of what is said to all, or None."""
    match message:
        case Bid():
            return FIRST_BID + message.round - 1 if message.round <= ROUNDS_COMPARED else None
        case Ready():
            return 0
        case Position():
            return 1 if message.trade == "slot" else 3
        case Residual():
            return 2
    return None


def contradiction(first: Verified[Any], second: Verified[Any]) -> str | None:
    """Return the name (of `WORDS`) of what two messages prove against their sender, or None."""
    a, b = first.message, second.message
    if (a.sender, a.inc) != (b.sender, b.inc):
        return None
    key = key_of(a)
    if key is not None and key == key_of(b):
        return None if first.content == second.content else str(key[0])
    for position, leaf in ((a, b), (b, a)):
        if isinstance(position, Position) and isinstance(leaf, Leaf) and not _contains(position, leaf):
            return "unproved"
    return None


def _contains(position: Position, leaf: Leaf) -> bool:
    """Return whether they are of two sessions, or the leaf is in the position: both are signed at one moment."""
    if (position.slot, position.trade) != (leaf.slot, leaf.trade):
        return True
    return prove(leaf_hash(leaf.to, leaf.contract_ids, leaf.salt), leaf.proof, position.root)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A checked proof. `terms` name the charter by which the later of the two messages was said."""

    accused: str
    what: str
    slot: int
    terms: str
    wires: tuple[bytes, bytes]


def proof(first: Verified[Any], second: Verified[Any]) -> Proof | None:
    """Return what two messages prove, if anything."""
    what = contradiction(first, second)
    if what is None:
        return None
    one, other = sorted((first, second), key=lambda each: (each.message.sent_ms, each.wire))
    return Proof(
        accused=one.message.sender,
        what=what,
        slot=other.message.slot,
        terms=other.message.community,
        wires=(one.wire, other.wire),
    )


def check(fraud: Fraud, verifier: Verifier, terms: Collection[str]) -> Proof:
    """Check what a neighbour, or a stored message, says to prove.

    Args:
        terms: The community's, under every charter it ever had: what was signed elsewhere proves nothing here.

    Raises:
        RemoteProtocolError: If it proves nothing.
    """
    both = [verifier.reopen(wire.encode()) for wire in (fraud.first, fraud.second)]
    found = proof(*both)
    if found is None or found.accused != fraud.accused or found.wires != (fraud.first.encode(), fraud.second.encode()):
        raise RemoteProtocolError(fraud.sender, "accuses without a proof")
    if not {each.message.community for each in both} <= set(terms):
        raise RemoteProtocolError(fraud.sender, "accuses of what was said in another community")
    return found
