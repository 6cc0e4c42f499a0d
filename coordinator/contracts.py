"""The contracts of one home as its ledger tells them. Nothing is ever agreed by the group, only by pairs.

    buyer:   OFFERED -> BOUND (accept) | REJECTED | LAPSED (no answer in time)
             at the gate BOUND -> COUNTED, OFFERED -> VOID
    seller:  ACCEPTED -> FREED (the buyer's lapse, before the gate)
             after the gate COUNTED | VOID, as the buyer's position says

A contract counts iff the seller countersigned it and the buyer's signed position contains it: the buyer's gate
commitment is the decision point. This holds for each session by itself: for the trades of a slot before it begins, and
for the residual trades after it ended. `apply` is the only way to change anything, from one entry that is durable; so a
restart that applies the stored entries again stands where it stood. What to do next decides contract_book.py.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from coordinator.charter import Rules
from coordinator.codec import Verified, message_id
from coordinator.contract import ALIVE, FIRM, UNANSWERED, Contract, OwnLeaf, Reborn, SessionBook, Status, contract_id
from coordinator.ledger import Entry, Mark, Origin
from coordinator.messages import Accept, Lapse, Leaf, Lost, Meter, Offer, Position, Reject, Settled
from coordinator.sessions import Session

__all__ = ["ALIVE", "UNANSWERED", "Contract", "Contracts", "Status", "contract_id", "mandate_session"]

SOLD = (Status.ACCEPTED, Status.COUNTED)

_NOTHING = SessionBook()
"""Of sessions nothing is known of; read only."""


class Contracts:
    """What is known. See the module's text.

    Args:
        me: Own id.
        rules: The charter's rules.
        peers: The other members.
    """

    def __init__(self, *, me: str, rules: Rules, peers: Iterable[str] = ()) -> None:
        self._me = me
        self._peers = frozenset(peers)
        self.reborn: Reborn | None = None
        self._rebirths: list[Reborn] = []
        self._rules = rules
        self._sessions: dict[Session, SessionBook] = {}
        self._session_of: dict[str, Session] = {}
        self._retry_at: dict[str, datetime] = {}
        # What may still need a partner's word, oldest first: deadlines are asked for after every message, and the
        # decided contracts of two days need not be walked through each time.
        self._unanswered: dict[str, None] = {}
        self._retry = timedelta(seconds=rules.round_timeout_s)
        self.changes = 0
        """Counted, so that what follows from the contracts is worked out anew only when they moved."""

    # What is known

    def contracts(self, slot: int | None = None) -> list[Contract]:
        """Return the contracts of a slot, residual ones last, or all there are."""
        if slot is None:
            books: Iterable[SessionBook] = self._sessions.values()
        else:
            books = (self._book(Session(slot, "slot")), self._book(Session(slot, "residual")))
        return [contract for book in books for contract in book.contracts.values()]

    def _book(self, session: Session) -> SessionBook:
        return self._sessions.get(session, _NOTHING)

    def _contract(self, contract: str) -> Contract | None:
        session = self._session_of.get(contract)
        return None if session is None else self._sessions[session].contracts[contract]

    def knows(self, contract: str) -> bool:
        return contract in self._session_of

    def closed(self, session: Session) -> bool:
        return self._book(session).closed

    def begun(self, session: Session) -> bool:
        """Return whether this home may have bound itself in the session."""
        book = self._book(session)
        return book.sell_wh is not None or bool(book.contracts)

    def resolved(self, session: Session) -> bool:
        """Return whether the session's gate is closed and every contract of it is decided."""
        book = self._book(session)
        return book.closed and all(c.status is not Status.ACCEPTED for c in book.contracts.values())

    def settleable(self, slot: int) -> bool:
        """Return whether no contract of the slot waits for its gate or for a partner's word."""
        sessions = (Session(slot, "slot"), Session(slot, "residual"))
        if self.restored(slot) and self.reborn is not None and self.reborn.unheard:
            return False
        return all(self.resolved(session) or not self._book(session).contracts for session in sessions)

    def restored(self, slot: int) -> bool:
        """Return whether the ledger may have lost what was agreed in the slot."""
        return self.reborn is not None and self.reborn.covers(slot)

    def once_restored(self, slot: int) -> bool:
        """Return whether that was so in this life or in an earlier one."""
        return any(each.covers(slot) for each in self._rebirths)

    def net_wh(self, session: Session) -> int:
        """Return the energy to plan with, + bought: as buyer what is bound, as seller what was promised."""
        firm = [c for c in self._book(session).contracts.values() if c.status in FIRM]
        return sum(c.energy_wh if c.buyer == self._me else -c.energy_wh for c in firm)

    def doubtful_wh(self, session: Session) -> int:
        """Return what was promised as seller and has not got the buyer's last word."""
        contracts = self._book(session).contracts.values()
        return sum(c.energy_wh for c in contracts if c.status is Status.ACCEPTED)

    def _sold(self, session: Session) -> list[Contract]:
        """Return what is promised as seller; a buyer whose clock is ahead may already count it before our gate."""
        contracts = self._book(session).contracts.values()
        return [c for c in contracts if c.seller == self._me and c.status in SOLD]

    def overtaken(self) -> set[bytes]:
        """Return own last words that no partner holds: what an earlier life of this ledger said came first."""
        return {wire for book in self._sessions.values() for wire in book.overtaken}

    def partners(self, session: Session) -> set[str]:
        alive = [c for c in self._book(session).contracts.values() if c.status in ALIVE]
        return {contract.partner(self._me) for contract in alive}

    # Changes

    def replay(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self.apply(entry)

    def apply(self, entry: Entry) -> None:
        """Change state from one durable entry."""
        self.changes += 1
        own = entry.origin is Origin.OWN
        if isinstance(entry.content, Mark):
            self._apply_mark(entry.content, entry)
            return
        wire, message = entry.content.wire, entry.content.message
        if message.sender == self._me and not own:
            self._regain(entry.content, entry)
            return
        match message:
            case Position() | Leaf():
                self._apply_gate(entry, message)
            case Offer():
                self._apply_offer(entry, message)
            case Accept() | Reject():
                accepted = Status.ACCEPTED if own else Status.BOUND
                if own or self.status(message.contract_id) is Status.OFFERED:
                    self._set(message.contract_id, accepted if isinstance(message, Accept) else Status.REJECTED)
                if own:
                    self._said_of(message.contract_id)["answer", message.contract_id] = wire
            case Lapse() if own:
                self._said_of(message.contract_id)["lapse", message.contract_id] = wire
                contract = self._contract(message.contract_id)
                if contract is not None and contract.status is Status.OFFERED:
                    self._set(contract.id, Status.LAPSED)
            case Lapse():
                self._set(message.contract_id, Status.FREED)
            case Lost():
                self._apply_lost(entry, message)
            case Meter():
                of = message.to if own else message.sender
                self._open(Session(message.slot)).said["meter", of] = wire

    def _open(self, session: Session) -> SessionBook:
        book = self._sessions.get(session)
        if book is None:
            book = self._sessions[session] = SessionBook()
        return book

    def _apply_mark(self, mark: Mark, entry: Entry) -> None:
        if mark.kind == "mandate":
            book = self._open(mandate_session(mark))
            book.sell_wh = int(mark.data["sell_wh"])
            book.floor_micro = int(mark.data["floor_micro"])
        elif mark.kind == "closed":
            self._close(self._open(mandate_session(mark)), _at(entry))
        elif mark.kind == "reborn":
            earlier = self.reborn.since if self.reborn is not None and self.reborn.unheard else mark.slot
            since = min(int(mark.data["since"]), earlier)
            self.reborn = Reborn(since=since, until=mark.slot, at=_at(entry), unheard=set(self._peers))
            self._rebirths.append(self.reborn)
        elif mark.kind == "recited" and self.reborn is not None:
            self.reborn.unheard.discard(str(mark.data["peer"]))
        elif mark.kind == "asked" and self.reborn is not None:
            self.reborn.lives[str(mark.data["peer"])] = int(mark.data["life"])

    def _apply_offer(self, entry: Entry, offer: Offer) -> None:
        session = Session(offer.slot, offer.trade)
        book = self._open(session)
        assert isinstance(entry.content, Verified)
        wire = entry.content.wire
        book.contracts[offer.contract_id] = Contract(
            id=offer.contract_id,
            slot=offer.slot,
            trade=offer.trade,
            seller=offer.seller,
            buyer=offer.sender,
            energy_wh=offer.energy_wh,
            price_micro=offer.price_micro,
            status=Status.VOID if book.closed else Status.OFFERED,
            offer_hash=message_id(wire),
            expires_ms=offer.expires_ms,
        )
        self._session_of[offer.contract_id] = session
        self._retry_at[offer.contract_id] = _at(entry) + self._retry
        if not book.closed:
            self._unanswered[offer.contract_id] = None
        if entry.origin is Origin.OWN:
            book.said["offer", offer.contract_id] = wire

    def _apply_gate(self, entry: Entry, message: Position | Leaf) -> None:
        session = Session(message.slot, message.trade)
        book = self._open(session)
        if entry.origin is Origin.OWN:
            if isinstance(message, Position):
                book.own_positions.setdefault(message.inc, entry.wire)
                self._close(book, _at(entry))
            else:
                _hold(book, message, entry.wire, came_back=False)
        elif isinstance(message, Position):
            book.positions[message.sender, message.inc] = message
        else:
            book.leaves[message.sender] = message
            self._decide(book, message)

    def _regain(self, verified: Verified[Any], entry: Entry) -> None:
        """Take back what this home said in an earlier life of its ledger, as a partner repeats it."""
        message = verified.message
        if isinstance(message, Settled):
            return  # of no session: accounts.py
        book = self._open(Session(message.slot, getattr(message, "trade", "slot")))
        match message:
            case Offer():
                self._apply_offer(entry, message)
            case Accept() | Reject():
                self._said_of(message.contract_id)["answer", message.contract_id] = verified.wire
                accepted = isinstance(message, Accept)
                self._set(message.contract_id, Status.ACCEPTED if accepted else Status.REJECTED)
            case Lapse():
                self._said_of(message.contract_id)["lapse", message.contract_id] = verified.wire
                if self.status(message.contract_id) is Status.OFFERED:
                    self._set(message.contract_id, Status.LAPSED)
            case Position():
                book.own_positions.setdefault(message.inc, verified.wire)
            case Leaf():
                _hold(book, message, verified.wire, came_back=True)
                for contract in list(book.contracts.values()):
                    if (contract.buyer, contract.seller) == (self._me, message.to):
                        counts = contract.id in message.contract_ids
                        self._set(contract.id, Status.COUNTED if counts else Status.VOID)
            case Lost():
                book.said["lost", message.to] = verified.wire

    def _apply_lost(self, entry: Entry, message: Lost) -> None:
        book = self._open(Session(message.slot, message.trade))
        if entry.origin is Origin.OWN:
            book.said["lost", message.to] = entry.wire
            self._close(book, _at(entry))
            return
        book.lost.add(message.sender)
        for contract in list(book.contracts.values()):
            if contract.buyer == message.sender and contract.status is Status.ACCEPTED:
                self._set(contract.id, Status.VOID)

    def _close(self, book: SessionBook, at: datetime) -> None:
        book.closed = True
        for contract in list(book.contracts.values()):
            self._retry_at[contract.id] = at + self._retry
            if contract.status is Status.BOUND:
                self._set(contract.id, Status.COUNTED)
            elif contract.status is Status.OFFERED:
                self._set(contract.id, Status.VOID)

    def _decide(self, book: SessionBook, leaf: Leaf) -> None:
        for contract in list(book.contracts.values()):
            if contract.buyer == leaf.sender and contract.status is Status.ACCEPTED:
                self._set(contract.id, Status.COUNTED if contract.id in leaf.contract_ids else Status.VOID)

    def _said_of(self, contract: str) -> dict[tuple[str, str], bytes]:
        return self._sessions[self._session_of[contract]].said

    def status(self, contract: str) -> Status | None:
        """Return a contract's status, None if it is not known (any more)."""
        known = self._contract(contract)
        return None if known is None else known.status

    def _set(self, contract: str, status: Status) -> None:
        self.changes += 1
        contracts = self._sessions[self._session_of[contract]].contracts
        contracts[contract] = replace(contracts[contract], status=status)
        if status in UNANSWERED:
            self._unanswered[contract] = None
        else:
            self._unanswered.pop(contract, None)

    def forget_before(self, slot: int) -> None:
        """Drop decided sessions of slots older than `slot` from memory; the ledger keeps them."""
        for session, book in list(self._sessions.items()):
            if session.slot < slot and (self.resolved(session) or not book.contracts):
                del self._sessions[session]
                for contract in book.contracts:
                    del self._session_of[contract], self._retry_at[contract]
                    self._unanswered.pop(contract, None)


def _hold(book: SessionBook, leaf: Leaf, wire: bytes, *, came_back: bool) -> None:
    """Note an own leaf; one that came back is what the partner holds, whatever this life of the ledger said."""
    said = OwnLeaf(leaf.inc, wire)
    held = book.own_leaves.setdefault(leaf.to, said)
    if held.wire != wire:
        book.own_leaves[leaf.to], other = (said, held) if came_back else (held, said)
        book.overtaken.add(other.wire)
    if came_back and (lost := book.said.pop(("lost", leaf.to), None)) is not None:
        book.overtaken.add(lost)


def mandate_session(mark: Mark) -> Session:
    """Return the session that a durable mandate to sell is for."""
    return Session(mark.slot, "residual" if mark.data["trade"] == "residual" else "slot")


def _at(entry: Entry) -> datetime:
    return datetime.fromtimestamp(entry.at_ms / 1000, UTC)
