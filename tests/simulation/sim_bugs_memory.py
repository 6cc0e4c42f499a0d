"""Planted bugs of durability: sent too early, known to memory only, answered anew."""

from typing import Any

from sim_plants import CLOCKS, JUMPS, notes, plant, says, without

from coordinator import contract_book
from coordinator.after_slot import AfterSlot
from coordinator.contract_book import ContractBook
from coordinator.contracts import Contracts, Status
from coordinator.desk import Desk
from coordinator.effects import Again, Keep, Say
from coordinator.ledger import Entry, Origin, local
from coordinator.messages import Accept, Lapse, Leaf, Offer, Position, Reject
from coordinator.trader import Trader

# Sent before it is durable


def _sends_first(*kinds: type) -> Any:
    def perform(self: Desk, effects: Any, now: Any) -> None:
        early = [e for e in effects if says(*kinds)(e)]
        for effect in early:
            self._send(effect.to, self._sign(effect, now).wire, True)
        _perform(self, effects, now)

    return perform


_perform = Desk._perform
plant("an accept is sent before it is durable", (Desk, "_perform", _sends_first(Accept)))
plant("an offer is sent before it is durable", (Desk, "_perform", _sends_first(Offer)))
plant("a position is sent before it is durable", (Desk, "_perform", _sends_first(Position)))
plant("committed rows are lost in a power cut", lost_rows=3)

# What is known only to memory, or not at all

_apply, _close = Contracts.apply, Contracts._close
_on_offer, _on_answer = ContractBook._on_offer, ContractBook._on_answer
_sold = Contracts._sold


def _applied_but_not_kept(kind: type) -> Any:
    """Apply what a peer says, and forget to make it durable."""

    def perform(self: Desk, effects: Any, now: Any) -> None:
        rest = []
        for effect in effects:
            if isinstance(effect, Keep) and isinstance(effect.verified.message, kind):
                self.trader.book.apply(Entry(origin=Origin.PEER, at_ms=0, content=effect.verified))
            else:
                rest.append(effect)
        _perform(self, rest, now)

    return perform


def _noted_but_not_kept(kind: str) -> Any:
    def perform(self: Desk, effects: Any, now: Any) -> None:
        rest = []
        for effect in effects:
            if notes(kind)(effect):
                self.trader.book.apply(local(effect.mark, now))
            else:
                rest.append(effect)
        _perform(self, rest, now)

    return perform


def _replay_without(*left_out: str) -> Any:
    """Restore a book, but for entries of some kinds of its own."""

    def replay(self: Contracts, entries: Any) -> None:
        rows = list(entries)
        whole = len(rows) > 40  # a start, not what was just said
        for entry in rows:
            if not (whole and entry.origin is not Origin.PEER and entry.kind in left_out):
                self.apply(entry)

    return replay


def _starts_without(name: str, value: Any) -> Any:
    """A trader that is told nothing of what the ledger knows."""

    def init(self: Trader, **named: Any) -> None:
        _trader_init(self, **{**named, name: value})

    return init


_trader_init = Trader.__init__
plant("the accept of a bound contract is not kept", (Desk, "_perform", _applied_but_not_kept(Accept)))
plant("the leaf that decided is not kept", (Desk, "_perform", _applied_but_not_kept(Leaf)))
plant("how much may be sold is not kept", (Desk, "_perform", _noted_but_not_kept("mandate")))
plant("a position is forgotten by a restart", (Contracts, "replay", _replay_without("position")))
plant("a lapse is forgotten by a restart", (Contracts, "replay", _replay_without("lapse")))
plant("a restart bids again in the running slot", (Trader, "__init__", _starts_without("last_ready", 0)))
plant("a bill is not kept", (AfterSlot, "_settle", without(AfterSlot._settle, notes("settled"))))
plant("a restart bills again", (Trader, "__init__", _starts_without("settled", set())))
plant("interrupted gates stay open", (Trader, "close_interrupted", lambda self, slots: None))
plant("bills that waited are forgotten by a restart", (Trader, "__init__", _starts_without("metered", {})))


def _forgets_open_ones(self: Contracts, entries: Any) -> None:
    rows = list(entries)
    for entry in rows:
        self.apply(entry)
    if len(rows) > 40:
        self._unanswered.clear()


plant("what waits for an answer is known to memory only", (Contracts, "replay", _forgets_open_ones))

# Answers

plant("nothing counts as sold", (Contracts, "_sold", lambda self, session: []))
plant(
    "what counts early is no longer sold",
    (Contracts, "_sold", lambda self, session: [c for c in _sold(self, session) if c.status is Status.ACCEPTED]),
    faults=CLOCKS,
)


def _answers_anew(self: ContractBook, verified: Any, now: Any) -> Any:
    book = self._sessions.get(_session(verified.message))
    known = book.contracts.pop(verified.message.contract_id, None) if book else None
    effects = _on_offer(self, verified, now)
    if known is not None and not effects:
        assert book is not None
        book.contracts[known.id] = known
    return effects


def _session(offer: Any) -> Any:
    return contract_book.Session(offer.slot, offer.trade)


def _forgets_rejects(self: Contracts, entry: Entry) -> None:
    _apply(self, entry)
    message = getattr(entry.content, "message", None)
    if isinstance(message, Reject) and entry.origin is Origin.OWN:
        session = self._session_of.pop(message.contract_id)
        del self._sessions[session].contracts[message.contract_id]


plant("an offer that comes twice is answered anew", (ContractBook, "_on_offer", _answers_anew))
plant("a reject is not remembered", (Contracts, "apply", _forgets_rejects))


def _after_gate(self: ContractBook, verified: Any, now: Any) -> Any:
    book = self._sessions.get(_session(verified.message))
    if book is None:
        return _on_offer(self, verified, now)
    closed, book.closed = book.closed, False
    try:
        return _on_offer(self, verified, now)
    finally:
        book.closed = closed


def _binds_late(*statuses: Status) -> Any:
    def on_answer(self: ContractBook, verified: Any, now: Any) -> Any:
        contract = self._contract(verified.message.contract_id)
        late = contract is not None and contract.status in statuses and isinstance(verified.message, Accept)
        return [Keep(verified=verified)] if late else _on_answer(self, verified, now)

    return on_answer


plant("whether the gate is closed is asked of the clock", (ContractBook, "_on_offer", _after_gate), faults=JUMPS)


def _bound_by(*statuses: Status) -> Any:
    def apply(self: Contracts, entry: Entry) -> None:
        _apply(self, entry)
        message = getattr(entry.content, "message", None)
        if isinstance(message, Accept) and entry.origin is Origin.PEER and message.sender != self._me:
            contract = self._contract(message.contract_id)
            if contract is not None and contract.status in statuses:
                self._set(contract.id, Status.BOUND)

    return apply


for _name, _status in (("a late accept of a lapsed offer", Status.LAPSED), ("an accept after the gate", Status.VOID)):
    plant(
        f"{_name} binds",
        (ContractBook, "_on_answer", _binds_late(_status)),
        (Contracts, "apply", _bound_by(_status)),
    )


def _lapses_silently(self: ContractBook, now: Any) -> Any:
    effects = []
    for effect in _tick(self, now):
        if says(Lapse)(effect):
            self._set(effect.body["contract_id"], Status.LAPSED)
        else:
            effects.append(effect)
    return effects


_tick = ContractBook.tick
plant("an old offer lapses in memory only", (ContractBook, "tick", _lapses_silently))
plant(
    "positions are not asked for",
    (ContractBook, "tick", lambda self, now: [e for e in _tick(self, now) if isinstance(e, Again | Say)]),
)
