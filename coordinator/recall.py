"""After a ledger was restored from a backup: what was signed since is asked of the neighbours, who hold it too.

At the start the newest row is older than any trade in progress: the home was away for long, or its ledger is a backup.
It cannot tell, so it does what is right for both: a new incarnation, which makes whatever it said before another life's
word, and nothing new in the slots it may have forgotten. Then it asks (`recall`) every member until each has repeated,
word by word, what the two signed to each other (`recital`). What its own leaf contains counts as if never lost; what no
seller has a leaf of is void, and sellers that ask for it are told so (`lost`).

Two ledgers may be restored at once. Who answers a neighbour that it has not heard itself promises to take nothing from
that neighbour's earlier lives any more (`asked`): else it could learn late what it has just said not to know.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from coordinator.charter import Rules
from coordinator.clock import unix_ms
from coordinator.codec import Verified, heading
from coordinator.contract_book import ContractBook
from coordinator.contracts import Status
from coordinator.effects import Effect, Keep, Note, Recite, Whisper
from coordinator.errors import RemoteProtocolError
from coordinator.ledger import Mark
from coordinator.messages import EVERYBODY, Accept, Lapse, Leaf, Lost, Offer, Position, Recall, Recital, Reject
from coordinator.sessions import Session
from coordinator.slots import Slot

REBORN_AFTER_SLOTS = 2
"""A ledger silent for so long is taken for a restored one. A younger backup must wait so long before it is used."""
RECITED = frozenset({"offer", "accept", "reject", "lapse", "position", "leaf", "lost"})
UNDECIDED = frozenset({Status.OFFERED, Status.BOUND, Status.ACCEPTED})
PARTS_MAX = 200
PART_BYTES = 11_000
"""Of wires in one recital: with the quotes escaped and the signature a message stays below its limit."""


def born_mark(now: datetime, rules: Rules) -> Mark:
    """Return the first mark of an empty ledger. It may be a backup from before its first row: a new life, too."""
    return Mark(kind="born", slot=Slot.at(now, rules.slot_s).key, data={})


def reborn_mark(newest_ms: int, now: datetime, rules: Rules, memory: timedelta) -> Mark | None:
    """Return the mark of a new life, or None where the ledger is fresh.

    Args:
        newest_ms: When its newest row was written.
        memory: No slot before `now - memory` is asked for.
    """
    silent_ms = REBORN_AFTER_SLOTS * rules.slot_s * 1000
    if unix_ms(now) - newest_ms <= silent_ms:
        return None
    since = max(newest_ms - silent_ms, unix_ms(now - memory)) // 1000
    coming = Slot.at(now + timedelta(seconds=rules.ready_s), rules.slot_s)
    return Mark(kind="reborn", slot=coming.key, data={"since": since // rules.slot_s * rules.slot_s})


def parts_of(wires: Iterable[bytes], peer: str, part_bytes: int = PART_BYTES) -> list[tuple[str, ...]]:
    """Return what a peer and we signed to each other, in parts that fit into messages; at least one, maybe empty."""
    parts: list[list[str]] = [[]]
    size = 0
    for wire in wires:
        head = heading(wire)
        if head is None or head[0] not in RECITED or not (peer in head[1:] or head[2] == EVERYBODY):
            continue
        text = wire.decode()
        length = len(json.dumps(text)) + 1
        if parts[-1] and size + length > part_bytes:
            parts.append([])
            size = 0
        parts[-1].append(text)
        size += length
    return [tuple(part) for part in parts]


class Recalls:
    """Asks for what was lost and answers who asks. Sans-IO.

    Args:
        terms: The community's, under every charter it ever had.
        memory: How long members are asked, and what age of slots is told.
    """

    def __init__(self, *, me: str, terms: Collection[str], rules: Rules, book: ContractBook, memory: timedelta) -> None:
        self._me = me
        self._terms = terms
        self._rules = rules
        self._book = book
        self._memory = memory
        self._ask_every = timedelta(seconds=rules.slot_s / 3)
        self._asked_at: datetime | None = None
        self._told_at: dict[str, datetime] = {}
        self._parts: dict[str, dict[int, tuple[str, ...]]] = {}

    def next_deadline(self, now: datetime) -> datetime | None:
        """Return when to ask next, or None when everybody was heard."""
        if self._book.reborn is None or not self._book.reborn.unheard:
            return None
        return now if self._asked_at is None else self._asked_at + self._ask_every

    def tick(self, now: datetime) -> list[Effect]:
        """Ask, when it is time to."""
        due, reborn = self.next_deadline(now), self._book.reborn
        if reborn is None or due is None or now < due:
            return []
        self._asked_at = now
        if now > reborn.at + self._memory:
            return [self._recited(reborn.until, peer) for peer in sorted(reborn.unheard)]
        body = {"slot": reborn.since, "until": reborn.until}
        return [Whisper(kind=Recall, to=EVERYBODY, expires_at=now + self._ask_every, body=body)]

    def _recited(self, until: int, peer: str) -> Note:
        return Note(mark=Mark(kind="recited", slot=until, data={"peer": peer}))

    def _no_earlier_life(self, recall: Recall) -> list[Effect]:
        """Return the promise to a neighbour that this home waits for itself, once for each of its lives."""
        reborn = self._book.reborn
        waits = reborn is not None and recall.sender in reborn.unheard
        if reborn is None or not waits or reborn.lives.get(recall.sender) == recall.inc:
            return []
        self._parts.pop(recall.sender, None)
        return [Note(mark=Mark(kind="asked", slot=reborn.until, data={"peer": recall.sender, "life": recall.inc}))]

    def asked(self, recall: Recall, now: datetime) -> list[Effect]:
        """Answer a neighbour, but not more often than it may ask: reading the ledger costs."""
        told_at = self._told_at.get(recall.sender)
        if told_at is not None and timedelta(0) <= now - told_at < self._ask_every / 2:
            return []
        self._told_at[recall.sender] = now
        since = max(recall.slot, int((now - self._memory).timestamp()))
        open_ones = [
            contract
            for contract in self._book.contracts()
            if recall.sender in (contract.buyer, contract.seller)
            and since <= contract.slot <= recall.until
            and contract.status in UNDECIDED
        ]
        answer = Recite(
            to=recall.sender, asker_inc=recall.inc, since=since, until=recall.until, undecided=len(open_ones)
        )
        return [*self._no_earlier_life(recall), answer]

    # What comes back

    def whole(self, recital: Recital) -> list[str]:
        """Return what a neighbour repeats once all parts are here, else nothing.

        Raises:
            RemoteProtocolError: If there are more parts than two days have.
        """
        if not self._wanted(recital):
            return []
        if not recital.part <= recital.parts <= PARTS_MAX:
            raise RemoteProtocolError(recital.sender, "recites more than there can be")
        if self._parts.get(recital.sender, {}).keys() - set(range(1, recital.parts + 1)):
            del self._parts[recital.sender]
        parts = self._parts.setdefault(recital.sender, {})
        parts[recital.part] = recital.wires
        if len(parts) < recital.parts:
            return []
        return [wire for number in sorted(parts) for wire in parts[number]]

    def regain(
        self, recital: Recital, told: Sequence[Verified[Any]], known: Callable[[int, bytes], bool]
    ) -> list[Effect]:
        """Return what to write down first: gates that are over, lost offers and answers, own leaves.

        Args:
            told: The verified content of the whole recital.
            known: Whether the ledger has a wire of a slot.
        """
        lost = [v for v in told if self._between_us(v, recital.sender) and not known(v.message.slot, v.wire)]
        answered = {v.message.contract_id for v in lost if isinstance(v.message, Accept | Reject)}
        offers = [v for v in lost if isinstance(v.message, Offer)]
        offers = [v for v in offers if v.message.sender == self._me or v.message.contract_id in answered]
        grounds = {v.message.contract_id for v in offers}
        answers = [v for v in lost if isinstance(v.message, Accept | Reject) and self._has_ground(v, grounds)]
        own = [v for v in lost if v.message.sender == self._me and not isinstance(v.message, Offer | Accept | Reject)]
        own = [v for v in own if not isinstance(v.message, Lapse) or self._has_ground(v, grounds)]
        return [*self._closed(v.message for v in offers), *(Keep(verified=v) for v in [*offers, *answers, *own])]

    def _has_ground(self, verified: Verified[Any], grounds: Collection[str]) -> bool:
        """Return whether the offer that an answer or a lapse is about is known."""
        contract = verified.message.contract_id
        return contract in grounds or self._book.knows(contract)

    def _closed(self, offers: Iterable[Any]) -> Iterator[Effect]:
        """In a session that the ledger knows nothing of nothing more is agreed: only the own leaf can still count."""
        for session in sorted({Session(offer.slot, offer.trade) for offer in offers}):
            if not self._book.closed(session) and not self._book.begun(session):
                yield Note(mark=Mark(kind="closed", slot=session.slot, data={"trade": session.trade}))

    def rest(self, recital: Recital, told: Sequence[Verified[Any]]) -> list[Verified[Any]]:
        """Return the neighbour's other words, to be taken as if they came now."""
        kinds = Lapse | Position | Leaf | Lost
        theirs = (v for v in told if v.message.sender == recital.sender and isinstance(v.message, kinds))
        return [v for v in theirs if self._between_us(v, recital.sender)]

    def heard(self, recital: Recital) -> list[Effect]:
        """Note that a neighbour has told everything, once it has and nothing between us is undecided there."""
        reborn = self._book.reborn
        if reborn is None or not self._wanted(recital):
            return []
        if len(self._parts.get(recital.sender, {})) < recital.parts:
            return []
        del self._parts[recital.sender]
        return [] if recital.undecided else [self._recited(reborn.until, recital.sender)]

    def _wanted(self, recital: Recital) -> bool:
        """Return whether a recital is what this life of the ledger waits for, said by a life that still holds."""
        reborn = self._book.reborn
        if reborn is None or recital.sender not in reborn.unheard or recital.asker_inc != self._book.incarnation:
            return False
        return reborn.lives.get(recital.sender, recital.inc) == recital.inc

    def _between_us(self, verified: Verified[Any], peer: str) -> bool:
        message = verified.message
        pairs = {(self._me, peer), (peer, self._me), (self._me, EVERYBODY), (peer, EVERYBODY)}
        return (
            message.kind in RECITED
            and (message.sender, message.to) in pairs
            and message.community in self._terms
            and self._book.restored(message.slot)
        )
