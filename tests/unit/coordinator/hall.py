"""Negotiations of several homes in one room: no sockets, signed messages, losses on demand."""

import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sealed import Street

from coordinator.codec import Verified
from coordinator.messages import EVERYBODY, AnyMessage, Bid, PriceRequest, Prices, Ready
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
from coordinator.slots import Slot

Lose = Callable[[str, AnyMessage], bool]
"""`lose(receiver, message)` says whether this copy never arrives."""


class WishBidder:
    """Wants `wish_wh` in every slot (+ buys) as long as the price is right: exact answer with value `value_micro`."""

    def __init__(self, street: Street, wish_wh: int, value_micro: int) -> None:
        self._rules = street.rules
        self._wish_wh, self._value_micro = wish_wh, value_micro
        self.asked: list[tuple[int, ...]] = []

    def bid(self, prices_micro: Sequence[int], anchor_wh: Sequence[float], rho_micro: int | None = None) -> list[int]:
        self.asked.append(tuple(prices_micro))
        low, high = min(self._wish_wh, 0), max(self._wish_wh, 0)
        per_wh = (rho_micro or self._rules.rho_micro) * 3600 / self._rules.slot_s
        best = [a - (p - self._value_micro) / per_wh for p, a in zip(prices_micro, anchor_wh, strict=True)]
        return [round(min(max(wh, low), high)) for wh in best]


class Hall:
    """Args:
    bidders: One per member of the street, in the order of their ids.
    order: Delivers messages in the order they were sent when None, else in a random one.
    delay: How much time each delivery takes.
    """

    def __init__(
        self,
        street: Street,
        bidders: Sequence[Bidder],
        slot: Slot,
        openings: Sequence[Sequence[int]],
        *,
        order: random.Random | None = None,
        lose: Lose = lambda receiver, message: False,
        delay: timedelta = timedelta(0),
    ) -> None:
        self.street, self.slot, self.lose = street, slot, lose
        self._order, self._delay = order, delay
        self.now: datetime = slot.start_at - timedelta(seconds=street.rules.ready_s)
        self.talks = {
            home: Negotiation(slot=slot, me=home, rules=street.rules, bidder=bidder, opening_micro=opening)
            for home, bidder, opening in zip(street.ids, bidders, openings, strict=True)
        }
        self.results: dict[str, Finished] = {}
        self.said: list[tuple[datetime, str, NegotiationEvent]] = []
        self._queue: list[tuple[str, Verified[Any]]] = []

    def run(self) -> dict[str, Finished]:
        """Start all and run until everybody has finished."""
        for home, talk in self.talks.items():
            self._post(home, talk.start(self.now))
        while len(self.results) < len(self.talks):
            if self._queue:
                self._deliver_one()
            else:
                deadlines = [at for talk in self.talks.values() if (at := talk.next_deadline()) is not None]
                self.now = max(self.now, min(deadlines))
            for home, talk in self.talks.items():
                if (at := talk.next_deadline()) is not None and at <= self.now:
                    self._post(home, talk.tick(self.now))
        return self.results

    def times(self, home: str, kind: type[NegotiationEvent]) -> list[datetime]:
        return [at for at, who, event in self.said if who == home and isinstance(event, kind)]

    def _deliver_one(self) -> None:
        receiver, verified = self._queue.pop(self._order.randrange(len(self._queue)) if self._order else 0)
        self.now += self._delay
        self._post(receiver, self.talks[receiver].receive(verified, self.now))

    def _post(self, home: str, events: Sequence[NegotiationEvent]) -> None:
        for event in events:
            self.said.append((self.now, home, event))
            if isinstance(event, Finished):
                assert home not in self.results
                self.results[home] = event
                continue
            verified = self.sealed(home, event)
            to = verified.message.to
            receivers = [other for other in self.talks if other != home and to in (EVERYBODY, other)]
            self._queue += [(other, verified) for other in receivers if not self.lose(other, verified.message)]

    def sealed(self, home: str, event: NegotiationEvent) -> Verified[Any]:
        """Return the event as the message it becomes."""
        slot = self.slot.key
        match event:
            case SayReady():
                return self.street.seal(Ready, home, now=self.now, slot=slot, prices=event.prices)
            case SayBid():
                return self.street.seal(
                    Bid,
                    home,
                    event.to,
                    now=self.now,
                    seq=len(self.said),
                    slot=slot,
                    round=event.round,
                    price_hash=event.price_hash,
                    energy_wh=event.energy_wh,
                )
            case AskPrices():
                body = {"round": event.round, "price_hash": event.price_hash}
                return self.street.seal(PriceRequest, home, now=self.now, slot=slot, **body)
            case TellPrices():
                body = {"round": event.round, "prices": event.prices, "rho_micro": event.rho_micro}
                return self.street.seal(Prices, home, event.to, now=self.now, slot=slot, **body)
        raise AssertionError(event)
