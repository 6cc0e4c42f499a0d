"""One home's trading, slot after slot: negotiation, matching, offers, gate, and what follows the slot. Sans-IO.

`receive` and `tick` return effects; the shell (node.py) makes them durable, hands them back through `book.apply` and
sends them, in this order, before it calls again. The same class runs with sockets, and with twenty homes and none.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from coordinator.after_slot import AfterSlot
from coordinator.charter import Charter
from coordinator.codec import Verified
from coordinator.contract_book import ContractBook
from coordinator.effects import Effect, Note, Whisper
from coordinator.errors import RemoteProtocolError
from coordinator.household import Household, MeterReading
from coordinator.ledger import Mark
from coordinator.masked_events import MaskedEvent, SayAbandon, SayRoster, SayShare
from coordinator.masked_negotiation import MaskedNegotiation
from coordinator.masked_trading import MaskedTrading, Privacy, said
from coordinator.matching import scale_down
from coordinator.messages import (
    Abandon,
    Ask,
    Bid,
    Leaf,
    Message,
    Offer,
    Position,
    PriceRequest,
    Prices,
    Quote,
    Ready,
    Residual,
    Roster,
    Share,
)
from coordinator.negotiation import (
    AskPrices,
    Finished,
    Negotiation,
    SayBid,
    SayReady,
    TellPrices,
)
from coordinator.pricing import floor_price
from coordinator.sessions import Session
from coordinator.slots import Slot


class Trader:
    """See the module's text.

    Args:
        charter: The community's rules and members.
        me: Own id.
        household: The home.
        book: The contracts, already replayed from the ledger.
        last_ready: Newest slot this home ever announced itself for. It never bids again in that slot: a restart in the
            middle of a negotiation could otherwise sign two bids for one round.
        metered: Slots whose meter reading is in the ledger but whose bill is not.
        settled: Slots whose bill is in the ledger.
        salt: Gives an unguessable hex salt for a partner in a session.
        privacy: What this home shares with each neighbour alone; None where the charter does not mask.
    """

    def __init__(
        self,
        *,
        charter: Charter,
        me: str,
        household: Household,
        book: ContractBook,
        last_ready: int,
        metered: dict[int, MeterReading],
        settled: set[int],
        salt: Callable[[Session, str], str],
        privacy: Privacy | None = None,
    ) -> None:
        self.book = book
        self.negotiation: Negotiation | MaskedNegotiation | None = None
        self._masked = None if privacy is None else MaskedTrading(privacy, book)
        self._rules = charter.rules
        self._ready = timedelta(seconds=charter.rules.ready_s)
        self._me = me
        self._household = household
        self._last_ready = last_ready
        self._salt = salt
        self._open: dict[Slot, datetime] = {}
        """With their gates."""
        self._here = Slot(0, charter.rules.slot_s)
        self._here_from = self._here_until = self._here.start_at
        self._ready_early: dict[str, Verified[Any]] = {}
        self._last: Finished | None = None
        self._after = AfterSlot(
            rules=charter.rules,
            me=me,
            household=household,
            book=book,
            metered=metered,
            settled=settled,
            salt=salt,
            masked=self._masked,
        )

    # Time

    def next_deadline(self, now: datetime) -> datetime:
        """Return when `tick` must be called next."""
        coming = self._coming(now)
        deadlines = [now if self._joinable(coming, now) else self._here_until]
        if self.negotiation is not None and (at := self.negotiation.next_deadline()) is not None:
            deadlines.append(at)
        deadlines += self._open.values()
        pairing_at = None if self._masked is None else self._masked.pairing.next_deadline(now)
        for at in (self.book.next_deadline(), self._after.next_deadline(now), pairing_at):
            if at is not None:
                deadlines.append(at)
        return min(deadlines)

    def _coming(self, now: datetime) -> Slot:
        """Return the slot whose negotiation `now` belongs to."""
        if not self._here_from <= now < self._here_until:
            self._here = Slot.at(now + self._ready, self._rules.slot_s)
            self._here_from, self._here_until = self._here.start_at - self._ready, self._here.end_at - self._ready
        return self._here

    def _joinable(self, slot: Slot, now: datetime) -> bool:
        """Return whether the coming slot is still to be joined: never announced before, and its rounds not begun."""
        return slot.key > self._last_ready and now < slot.start_at - timedelta(seconds=self._rules.rounds_s)

    def _gate_at(self, slot: Slot) -> datetime:
        return Session(slot.key).gate_at(self._rules)

    def tick(self, now: datetime) -> list[Effect]:
        """Do the first thing that is due; call again until it returns nothing."""
        for slot, gate_at in self._open.items():
            if now >= gate_at:
                session = Session(slot.key)
                del self._open[slot]
                self._household.gate_closed(slot, self.book.net_wh(session), now)
                return self.book.close_gate(session, self._salt, now)
        if self.negotiation is not None and (events := self.negotiation.tick(now)):
            return self._translate(events, now)
        effects = self._join(now) or self.book.tick(now) or self._after.tick(now)
        return effects if effects or self._masked is None else self._masked.pairing.tick(now)

    def close_interrupted(self, slots: Sequence[Slot]) -> None:
        """After a restart: slots announced before it still get their gate closed."""
        self._open |= {slot: self._gate_at(slot) for slot in slots if not self.book.closed(Session(slot.key))}

    # Negotiation

    def _join(self, now: datetime) -> list[Effect]:
        slot = self._coming(now)
        if not self._joinable(slot, now):
            return []
        self._last_ready = slot.key
        preparation = self._household.prepare(slot, now)
        if preparation is None:
            return []
        opening, warm = self._from_last(slot, preparation.opening_micro)
        if self._masked is None:
            self.negotiation = Negotiation(
                slot=slot,
                me=self._me,
                rules=self._rules,
                bidder=preparation.bidder,
                opening_micro=opening,
                warm_wh=warm,
            )
        else:
            self.negotiation = self._masked.negotiation(slot, preparation, opening, warm)
        self._open[slot] = self._gate_at(slot)
        early = [ready for ready in self._ready_early.values() if ready.message.slot == slot.key]
        self._ready_early.clear()
        for ready in early:
            self.negotiation.receive(ready, now)
        mark = Note(mark=Mark(kind="ready", slot=slot.key, data={}))
        return [mark, *self._translate(self.negotiation.start(now), now)]

    def _from_last(self, slot: Slot, opening: Sequence[int]) -> tuple[list[int], list[float] | None]:
        """Carry the last prices and anchors over to a horizon that starts at `slot`.

        Prices outside the own tariff are cut to it: what a liar did to the last slot's prices ends with that slot.
        """
        carried = None if self._last is None else self._last.carried(slot, opening)
        if carried is None:
            return list(opening), None
        prices, anchors = carried
        n = self._rules.horizon_slots
        tariffs = map(self._household.tariff_micro, slot.horizon(n))
        within = [max(low, min(high, price)) for price, (high, low) in zip(prices[:n], tariffs, strict=True)]
        return [*within, *prices[n:]], anchors

    def receive(self, verified: Verified[Any], now: datetime) -> list[Effect]:
        """Take a verified message of a peer.

        Raises:
            RemoteProtocolError: If it does not fit the charter.
        """
        match verified.message:
            case Position() | Leaf():
                return self.book.receive(verified, now)
            case Ready() as ready if self.negotiation is None or ready.slot > self.negotiation.slot.key:
                # Its clock is a little ahead of ours: it is heard when we join, or its opening prices would be lost.
                if len(ready.prices) != self._rules.vector_length:
                    raise RemoteProtocolError(ready.sender, f"ready with a vector of {len(ready.prices)} entries")
                self._ready_early[ready.sender] = verified
                return []
            case Bid() | Ready() | Prices() | PriceRequest() | Roster() | Share() | Abandon():
                if self.negotiation is None:
                    return []
                return self._translate(self.negotiation.receive(verified, now), now)
            case Residual() as residual:
                self._after.receive(residual, now)
                return []
            case Ask() | Quote():
                return [] if self._masked is None else self._masked.pairing.receive(verified, now)
            case Offer() as offer if self._masked is not None:
                self._masked.pairing.offered(Session(offer.slot, offer.trade), offer.sender)
                return self.book.receive(verified, now)
            case _:
                return self.book.receive(verified, now)

    def _translate(self, events: Sequence[MaskedEvent], now: datetime) -> list[Effect]:
        effects: list[Effect] = []
        if not events:
            return effects
        assert self.negotiation is not None
        slot = self.negotiation.slot
        for event in events:
            match event:
                case SayReady(prices=prices):
                    effects.append(self._whisper(Ready, "*", slot, {"prices": prices}))
                case SayBid():
                    body = {
                        "round": event.round,
                        "price_hash": event.price_hash,
                        "energy_wh": event.energy_wh,
                    }
                    effects.append(self._whisper(Bid, event.to, slot, body))
                case AskPrices():
                    body = {"round": event.round, "price_hash": event.price_hash}
                    effects.append(self._whisper(PriceRequest, "*", slot, body))
                case TellPrices():
                    body = {"round": event.round, "prices": event.prices, "rho_micro": event.rho_micro}
                    effects.append(self._whisper(Prices, event.to, slot, body))
                case SayRoster() | SayShare() | SayAbandon():
                    kind, body = said(event)
                    effects.append(self._whisper(kind, "*", slot, body))
                case Finished():
                    effects += self._finished(event, now)
        return effects

    def _whisper(self, kind: type[Message], to: str, slot: Slot, body: dict[str, Any]) -> Whisper:
        return Whisper(kind=kind, to=to, expires_at=slot.start_at, body={"slot": slot.key, **body})

    def _finished(self, result: Finished, now: datetime) -> list[Effect]:
        """Turn the final bids into a mandate to sell, or into offers to buy."""
        self._last = result
        slot, mine = result.slot, result.binding_bids_wh[self._me]
        tariff_micro = self._household.tariff_micro(slot)
        price_micro = result.contract_price(self._rules.price_rule, tariff_micro)
        self._household.negotiated(result, price_micro)
        if now >= self._gate_at(slot):
            return []
        if self._masked is not None:
            self._look_for_partners(self._masked, result, price_micro)
        if mine == 0:
            return []
        if mine < 0:
            floor = floor_price(self._rules, price_micro=price_micro, export_micro=tariff_micro[1])
            sell_wh = -self._household.keep(slot, mine, price_micro)
            return self.book.mandate(Session(slot.key), sell_wh=sell_wh, floor_micro=floor) if sell_wh else []
        wanted = {m.seller: m.energy_wh for m in result.matched() if m.buyer == self._me}
        kept_wh = self._household.keep(slot, sum(wanted.values()), price_micro) if wanted else 0
        return [
            effect
            for seller, energy_wh in sorted(scale_down(wanted, kept_wh, 0).items())
            for effect in self.book.offer(
                Session(slot.key), seller=seller, energy_wh=energy_wh, price_micro=price_micro
            )
        ]

    def _look_for_partners(self, masked: MaskedTrading, result: Finished, price_micro: int) -> None:
        assert isinstance(self.negotiation, MaskedNegotiation)
        wanted_wh = max(0, result.binding_bids_wh[self._me])
        kept_wh = self._household.keep(result.slot, wanted_wh, price_micro) if wanted_wh else 0
        masked.finished(result, self.negotiation, kept_wh, price_micro)

    # After the slot

    def metered(self, slot: Slot, reading: MeterReading, now: datetime) -> list[Effect]:
        """Take the meter's word on a finished slot."""
        return self._after.metered(slot, reading, now)
