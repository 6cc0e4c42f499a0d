"""What a home does about its contracts: offers, answers, positions, retries.

Decisions return effects and change nothing; what they decided counts once the shell made it durable and handed it to
`apply` (contracts.py, where the states of a contract are told).
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from coordinator.charter import Rules
from coordinator.clock import unix_ms
from coordinator.codec import Verified, message_id
from coordinator.contracts import Contract, Contracts, Status, contract_id
from coordinator.effects import Again, Effect, Keep, Note, Say, Whisper
from coordinator.errors import LocalProtocolError, RemoteProtocolError
from coordinator.ledger import Mark
from coordinator.merkle import leaf_hash, prove, root_and_proofs
from coordinator.messages import (
    EVERYBODY,
    Accept,
    Lapse,
    Leaf,
    Lost,
    Meter,
    Offer,
    Position,
    PositionRequest,
    Reject,
)
from coordinator.sessions import Session

EVIDENCE_LIFE = timedelta(days=30)
"""Final answers stay valid this long; a peer that was away so long needs its people to talk."""
LIVES_MAX = 3
"""Positions of one partner in one session that are kept: one for each incarnation, until a leaf fits one."""
CONTRACTS_MAX = 8
"""Offers of one buyer to one seller in one session. Honest homes make one; more would fill ledgers, and leaves."""
ASK_SHARE, ASK_AT_MOST = 4, timedelta(hours=1)
"""A position is asked for again after this part of the time since the gate, and at least so often."""


class ContractBook(Contracts):
    """See the module's text.

    Args:
        me: Own id.
        rules: The charter's rules.
        peers: The other members.
        incarnation: Number of this ledger's life; part of every contract id: a restored backup cannot reuse one.
    """

    def __init__(self, *, me: str, rules: Rules, incarnation: int, peers: Iterable[str] = ()) -> None:
        super().__init__(me=me, rules=rules, peers=peers)
        self.incarnation = incarnation
        self._held: dict[tuple[Session, str, int], Verified[Leaf]] = {}
        self._due_at: datetime | None = None
        self._due_as_of = -1

    # Buying and selling

    def mandate(self, session: Session, *, sell_wh: int, floor_micro: int) -> list[Effect]:
        """Fix how much this home may sell in the session, and for how little, before anybody can buy it."""
        data = {"trade": session.trade, "sell_wh": sell_wh, "floor_micro": floor_micro}
        return [Note(mark=Mark(kind="mandate", slot=session.slot, data=data))]

    def unsold_wh(self, session: Session) -> int:
        """Return what this home may still sell in the session; 0 while it has not decided, and after the gate."""
        book = self._book(session)
        if book.sell_wh is None or book.closed:
            return 0
        return max(0, book.sell_wh - sum(c.energy_wh for c in self._sold(session)))

    def floor_micro(self, session: Session) -> int:
        """Return the least this home sells for in the session."""
        return self._book(session).floor_micro

    def wanted_wh(self, session: Session) -> int:
        """Return what this home bought, or still offers to buy, in the session."""
        contracts = self._book(session).contracts.values()
        wanted = {Status.OFFERED, Status.BOUND, Status.COUNTED}
        return sum(c.energy_wh for c in contracts if c.buyer == self._me and c.status in wanted)

    def offer(self, session: Session, *, seller: str, energy_wh: int, price_micro: int) -> list[Effect]:
        """Offer to buy from `seller`.

        Raises:
            LocalProtocolError: If the session's gate is closed, or the seller is this home.
        """
        if self.closed(session) or seller == self._me:
            raise LocalProtocolError(f"no offer to {seller} for {session}")
        contracts = self._book(session).contracts.values()
        number = sum(1 for c in contracts if c.buyer == self._me and c.seller == seller)
        body = {
            "contract_id": contract_id(self._me, self.incarnation, session, seller, number),
            "slot": session.slot,
            "seller": seller,
            "energy_wh": energy_wh,
            "price_micro": price_micro,
            "trade": session.trade,
        }
        return [Say(kind=Offer, to=seller, expires_at=session.expiry_at(self._rules), body=body)]

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
                return self._on_request(request, now)
            case Lost():
                book = self._book(Session(verified.message.slot, verified.message.trade))
                waits = any(self._waits_for(c, verified.message.sender) for c in book.contracts.values())
                return [Keep(verified=verified)] if waits else []
            case Meter() as meter:
                session = Session(meter.slot)
                known = ("meter", meter.sender) in self._book(session).said
                return [] if known or meter.sender not in self.partners(session) else [Keep(verified=verified)]
        return []

    def _on_offer(self, verified: Verified[Offer], now: datetime) -> list[Effect]:
        offer = verified.message
        session = Session(offer.slot, offer.trade)
        book, offer_hash = self._book(session), message_id(verified.wire)
        known = book.contracts.get(offer.contract_id)
        if known is not None and known.buyer == offer.sender:
            answer = book.said.get(("answer", known.id))
            return [Again(wire=answer, to=offer.sender)] if answer and known.offer_hash == offer_hash else []
        ids = (contract_id(offer.sender, offer.inc, session, self._me, n) for n in range(CONTRACTS_MAX))
        if offer.contract_id not in ids:
            raise RemoteProtocolError(offer.sender, "contract id is not the sender's own")
        if sum(c.buyer == offer.sender for c in book.contracts.values()) >= CONTRACTS_MAX:
            raise RemoteProtocolError(offer.sender, "makes too many offers in one session")
        if book.sell_wh is None or book.closed or now >= session.gate_at(self._rules) or offer.seller != self._me:
            return []  # it comes again or lapses at the buyer's; nothing was promised
        if self.restored(session.slot):
            return []  # what was promised before the ledger was lost is not known
        if any(buyer == offer.sender for buyer, _ in book.positions):
            return []  # the buyer's gate is closed; its leaf, which left this offer out, does not come again
        sold_wh = sum(c.energy_wh for c in self._sold(session))
        reason = ""
        if offer.price_micro < book.floor_micro:
            reason = "price too low"
        elif sold_wh + offer.energy_wh > book.sell_wh:
            reason = "sold out"
        body = {"slot": offer.slot, "contract_id": offer.contract_id, "offer_hash": offer_hash}
        kind = Reject if reason else Accept
        said = body | {"reason": reason} if reason else body
        return [Keep(verified=verified), Say(kind=kind, to=offer.sender, expires_at=now + EVIDENCE_LIFE, body=said)]

    def _on_answer(self, verified: Verified[Accept | Reject], now: datetime) -> list[Effect]:
        answer = verified.message
        contract = self._contract(answer.contract_id)
        if contract is None or contract.seller != answer.sender or contract.offer_hash != answer.offer_hash:
            return []
        if contract.status is Status.OFFERED:
            return [Keep(verified=verified)]
        if contract.status in (Status.LAPSED, Status.VOID) and isinstance(answer, Accept):
            lapse = self._book(contract.session).said.get(("lapse", contract.id))
            return [Again(wire=lapse, to=contract.seller)] if lapse else [self._lapse(contract, now)]
        return []

    def _lapse(self, contract: Contract, now: datetime) -> Say:
        body = {"slot": contract.slot, "contract_id": contract.id, "offer_hash": contract.offer_hash}
        return Say(kind=Lapse, to=contract.seller, expires_at=now + EVIDENCE_LIFE, body=body)

    def _on_lapse(self, verified: Verified[Lapse]) -> list[Effect]:
        contract = self._contract(verified.message.contract_id)
        if contract is None or contract.buyer != verified.message.sender or contract.status is not Status.ACCEPTED:
            return []
        if self.closed(contract.session):
            return []  # after the gate the buyer's position decides
        return [Keep(verified=verified)]

    # The gate

    def close_gate(self, session: Session, salt: Callable[[Session, str], str], now: datetime) -> list[Effect]:
        """Fix and publish the position of the session: what is in it counts, whatever comes later.

        Args:
            salt: Gives an unguessable 128-bit hex salt for a partner in a session.
        """
        if self.closed(session):
            return []
        contracts = self._book(session).contracts.values()
        sold = self._sold(session)
        given = {Status.BOUND, Status.COUNTED}
        bought = [c for c in contracts if c.buyer == self._me and c.status in given]
        firm = [*sold, *bought]
        # A seller may have accepted what lapsed here, and our lapse may be lost: its leaf tells it that nothing counts.
        lapsed = {c.seller for c in contracts if c.status is Status.LAPSED}
        partners = sorted(self.partners(session) | lapsed)
        ids = {p: tuple(sorted(c.id for c in firm if p in (c.seller, c.buyer))) for p in partners}
        salts = {p: salt(session, p) for p in partners}
        leaves = [leaf_hash(p, ids[p], salts[p]) for p in partners]
        if self._rules.masked:  # a leaf of its own: the root of a home without contracts is like any other
            leaves.append(leaf_hash(self._me, (), salt(session, self._me)))
        root, proofs = root_and_proofs(leaves)
        expires_at = now + EVIDENCE_LIFE
        head = {"slot": session.slot, "trade": session.trade}
        told = 0 if self._rules.masked else 1
        totals = {
            "sold_wh": told * sum(c.energy_wh for c in sold),
            "bought_wh": told * sum(c.energy_wh for c in bought),
        }
        says = [
            Say(
                kind=Leaf,
                to=partner,
                expires_at=expires_at,
                body={**head, "contract_ids": ids[partner], "salt": salts[partner], "proof": proof},
            )
            for partner, proof in zip(partners, proofs, strict=False)
        ]
        return [Say(kind=Position, to=EVERYBODY, expires_at=expires_at, body={**head, "root": root, **totals}), *says]

    def _on_position(self, verified: Verified[Position | Leaf]) -> list[Effect]:
        """Keep a partner's position, and its leaf once that is proved to be in the position's root."""
        message = verified.message
        session, sender = Session(message.slot, message.trade), message.sender
        book = self._book(session)
        if sender in book.lost or sender in book.leaves or sender not in self.partners(session):
            return []
        effects: list[Effect] = []
        position = book.positions.get((sender, message.inc))
        if isinstance(message, Leaf):
            self._held[session, sender, message.inc] = Verified.narrow(verified, Leaf)
        elif position is None and sum(home == sender for home, _ in book.positions) < LIVES_MAX:
            position = message
            effects.append(Keep(verified=verified))
        leaf = self._held.get((session, sender, message.inc))
        if position is None or leaf is None:
            return effects
        del self._held[session, sender, message.inc]
        content = leaf.message
        proved = prove(leaf_hash(self._me, content.contract_ids, content.salt), content.proof, position.root)
        return [*effects, Keep(verified=leaf)] if proved else effects

    def _waits_for(self, contract: Contract, buyer: str) -> bool:
        return contract.buyer == buyer and contract.status is Status.ACCEPTED

    def _on_request(self, request: PositionRequest, now: datetime) -> list[Effect]:
        """Say position and leaf again; where the ledger lost them, say so."""
        session = Session(request.slot, request.trade)
        book, asks = self._book(session), request.sender
        leaf, lost = book.own_leaves.get(asks), book.said.get(("lost", asks))
        position = None if leaf is None else book.own_positions.get(leaf.inc)
        if leaf is not None and position is not None:
            return [Again(wire=position, to=asks), Again(wire=leaf.wire, to=asks)]
        if lost is not None or not self.once_restored(request.slot):
            return [] if lost is None else [Again(wire=lost, to=asks)]
        if now < session.gate_at(self._rules) or (book.contracts and not book.closed):
            return []  # the gate will tell
        body = {"slot": request.slot, "trade": request.trade}
        return [Say(kind=Lost, to=asks, expires_at=now + EVIDENCE_LIFE, body=body)]

    # Time

    def next_deadline(self) -> datetime | None:
        """Return when `tick` has something to do, or None while nothing waits for an answer."""
        if self._due_as_of != self.changes:  # asked for after every message
            self._due_at = min((self._waits_until(contract) for contract in self._waiting()), default=None)
            self._due_as_of = self.changes
        return self._due_at

    def tick(self, now: datetime) -> list[Effect]:
        """Do what is due: let old offers lapse, repeat what has no answer, ask for positions. One sweep over all."""
        effects: list[Effect] = []
        due_at = self.next_deadline()
        if due_at is None or now < due_at:
            return effects
        self.changes += 1
        for contract in self._waiting():
            if now < self._waits_until(contract):
                continue
            self._retry_at[contract.id] = now + self._patience(contract, now)
            if contract.status is Status.ACCEPTED:
                expires_at = now + timedelta(seconds=self._rules.slot_s)
                body = {"slot": contract.slot, "trade": contract.trade}
                effects.append(Whisper(kind=PositionRequest, to=contract.buyer, expires_at=expires_at, body=body))
            elif unix_ms(now) >= contract.expires_ms:
                effects.append(self._lapse(contract, now))
            else:
                wire = self._book(contract.session).said["offer", contract.id]
                effects.append(Again(wire=wire, to=contract.seller))
        return effects

    def _patience(self, contract: Contract, now: datetime) -> timedelta:
        """Return when to say it again: a buyer that never tells its position is asked ever less often."""
        if contract.status is Status.OFFERED:
            return self._retry
        since_gate = now - contract.session.gate_at(self._rules)
        return max(self._retry, min(since_gate / ASK_SHARE, ASK_AT_MOST))

    def _waiting(self) -> list[Contract]:
        """Return what needs another word of the partner's: an answer, or after the gate a position."""
        unanswered = [c for key in self._unanswered if (c := self._contract(key)) is not None]
        return [c for c in unanswered if c.status is Status.OFFERED or self.closed(c.session)]

    def _waits_until(self, contract: Contract) -> datetime:
        at = self._retry_at[contract.id]
        if contract.status is Status.OFFERED:
            return min(at, datetime.fromtimestamp(contract.expires_ms / 1000, UTC))
        return at
