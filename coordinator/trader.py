"""One home's trading, slot after slot: negotiation, matching, offers, gate, settlement. Sans-IO.

`receive` and `tick` return effects; the shell (node.py) makes them durable, hands them back through `book.apply` and
sends them, in this order, before it calls again. The same class runs with sockets, and with twenty homes and none.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from coordinator.charter import Charter
from coordinator.codec import Verified
from coordinator.contracts import Contract, ContractBook, Effect, Note, Say, Whisper
from coordinator.errors import RemoteProtocolError
from coordinator.ledger import Mark
from coordinator.matching import match, scale_down
from coordinator.messages import Bid, Message, Meter, PriceRequest, Prices, Ready
from coordinator.negotiation import (
    AskPrices,
    Bidder,
    Finished,
    Negotiation,
    NegotiationEvent,
    SayBid,
    SayReady,
    TellPrices,
)
from coordinator.pricing import contract_price
from coordinator.settlement import SlotBill, settle_slot
from coordinator.slots import Slot

MEMORY = timedelta(hours=48)
"""Decided slots older than this leave memory; the ledger keeps them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """A home's readiness to negotiate: its answers to prices, and the prices it would open with from cold."""

    bidder: Bidder
    opening_micro: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterReading:
    """What the grid meter counted in a slot, whole Wh."""

    import_wh: int
    export_wh: int


class Household(Protocol):
    """What trading asks of the home. Called inside the event loop: a few milliseconds at most."""

    def prepare(self, slot: Slot, now: datetime) -> Preparation | None:
        """Forecast and plan the horizon that starts at `slot`; None to sit this slot out."""
        ...

    def keep(self, slot: Slot, energy_wh: int, price_micro: int) -> int:
        """Return how much of a matched trade (+ buys) is no loss against having no trade; same sign, never more."""
        ...

    def tariff_micro(self, slot: Slot) -> tuple[int, int]:
        """Return the grid's import and export price of the slot."""
        ...

    def negotiated(self, result: Finished, price_micro: int) -> None: ...

    def gate_closed(self, slot: Slot, net_wh: int, now: datetime) -> None:
        """Take the slot's firm trades, + bought."""
        ...

    def settled(self, slot: Slot, meter: MeterReading, bill: SlotBill, contracts: Sequence[Contract]) -> None:
        """Take the slot's final bill and its contracts, whatever became of them."""
        ...


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
        settled: Slots whose bill is in the ledger: a meter that speaks twice is billed once.
        salt: Gives an unguessable hex salt for (slot, partner).
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
        salt: Callable[[int, str], str],
    ) -> None:
        self.book = book
        self.negotiation: Negotiation | None = None
        self._rules = charter.rules
        self._ready = timedelta(seconds=charter.rules.ready_s)
        self._me = me
        self._household = household
        self._last_ready = last_ready
        self._metered = dict(metered)
        self._settled = set(settled)
        self._salt = salt
        self._open: list[Slot] = []
        self._ready_early: dict[str, Verified[Any]] = {}
        self._last: Finished | None = None

    # Time

    def next_deadline(self, now: datetime) -> datetime:
        """Return when `tick` must be called next."""
        deadlines = [now if self._joinable(now) else self._coming(now).end_at - self._ready]
        if self.negotiation is not None and (at := self.negotiation.next_deadline()) is not None:
            deadlines.append(at)
        deadlines += [self._gate_at(slot) for slot in self._open]
        if (at := self.book.next_deadline()) is not None:
            deadlines.append(at)
        return min(deadlines)

    def _coming(self, now: datetime) -> Slot:
        """Return the slot whose negotiation `now` belongs to."""
        return Slot.at(now + self._ready, self._rules.slot_s)

    def _joinable(self, now: datetime) -> bool:
        """Return whether the coming slot is still to be joined: never announced before, and its rounds not begun."""
        slot = self._coming(now)
        return slot.key > self._last_ready and now < slot.start_at - timedelta(seconds=self._rules.rounds_s)

    def _gate_at(self, slot: Slot) -> datetime:
        return slot.start_at - timedelta(seconds=self._rules.gate_s)

    def tick(self, now: datetime) -> list[Effect]:
        """Do the first thing that is due; call again until it returns nothing."""
        for slot in self._open:
            if now >= self._gate_at(slot):
                self._open.remove(slot)
                self._household.gate_closed(slot, self.book.net_wh(slot.key), now)
                return self.book.close_gate(slot, partial(self._salt, slot.key), now)
        if self.negotiation is not None and (events := self.negotiation.tick(now)):
            return self._translate(events, now)
        return self._join(now) or self.book.tick(now) or self._settle(now)

    def close_interrupted(self, slots: Sequence[Slot]) -> None:
        """After a restart: slots announced before it still get their gate closed."""
        self._open += [slot for slot in slots if not self.book.closed(slot.key)]

    # Negotiation

    def _join(self, now: datetime) -> list[Effect]:
        if not self._joinable(now):
            return []
        slot = self._coming(now)
        self._last_ready = slot.key
        preparation = self._household.prepare(slot, now)
        if preparation is None:
            return []
        opening, warm = self._from_last(slot, preparation.opening_micro)
        self.negotiation = Negotiation(
            slot=slot,
            me=self._me,
            rules=self._rules,
            bidder=preparation.bidder,
            opening_micro=opening,
            warm_wh=warm,
        )
        self._open.append(slot)
        early = [ready for ready in self._ready_early.values() if ready.message.slot == slot.key]
        self._ready_early.clear()
        for ready in early:
            self.negotiation.receive(ready, now)
        mark = Note(mark=Mark(kind="ready", slot=slot.key, data={}))
        return [mark, *self._translate(self.negotiation.start(now), now)]

    def _from_last(self, slot: Slot, opening: Sequence[int]) -> tuple[list[int], list[int] | None]:
        """Shift the last prices and bids to a horizon that starts at `slot`; its new end gets the opening prices.

        Prices outside the own tariff are cut to it: what a liar did to the last slot's prices ends with that slot.
        """
        last = self._last
        count = 0 if last is None else (slot.key - last.slot.key) // slot.length_s
        if last is None or not 0 < count < len(opening):
            return list(opening), None
        bids = last.bids_wh[self._me]
        prices = [*last.prices_micro[count:], *opening[-count:]]
        tariffs = map(self._household.tariff_micro, slot.horizon(len(prices)))
        within = [max(low, min(high, price)) for price, (high, low) in zip(prices, tariffs, strict=True)]
        return within, [*bids[count:], *([0] * count)]

    def receive(self, verified: Verified[Any], now: datetime) -> list[Effect]:
        """Take a verified message of a peer.

        Raises:
            RemoteProtocolError: If it does not fit the charter.
        """
        match verified.message:
            case Ready() as ready if self.negotiation is None or ready.slot > self.negotiation.slot.key:
                # Its clock is a little ahead of ours: it is heard when we join, or its opening prices would be lost.
                if len(ready.prices) != self._rules.horizon_slots:
                    raise RemoteProtocolError(ready.sender, f"ready for a horizon of {len(ready.prices)} slots")
                self._ready_early[ready.sender] = verified
                return []
            case Ready() | Bid() | PriceRequest() | Prices():
                if self.negotiation is None:
                    return []
                return self._translate(self.negotiation.receive(verified, now), now)
            case _:
                return self.book.receive(verified, now)

    def _translate(self, events: Sequence[NegotiationEvent], now: datetime) -> list[Effect]:
        assert self.negotiation is not None
        slot = self.negotiation.slot
        effects: list[Effect] = []
        for event in events:
            match event:
                case SayReady(prices=prices):
                    effects.append(self._whisper(Ready, "*", slot, {"prices": prices}))
                case SayBid():
                    body = {
                        "round": event.round,
                        "roster": event.roster,
                        "price_hash": event.price_hash,
                        "energy_wh": event.energy_wh,
                    }
                    effects.append(self._whisper(Bid, "*", slot, body))
                case AskPrices():
                    body = {"round": event.round, "price_hash": event.price_hash}
                    effects.append(self._whisper(PriceRequest, "*", slot, body))
                case TellPrices():
                    effects.append(
                        self._whisper(Prices, event.to, slot, {"round": event.round, "prices": event.prices})
                    )
                case Finished():
                    effects += self._finished(event, now)
        return effects

    def _whisper(self, kind: type[Message], to: str, slot: Slot, body: dict[str, Any]) -> Whisper:
        return Whisper(kind=kind, to=to, expires_at=slot.start_at, body={"slot": slot.key, **body})

    def _finished(self, result: Finished, now: datetime) -> list[Effect]:
        """Turn the final bids into a mandate to sell, or into offers to buy."""
        self._last = result
        slot, bids = result.slot, result.binding_bids_wh
        import_micro, export_micro = self._household.tariff_micro(slot)
        price_micro = contract_price(
            self._rules.price_rule,
            marginal_micro=result.prices_micro[0],
            bids_wh=bids,
            import_micro=import_micro,
            export_micro=export_micro,
        )
        self._household.negotiated(result, price_micro)
        mine = bids[self._me]
        if now >= self._gate_at(slot) or mine == 0:
            return []
        if mine < 0:
            # A buyer whose view lags by one price step is still served; below the own feed-in price nobody is.
            lag = self._rules.price_change_micro
            floor = max(export_micro, price_micro - lag) if self._rules.price_rule == "marginal" else export_micro
            sell_wh = -self._household.keep(slot, mine, price_micro)
            return self.book.mandate(slot, sell_wh=sell_wh, floor_micro=floor) if sell_wh else []
        wanted = {m.seller: m.energy_wh for m in match(bids, slot.key // slot.length_s) if m.buyer == self._me}
        kept_wh = self._household.keep(slot, sum(wanted.values()), price_micro) if wanted else 0
        return [
            effect
            for seller, energy_wh in sorted(scale_down(wanted, kept_wh, 0).items())
            for effect in self.book.offer(slot, seller=seller, energy_wh=energy_wh, price_micro=price_micro, now=now)
        ]

    # After the slot

    def metered(self, slot: Slot, reading: MeterReading, now: datetime) -> list[Effect]:
        """Take the meter's word on a finished slot; the bill follows when its contracts are decided."""
        if slot.key in self._metered or slot.key in self._settled:
            return []
        self._metered[slot.key] = reading
        data = {"import_wh": reading.import_wh, "export_wh": reading.export_wh}
        expires_at = now + timedelta(days=1)
        tell: list[Effect] = [
            Say(kind=Meter, to=partner, expires_at=expires_at, body={"slot": slot.key, **data})
            for partner in sorted(self.book.partners(slot.key))
        ]
        return [Note(mark=Mark(kind="metered", slot=slot.key, data=data)), *tell]

    def _settle(self, now: datetime) -> list[Effect]:
        for key, reading in sorted(self._metered.items()):
            contracts: list[Contract] = self.book.contracts(key)
            if contracts and not self.book.resolved(key):
                continue
            del self._metered[key]
            self._settled.add(key)
            slot = Slot(key, self._rules.slot_s)
            import_micro, export_micro = self._household.tariff_micro(slot)
            net_wh = reading.import_wh - reading.export_wh
            bill = settle_slot(self._me, contracts, net_wh=net_wh, import_micro=import_micro, export_micro=export_micro)
            self._household.settled(slot, reading, bill, contracts)
            before = int((now - MEMORY).timestamp())
            self.book.forget_before(before)
            self._settled = {k for k in self._settled if k >= before}
            data: dict[str, int | str] = {
                "bought_wh": bill.bought_wh,
                "sold_wh": bill.sold_wh,
                "net_wh": net_wh,
                "total": str(bill.total),
            }
            return [Note(mark=Mark(kind="settled", slot=key, data=data))]
        return []
