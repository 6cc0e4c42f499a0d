"""What takes the place of a masked negotiation that failed: an open one of the binding slot, and of nothing later."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from coordinator.charter import Rules
from coordinator.codec import Verified
from coordinator.errors import RemoteProtocolError
from coordinator.masked_events import MaskedEvent, SayAbandon, widened
from coordinator.messages import Abandon
from coordinator.negotiation import Negotiation
from coordinator.negotiation_events import Bidder, Finished, NegotiationEvent
from coordinator.slots import Slot


def binding_rules(rules: Rules) -> Rules:
    """Return the rules of a negotiation of one slot."""
    return rules.model_copy(update={"horizon_slots": 1})


def binding_entries(rules: Rules) -> tuple[int, ...]:
    """Return where in a horizon's vector the binding slot stands: its trade and, under a feeder limit, its exchange."""
    return tuple(range(0, rules.vector_length, rules.horizon_slots))


class BindingOnly:
    """A home's answer for the binding slot alone; for the later ones it goes on from what was last known.

    Args:
        bidder: Answers prices of the whole horizon.
        prices: Last known.
        anchor_wh: Last held to.
        places: As `binding_entries` returns them.
    """

    def __init__(
        self, bidder: Bidder, prices: Sequence[int], anchor_wh: Sequence[float], places: Sequence[int]
    ) -> None:
        self._bidder, self._places = bidder, tuple(places)
        self._prices, self._anchor_wh = tuple(prices), tuple(anchor_wh)

    def bid(self, prices_micro: Sequence[int], anchor_wh: Sequence[float], rho_micro: int | None = None) -> list[int]:
        prices, anchors = list(self._prices), list(self._anchor_wh)
        for place, price, anchor in zip(self._places, prices_micro, anchor_wh, strict=True):
            prices[place], anchors[place] = price, anchor
        answer = self._bidder.bid(prices, anchors, rho_micro)
        return [answer[place] for place in self._places]


class OpenInstead:
    """The open negotiation of the binding slot; until it begins it remembers who has given up already.

    Args:
        bidder: Answers prices of the whole horizon.
    """

    def __init__(self, *, slot: Slot, me: str, rules: Rules, bidder: Bidder) -> None:
        self._slot, self._me, self._rules, self._bidder = slot, me, rules, bidder
        self._early: dict[str, Abandon] = {}
        self._talk: Negotiation | None = None
        self._prices: tuple[int, ...] = ()
        self._anchor_wh: tuple[float, ...] = ()
        self._why = ""

    def announced(self, message: Abandon) -> None:
        """Take a neighbour that gave up.

        Raises:
            RemoteProtocolError: If its prices are not those of one slot.
        """
        if len(message.prices) != len(binding_entries(self._rules)):
            raise RemoteProtocolError(message.sender, f"abandons with {len(message.prices)} prices")
        if self._talk is None:
            self._early[message.sender] = message
        else:
            self._talk.announced(message.sender, message.prices)

    def known(self) -> frozenset[str]:
        """Return who gave up before this home did."""
        return frozenset(self._early)

    def begin(
        self, rounds_at: datetime, why: str, prices: Sequence[int], anchor_wh: Sequence[float]
    ) -> list[MaskedEvent]:
        """Announce that this home takes part.

        Args:
            rounds_at: Until then it hears who else does.
            why: Why the masked negotiation was given up.
            prices: Last known, of the whole horizon.
            anchor_wh: What the bids were held to.
        """
        self._why, self._prices, self._anchor_wh = why, tuple(prices), tuple(anchor_wh)
        places = binding_entries(self._rules)
        opening = tuple(prices[place] for place in places)
        self._talk = Negotiation(
            slot=self._slot,
            me=self._me,
            rules=binding_rules(self._rules),
            bidder=BindingOnly(self._bidder, prices, anchor_wh, places),
            opening_micro=opening,
            warm_wh=[anchor_wh[place] for place in places],
        )
        self._talk.rounds_at = rounds_at
        for early in self._early.values():
            self._talk.announced(early.sender, early.prices)
        return [SayAbandon(prices=opening)]

    def next_deadline(self) -> datetime | None:
        return None if self._talk is None else self._talk.next_deadline()

    def tick(self, now: datetime) -> list[MaskedEvent]:
        return [] if self._talk is None else self._wide(self._talk.tick(now))

    def receive(self, verified: Verified[Any], now: datetime) -> list[MaskedEvent]:
        """Take a bid, prices, or a question for prices.

        Raises:
            RemoteProtocolError: As `Negotiation.receive`.
        """
        return [] if self._talk is None else self._wide(self._talk.receive(verified, now))

    def _wide(self, events: Sequence[NegotiationEvent]) -> list[MaskedEvent]:
        slots = self._rules.horizon_slots
        return [
            widened(event, self._prices, slots, self._anchor_wh, self._why) if isinstance(event, Finished) else event
            for event in events
        ]
