"""Contracts of one home: offers, answers, positions. Nothing is ever agreed by the group, only by pairs.

    buyer:   OFFERED -> BOUND (accept) | REJECTED | LAPSED (no answer in time)
             at the gate BOUND -> COUNTED, OFFERED -> VOID
    seller:  ACCEPTED -> FREED (the buyer's lapse, before the gate)
             after the gate COUNTED | VOID, as the buyer's position says

A contract counts iff the seller countersigned it and the buyer's signed position contains it: the buyer's gate
commitment is the decision point. Decisions return effects and change nothing; `apply` changes state from one ledger
entry, after it is durable. So a restart that applies the stored entries again stands where it stood.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from coordinator.charter import Rules
from coordinator.clock import unix_ms
from coordinator.codec import Verified, digest, message_id
from coordinator.errors import LocalProtocolError, RemoteProtocolError
from coordinator.ledger import Entry, Mark, Origin
from coordinator.merkle import leaf_hash, prove, root_and_proofs
from coordinator.messages import (
    Accept,
    Lapse,
    Leaf,
    Message,
    Meter,
    Offer,
    Position,
    PositionRequest,
    Reject,
)
from coordinator.slots import Slot

EVIDENCE_LIFE = timedelta(days=30)
"""Final answers stay valid this long; a peer that was away so long needs its people to talk."""


class Status(Enum):
    OFFERED = "offered"
    BOUND = "bound"
    REJECTED = "rejected"
    LAPSED = "lapsed"
    ACCEPTED = "accepted"
    FREED = "freed"
    COUNTED = "counted"
    VOID = "void"


CONTRACTS_MAX = 64
"""Of one pair in one slot: as many as a leaf can carry."""

UNANSWERED = frozenset({Status.OFFERED, Status.ACCEPTED})
ALIVE = frozenset({Status.OFFERED, Status.BOUND, Status.ACCEPTED, Status.COUNTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """One contract as this home knows it."""

    id: str
    slot: int
    seller: str
    buyer: str
    energy_wh: int
    price_micro: int
    status: Status
    offer_hash: str
    expires_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """Sign, make durable, apply, then send."""

    kind: type[Message]
    to: str
    expires_at: datetime
    body: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Whisper:
    """Sign and send; binds nobody, so it is not kept."""

    kind: type[Message]
    to: str
    expires_at: datetime
    body: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Make a peer's message durable, then apply."""

    verified: Verified[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Make a local mark durable, then apply."""

    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """Send once more, byte for byte, what was durably said before."""

    wire: bytes
    to: str


Effect = Say | Whisper | Keep | Note | Again


def contract_id(buyer: str, incarnation: int, slot: int, seller: str, number: int) -> str:
    """Return the id of the buyer's offer with this number to the seller; no other home can take it."""
    return digest(f"{buyer}|{incarnation}|{slot}|{seller}|{number}".encode())


@dataclass(slots=True)
class _SlotBook:
    """What is known of one slot."""

    sell_wh: int | None = None
    """None until this home decided; an offer that comes earlier is answered when it comes again."""
    floor_micro: int = 0
    closed: bool = False
    positions: dict[str, Position] = field(default_factory=dict)
    leaves: dict[str, Leaf] = field(default_factory=dict)


class ContractBook:
    """See the module's text.

    Args:
        me: Own id.
        rules: The charter's rules.
        incarnation: Number of this ledger's life; part of every contract id: a restored backup cannot reuse one.
    """

    def __init__(self, *, me: str, rules: Rules, incarnation: int) -> None:
        self._me = me
        self._rules = rules
        self._incarnation = incarnation
        self._slots: dict[int, _SlotBook] = {}
        self._contracts: dict[str, Contract] = {}
        self._said: dict[tuple[str, str], bytes] = {}
        self._held: dict[tuple[int, str], Verified[Leaf]] = {}
        self._retry_at: dict[str, datetime] = {}
        # What may still need a partner's word, oldest first: deadlines are asked for after every message, and the
        # decided contracts of two days need not be walked through each time.
        self._unanswered: dict[str, None] = {}
        self._retry = timedelta(seconds=rules.round_timeout_s)

    # What is known

    def contracts(self, slot: int | None = None) -> list[Contract]:
        return [c for c in self._contracts.values() if slot is None or c.slot == slot]

    def closed(self, slot: int) -> bool:
        return slot in self._slots and self._slots[slot].closed

    def resolved(self, slot: int) -> bool:
        """Return whether the slot's gate is closed and every contract of it is decided."""
        return self.closed(slot) and all(c.status is not Status.ACCEPTED for c in self.contracts(slot))

    def net_wh(self, slot: int) -> int:
        """Return the energy to plan with, + bought: as buyer what is bound, as seller what was promised."""
        firm = [c for c in self.contracts(slot) if c.status in ALIVE and c.status is not Status.OFFERED]
        return sum(c.energy_wh if c.buyer == self._me else -c.energy_wh for c in firm)

    def _sold(self, slot: int) -> list[Contract]:
        """Return what is promised as seller; a buyer whose clock is ahead may already count it before our gate."""
        given = {Status.ACCEPTED, Status.COUNTED}
        return [c for c in self.contracts(slot) if c.seller == self._me and c.status in given]

    def partners(self, slot: int) -> set[str]:
        alive = [c for c in self.contracts(slot) if c.status in ALIVE]
        return {c.seller if c.buyer == self._me else c.buyer for c in alive}

    # Decisions

    def mandate(self, slot: Slot, *, sell_wh: int, floor_micro: int) -> list[Effect]:
        """Fix how much this home may sell in the slot, and for how little, before anybody can buy it."""
        data = {"sell_wh": sell_wh, "floor_micro": floor_micro}
        return [Note(mark=Mark(kind="mandate", slot=slot.key, data=data))]

    def offer(self, slot: Slot, *, seller: str, energy_wh: int, price_micro: int, now: datetime) -> list[Effect]:
        """Offer to buy from `seller`.

        Raises:
            LocalProtocolError: If the slot's gate is closed, or the seller is this home.
        """
        if self.closed(slot.key) or seller == self._me:
            raise LocalProtocolError(f"no offer to {seller} for slot {slot.start_at:%H:%M}")
        number = sum(1 for c in self.contracts(slot.key) if c.buyer == self._me and c.seller == seller)
        body = {
            "contract_id": contract_id(self._me, self._incarnation, slot.key, seller, number),
            "slot": slot.key,
            "seller": seller,
            "energy_wh": energy_wh,
            "price_micro": price_micro,
        }
        expires_at = slot.start_at - timedelta(seconds=self._rules.expiry_s)
        return [Say(kind=Offer, to=seller, expires_at=expires_at, body=body)]

    def receive(self, verified: Verified[Any], now: datetime) -> list[Effect]:
        """Decide what a peer's message means. Redelivery changes nothing.

        Raises:
            RemoteProtocolError: If an offer's contract id is not its sender's to give.
        """
        match verified.message:
            case Offer():
                return self._on_offer(verified, now)
            case Accept() | Reject():
                return self._on_answer(verified, now)
            case Lapse():
                return self._on_lapse(verified)
            case Position() | Leaf():
                return self._on_position(verified)
            case PositionRequest() as request:
                keys = [("position", str(request.slot)), ("leaf", f"{request.slot}|{request.sender}")]
                return [Again(wire=self._said[key], to=request.sender) for key in keys if key in self._said]
            case Meter() as meter:
                known = ("meter", f"{meter.slot}|{meter.sender}") in self._said
                return [] if known or meter.sender not in self.partners(meter.slot) else [Keep(verified=verified)]
        return []

    def _on_offer(self, verified: Verified[Offer], now: datetime) -> list[Effect]:
        offer = verified.message
        ids = (contract_id(offer.sender, offer.inc, offer.slot, self._me, n) for n in range(CONTRACTS_MAX))
        if offer.contract_id not in ids:
            raise RemoteProtocolError(offer.sender, "contract id is not the sender's own")
        known = self._contracts.get(offer.contract_id)
        if known is not None:
            answer = self._said.get(("answer", offer.contract_id))
            same = known.offer_hash == message_id(verified.wire)
            return [Again(wire=answer, to=offer.sender)] if answer and same else []
        book = self._slots.get(offer.slot)
        gate_at = datetime.fromtimestamp(offer.slot, now.tzinfo) - timedelta(seconds=self._rules.gate_s)
        if book is None or book.sell_wh is None or book.closed or now >= gate_at or offer.seller != self._me:
            return []  # it comes again or lapses at the buyer's; nothing was promised
        if offer.sender in book.positions:
            return []  # the buyer's gate is closed; its leaf, which left this offer out, does not come again
        sold_wh = sum(c.energy_wh for c in self._sold(offer.slot))
        body = {"slot": offer.slot, "contract_id": offer.contract_id, "offer_hash": message_id(verified.wire)}
        expires_at = now + EVIDENCE_LIFE
        reason = ""
        if offer.price_micro < book.floor_micro:
            reason = "price too low"
        elif sold_wh + offer.energy_wh > book.sell_wh:
            reason = "sold out"
        if reason:
            answer_say = Say(kind=Reject, to=offer.sender, expires_at=expires_at, body=body | {"reason": reason})
        else:
            answer_say = Say(kind=Accept, to=offer.sender, expires_at=expires_at, body=body)
        return [Keep(verified=verified), answer_say]

    def _on_answer(self, verified: Verified[Accept | Reject], now: datetime) -> list[Effect]:
        answer = verified.message
        contract = self._contracts.get(answer.contract_id)
        if contract is None or contract.seller != answer.sender or contract.offer_hash != answer.offer_hash:
            return []
        if contract.status is Status.OFFERED:
            return [Keep(verified=verified)]
        if contract.status in {Status.LAPSED, Status.VOID} and isinstance(answer, Accept):
            lapse = self._said.get(("lapse", contract.id))
            return [Again(wire=lapse, to=contract.seller)] if lapse else [self._lapse(contract, now)]
        return []

    def _lapse(self, contract: Contract, now: datetime) -> Say:
        body = {"slot": contract.slot, "contract_id": contract.id, "offer_hash": contract.offer_hash}
        return Say(kind=Lapse, to=contract.seller, expires_at=now + EVIDENCE_LIFE, body=body)

    def _on_lapse(self, verified: Verified[Lapse]) -> list[Effect]:
        contract = self._contracts.get(verified.message.contract_id)
        mine = contract is not None and contract.buyer == verified.message.sender
        if contract is None or not mine or contract.status is not Status.ACCEPTED or self.closed(contract.slot):
            return []  # after the gate the buyer's position decides
        return [Keep(verified=verified)]

    def _on_position(self, verified: Verified[Position | Leaf]) -> list[Effect]:
        """Keep a partner's position, and its leaf once that is proved to be in the position's root."""
        message = verified.message
        slot, sender = message.slot, message.sender
        book = self._slots.get(slot)
        if book is None or sender not in self.partners(slot):
            return []
        effects: list[Effect] = []
        position = book.positions.get(sender)
        if isinstance(message, Leaf):
            self._held[(slot, sender)] = Verified.narrow(verified, Leaf)
        elif position is None:
            position = message
            effects.append(Keep(verified=verified))
        leaf = self._held.get((slot, sender))
        if position is None or leaf is None:
            return effects
        del self._held[(slot, sender)]
        content = leaf.message
        proved = prove(leaf_hash(self._me, content.contract_ids, content.salt), content.proof, position.root)
        return [*effects, Keep(verified=leaf)] if proved and sender not in book.leaves else effects

    def close_gate(self, slot: Slot, salt: Callable[[str], str], now: datetime) -> list[Effect]:
        """Fix and publish the position of the slot: what is in it counts, whatever comes later.

        Args:
            salt: Gives an unguessable 128-bit hex salt for a partner.
        """
        if self.closed(slot.key):
            return []
        sold = self._sold(slot.key)
        bought = [c for c in self.contracts(slot.key) if c.status is Status.BOUND]
        firm = [*sold, *bought]
        # A seller may have accepted what lapsed here, and our lapse may be lost: its leaf tells it that nothing counts.
        lapsed = {c.seller for c in self.contracts(slot.key) if c.status is Status.LAPSED}
        partners = sorted(self.partners(slot.key) | lapsed)
        ids = {p: tuple(sorted(c.id for c in firm if p in (c.seller, c.buyer))) for p in partners}
        salts = {p: salt(p) for p in partners}
        root, proofs = root_and_proofs([leaf_hash(p, ids[p], salts[p]) for p in partners])
        expires_at = now + EVIDENCE_LIFE
        sold_wh = sum(c.energy_wh for c in sold)
        bought_wh = sum(c.energy_wh for c in bought)
        body = {"slot": slot.key, "root": root, "sold_wh": sold_wh, "bought_wh": bought_wh}
        leaves = [
            Say(
                kind=Leaf,
                to=partner,
                expires_at=expires_at,
                body={"slot": slot.key, "contract_ids": ids[partner], "salt": salts[partner], "proof": proof},
            )
            for partner, proof in zip(partners, proofs, strict=True)
        ]
        return [Say(kind=Position, to="*", expires_at=expires_at, body=body), *leaves]

    def next_deadline(self) -> datetime | None:
        """Return when `tick` has something to do, or None while nothing waits for an answer."""
        return min((self._waits_until(contract) for contract in self._waiting()), default=None)

    def tick(self, now: datetime) -> list[Effect]:
        """Do what is due: let old offers lapse, repeat what has no answer, ask for positions. One sweep over all."""
        effects: list[Effect] = []
        for contract in self._waiting():
            if now < self._waits_until(contract):
                continue
            self._retry_at[contract.id] = now + self._retry
            if contract.status is Status.ACCEPTED:
                expires_at = now + timedelta(seconds=self._rules.slot_s)
                body = {"slot": contract.slot}
                effects.append(Whisper(kind=PositionRequest, to=contract.buyer, expires_at=expires_at, body=body))
            elif unix_ms(now) >= contract.expires_ms:
                effects.append(self._lapse(contract, now))
            else:
                effects.append(Again(wire=self._said[("offer", contract.id)], to=contract.seller))
        return effects

    def _waiting(self) -> list[Contract]:
        """Return what needs another word of the partner's: an answer, or after the gate a position."""
        unanswered = [self._contracts[key] for key in self._unanswered]
        return [c for c in unanswered if c.status is Status.OFFERED or self.closed(c.slot)]

    def _waits_until(self, contract: Contract) -> datetime:
        at = self._retry_at[contract.id]
        if contract.status is Status.OFFERED:
            return min(at, datetime.fromtimestamp(contract.expires_ms / 1000, UTC))
        return at

    # State

    def replay(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self.apply(entry)

    def apply(self, entry: Entry) -> None:
        """Change state from one durable entry."""
        book = self._slots.setdefault(entry.slot, _SlotBook())
        if isinstance(entry.content, Mark):
            if entry.content.kind == "mandate":
                book.sell_wh = int(entry.content.data["sell_wh"])
                book.floor_micro = int(entry.content.data["floor_micro"])
            return
        wire, message = entry.content.wire, entry.content.message
        match message:
            case Offer():
                self._apply_offer(entry, message)
            case Accept() | Reject():
                mine = entry.origin is Origin.OWN
                accepted = Status.ACCEPTED if mine else Status.BOUND
                self._set(message.contract_id, accepted if isinstance(message, Accept) else Status.REJECTED)
                if mine:
                    self._said[("answer", message.contract_id)] = wire
            case Lapse():
                if entry.origin is Origin.OWN:
                    self._said[("lapse", message.contract_id)] = wire
                    if self._contracts[message.contract_id].status is Status.OFFERED:
                        self._set(message.contract_id, Status.LAPSED)
                else:
                    self._set(message.contract_id, Status.FREED)
            case Position() | Leaf() | Meter():
                self._apply_slot_end(entry, book)

    def _apply_offer(self, entry: Entry, offer: Offer) -> None:
        self._contracts[offer.contract_id] = Contract(
            id=offer.contract_id,
            slot=offer.slot,
            seller=offer.seller,
            buyer=offer.sender,
            energy_wh=offer.energy_wh,
            price_micro=offer.price_micro,
            status=Status.OFFERED,
            offer_hash=message_id(entry.wire),
            expires_ms=offer.expires_ms,
        )
        self._retry_at[offer.contract_id] = datetime.fromtimestamp(entry.at_ms / 1000, UTC) + self._retry
        self._unanswered[offer.contract_id] = None
        if entry.origin is Origin.OWN:
            self._said[("offer", offer.contract_id)] = entry.wire

    def _apply_slot_end(self, entry: Entry, book: _SlotBook) -> None:
        assert isinstance(entry.content, Verified)
        message, wire = entry.content.message, entry.content.wire
        own = entry.origin is Origin.OWN
        match message:
            case Position() if own:
                self._said[("position", str(message.slot))] = wire
                self._close(message.slot, book, datetime.fromtimestamp(entry.at_ms / 1000, UTC))
            case Position():
                book.positions[message.sender] = message
            case Leaf() if own:
                self._said[("leaf", f"{message.slot}|{message.to}")] = wire
            case Leaf():
                book.leaves[message.sender] = message
                self._decide(message)
            case Meter():
                self._said[("meter", f"{message.slot}|{message.to if own else message.sender}")] = wire

    def _close(self, slot: int, book: _SlotBook, at: datetime) -> None:
        book.closed = True
        for contract in self.contracts(slot):
            self._retry_at[contract.id] = at + self._retry
            if contract.status is Status.BOUND:
                self._set(contract.id, Status.COUNTED)
            elif contract.status is Status.OFFERED:
                self._set(contract.id, Status.VOID)

    def _decide(self, leaf: Leaf) -> None:
        for contract in self.contracts(leaf.slot):
            if contract.buyer == leaf.sender and contract.status is Status.ACCEPTED:
                self._set(contract.id, Status.COUNTED if contract.id in leaf.contract_ids else Status.VOID)

    def _set(self, contract_id: str, status: Status) -> None:
        self._contracts[contract_id] = replace(self._contracts[contract_id], status=status)
        if status not in UNANSWERED:
            self._unanswered.pop(contract_id, None)

    def forget_before(self, slot: int) -> None:
        """Drop decided slots older than `slot` from memory; the ledger keeps them."""
        for key in [key for key in self._slots if key < slot and (self.resolved(key) or not self.contracts(key))]:
            del self._slots[key]
            for contract in self.contracts(key):
                del self._contracts[contract.id], self._retry_at[contract.id]
                self._unanswered.pop(contract.id, None)
                for kind in ("offer", "answer", "lapse"):
                    self._said.pop((kind, contract.id), None)
            for known in [k for k in self._said if k[1].partition("|")[0] == str(key)]:
                del self._said[known]
