"""Who trades with whom where bids are masked: buyers ask their neighbours one after the other, sealed. Sans-IO.

    buyer -> home    ask            its highest price and no amount: who has nothing to sell learns none
    home -> buyer    quote          what it has left, kept for the buyer until its offer comes; 0: nothing
    buyer -> home    offer          the smaller of what is left there and wanted here: from here on as ever
                                    (contract_book.py)

In step t of a slot, home i asks home t - i of the rotated list: every step pairs all homes, so that no seller is asked
by all at once. A seller that is asked meanwhile answers one buyer after the other. Every buyer that lacks something
comes to every seller that has something left, so as much is traded as an open matching would: the smaller of what all
buyers want and all sellers have. What a negotiation leaves open anyway (the charter's `unmatched_wh`) is not worth
asking everybody for. Whoever carries the messages sees who speaks to whom, and so who buys.

Who is told what a seller has left and then buys none of it gets no answer in the next slot, nor for ever longer when it
does so again: a neighbour that only wants to know learns it once, and not every day.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from coordinator.charter import Rules
from coordinator.codec import Verified
from coordinator.contract_book import ContractBook
from coordinator.effects import Effect, Whisper
from coordinator.masked_roster import Flappers
from coordinator.messages import Ask, Quote
from coordinator.sessions import Session

PATIENCE_PARTS = 4
"""A home waits so long, in parts of a round's timeout, for a quote, or for the offer that should follow one."""
Pays = Callable[[int], int | None]


def rotation(homes: Sequence[str], me: str, number: int) -> list[str]:
    """Return the others in the order in which this home asks them in the slot with this number."""
    ordered = sorted({*homes, me})
    count, mine = len(ordered), ordered.index(me)
    steps = (ordered[(step - mine) % count] for step in range(number, number + count))
    return [home for home in steps if home != me]


@dataclass(slots=True, kw_only=True)
class _Buying:
    """What this home wants in a session, and whom it has still to ask."""

    need_wh: int
    most_micro: int
    pays: Pays
    to_ask: list[str]
    silent: list[str] = field(default_factory=list)
    asked: str = ""
    until: datetime | None = None


@dataclass(slots=True)
class _Selling:
    """Who asked in a session, first come first served, and whose offer is awaited."""

    begun: bool = False
    served: set[str] = field(default_factory=set)
    waiting: dict[str, int] = field(default_factory=dict)
    """Buyers, and the most each pays."""
    kept_for: str = ""
    until: datetime | None = None


class Pairing:
    """See the module's text.

    Args:
        book: The own contracts: it says what is left to sell and still wanted.
    """

    def __init__(self, *, me: str, rules: Rules, book: ContractBook) -> None:
        self._me, self._rules, self._book = me, rules, book
        self._patience = timedelta(seconds=rules.round_timeout_s) / PATIENCE_PARTS
        self._buying: dict[Session, _Buying] = {}
        self._selling: dict[Session, _Selling] = {}
        self._curious = Flappers(rules.slot_s)

    def begin(self, session: Session, homes: Sequence[str], *, need_wh: int, most_micro: int, pays: Pays) -> None:
        """Open a session: what the book's mandate allows is for sale, and `need_wh` is wanted.

        Args:
            homes: Who may be asked.
            most_micro: The highest price this home pays.
            pays: What it offers a seller with this floor, which is not above the highest price; None: no trade.
        """
        self._selling.setdefault(session, _Selling()).begun = True
        if need_wh > self._rules.unmatched_wh:
            order = rotation(homes, self._me, session.slot // self._rules.slot_s)
            self._buying[session] = _Buying(need_wh=need_wh, most_micro=most_micro, pays=pays, to_ask=order)

    # Time

    def next_deadline(self, now: datetime) -> datetime | None:
        """Return when `tick` has something to do."""
        deadlines = [session.expiry_at(self._rules) for session in {*self._buying, *self._selling}]
        for buying in self._buying.values():
            deadlines.append(buying.until or now)
        for session, selling in self._selling.items():
            if selling.kept_for and selling.until is not None:
                deadlines.append(selling.until)
            elif selling.waiting:
                deadlines.append(now if selling.begun else max(now, session.offers_at(self._rules)))
        return min(deadlines, default=None)

    def tick(self, now: datetime) -> list[Effect]:
        """Do the first thing that is due; call again until it returns nothing."""
        for session in [s for s in {*self._buying, *self._selling} if now >= s.expiry_at(self._rules)]:
            self._buying.pop(session, None)
            self._selling.pop(session, None)
        for session in sorted(self._selling):
            if effects := self._serve(session, self._selling[session], now):
                return effects
        for session in sorted(self._buying):
            if effects := self._ask(session, self._buying[session], now):
                return effects
        return []

    # Buying

    def _ask(self, session: Session, buying: _Buying, now: datetime) -> list[Effect]:
        if buying.until is not None and now < buying.until:
            return []
        if buying.asked:
            buying.silent.append(buying.asked)
        buying.asked, buying.until = "", None
        if self._book.wanted_wh(session) >= buying.need_wh or not (buying.to_ask or buying.silent):
            # What a seller rejects is wanted again, so the session stays; it looks again after a while.
            buying.until = now + self._patience
            return []
        if not buying.to_ask:
            buying.to_ask, buying.silent = buying.silent, []
        buying.asked, buying.until = buying.to_ask.pop(0), now + self._patience
        return [self._whisper(Ask, buying.asked, session, {"price_micro": buying.most_micro})]

    def _on_quote(self, quote: Quote, now: datetime) -> list[Effect]:
        session = Session(quote.slot, quote.trade)
        buying = self._buying.get(session)
        if buying is None or (quote.sender != buying.asked and quote.sender not in buying.silent):
            return []
        if quote.sender == buying.asked:
            buying.asked, buying.until = "", None
        else:
            buying.silent.remove(quote.sender)
        price_micro = buying.pays(quote.price_micro) if quote.energy_wh else None
        energy_wh = min(quote.energy_wh, buying.need_wh - self._book.wanted_wh(session))
        if price_micro is None or energy_wh <= 0 or self._book.closed(session):
            return []
        return self._book.offer(session, seller=quote.sender, energy_wh=energy_wh, price_micro=price_micro)

    # Selling

    def receive(self, verified: Verified[Any], now: datetime) -> list[Effect]:
        """Take a neighbour's question, or its answer."""
        message = verified.message
        session = Session(message.slot, message.trade)
        on_grid = session.slot % self._rules.slot_s == 0
        ahead = session.expiry_at(self._rules) - now
        if not on_grid or not timedelta(0) < ahead <= 2 * timedelta(seconds=self._rules.slot_s):
            return []
        match message:
            case Ask():
                selling = self._selling.setdefault(session, _Selling())
                if message.sender not in {*selling.waiting, *selling.served, selling.kept_for}:
                    selling.waiting[message.sender] = message.price_micro
                return []
            case Quote():
                return self._on_quote(message, now)
        return []

    def offered(self, session: Session, buyer: str) -> None:
        """Take note that a buyer's offer is answered: the next one's turn."""
        selling = self._selling.get(session)
        if selling is not None and selling.kept_for == buyer:
            selling.kept_for, selling.until = "", None
            selling.served.add(buyer)
            self._curious.succeeded([buyer])

    def _serve(self, session: Session, selling: _Selling, now: datetime) -> list[Effect]:
        if selling.kept_for and selling.until is not None and now < selling.until:
            return []
        if selling.kept_for:
            self._curious.failed(session.slot, [selling.kept_for])
        selling.kept_for, selling.until = "", None
        if not selling.waiting or not (selling.begun or now >= session.offers_at(self._rules)):
            return []
        buyer, left_wh, floor_micro = next(iter(selling.waiting)), 0, self._book.floor_micro(session)
        if selling.waiting.pop(buyer) >= floor_micro and buyer not in self._curious.out(session.slot):
            left_wh = self._book.unsold_wh(session)
        if left_wh:
            selling.kept_for, selling.until = buyer, now + self._patience
        body = {"energy_wh": left_wh, "price_micro": floor_micro if left_wh else 0}
        return [self._whisper(Quote, buyer, session, body)]

    def _whisper(self, kind: type[Ask | Quote], to: str, session: Session, body: dict[str, int]) -> Whisper:
        head = {"slot": session.slot, "trade": session.trade}
        return Whisper(kind=kind, to=to, expires_at=session.expiry_at(self._rules), body={**head, **body})
