"""What a negotiation says to its shell, and what it asks of the home."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from coordinator.charter import PriceRule, Rules
from coordinator.matching import Match, match
from coordinator.message_base import EVERYBODY
from coordinator.pricing import contract_price
from coordinator.slots import Slot


class Bidder(Protocol):
    """A home's answer to prices; the home's own planner implements it."""

    def bid(self, prices_micro: Sequence[int], anchor_wh: Sequence[float], rho_micro: int | None = None) -> list[int]:
        """Return the trade per slot of the horizon, whole Wh, + buys.

        Under a feeder limit all vectors have a second half: prices, anchors and answer of the exchange with the grid.

        Args:
            rho_micro: Step size that holds the answer to the anchor, micro-units per kWh and W; None is the charter's.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SayReady:
    prices: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SayBid:
    """To everybody, or once more to one home that lacks it."""

    round: int
    price_hash: str
    energy_wh: tuple[int, ...]
    to: str = EVERYBODY


@dataclass(frozen=True, slots=True, kw_only=True)
class AskPrices:
    round: int
    price_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TellPrices:
    to: str
    round: int
    prices: tuple[int, ...]
    rho_micro: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The result: the last round's prices and everybody's last bids, horizon-long.

    Args:
        prices_micro: Of the trades, one per slot.
        bids_wh: By home, one per slot.
        moves_wh: How far each home's bids moved in the last round, by home, one per slot.
        feeder_micro: The feeder's price per slot; empty without a feeder limit.
        grid_wh: The exchange with the grid that each home wanted per slot; empty without a feeder limit.
        anchor_wh: Where the own last answer was held to: the own warm start, which nobody else knows.
        me: The home that sees it so.
        opened: Why masked bids were given up and the binding slot's bids shown; empty where they were not.
    """

    slot: Slot
    rounds: int
    converged: bool
    prices_micro: tuple[int, ...]
    bids_wh: Mapping[str, tuple[int, ...]]
    moves_wh: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    feeder_micro: tuple[int, ...] = ()
    grid_wh: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    anchor_wh: tuple[float, ...] = field(default=(), compare=False, repr=False)
    me: str = field(default="", compare=False, repr=False)
    opened: str = field(default="", compare=False)

    @property
    def homes(self) -> int:
        """How many took part."""
        return len(self.bids_wh)

    @property
    def binding_bids_wh(self) -> dict[str, int]:
        return {home: bid[0] for home, bid in self.bids_wh.items()}

    @property
    def unmatched_wh(self) -> int:
        """|sum of the last round's bids| of the binding slot."""
        return abs(sum(self.binding_bids_wh.values()))

    def matched(self, index: int = 0) -> list[Match]:
        """Return who would trade with whom in a slot of the horizon."""
        bids_wh = {home: bid[index] for home, bid in self.bids_wh.items()}
        moves_wh = {home: move[index] for home, move in self.moves_wh.items()}
        return match(bids_wh, self.slot.key // self.slot.length_s + index, moves_wh)

    def contract_price(self, rule: PriceRule, tariff_micro: tuple[int, int], index: int = 0) -> int:
        """Return what a buyer with this tariff, import and export price, offers for a slot of the horizon."""
        import_micro, export_micro = tariff_micro
        return contract_price(
            rule,
            marginal_micro=self.prices_micro[index],
            bids_wh={home: bid[index] for home, bid in self.bids_wh.items()},
            import_micro=import_micro,
            export_micro=export_micro,
        )

    def trades_wh(self, home: str) -> list[int]:
        """Return what a home would trade per slot of the horizon if all were matched now, + bought.

        What it bid for later slots and nobody matched it will not get: a plan must not count on it.
        """
        trades_wh = []
        for index, wanted_wh in enumerate(self.bids_wh[home]):
            pairs = self.matched(index) if wanted_wh else []
            own_wh = sum(pair.energy_wh for pair in pairs if home in (pair.buyer, pair.seller))
            trades_wh.append(own_wh if wanted_wh > 0 else -own_wh)
        return trades_wh

    def carried(self, slot: Slot, opening: Sequence[int]) -> tuple[list[int], list[float]] | None:
        """Return prices and anchors to begin a later slot's negotiation with, or None when that is too far away.

        Both are shifted. What is new at the horizon's end begins as the same time of day stood at the horizon's front,
        or, when the horizon is no whole number of days, from the opening prices.

        Args:
            opening: The home's prices from cold, of trades only or with the feeder's.
        """
        n, count = len(self.prices_micro), (slot.key - self.slot.key) // slot.length_s
        if not 0 < count < n:
            return None
        daily = n * slot.length_s % 86_400 == 0
        prices = [*self.prices_micro[count:], *(self.prices_micro if daily else opening[n - count :])[:count]]
        if self.feeder_micro:
            prices += [*self.feeder_micro[count:], *(self.feeder_micro if daily else (0,) * count)[:count]]
        anchors: list[float] = []
        for start in range(0, len(self.anchor_wh), n):
            half = self.anchor_wh[start : start + n]
            anchors += [*half[count:], *(half if daily else (0.0,) * count)[:count]]
        return prices, anchors


NegotiationEvent = SayReady | SayBid | AskPrices | TellPrices | Finished


def finished(
    *,
    slot: Slot,
    rounds: int,
    converged: bool,
    prices: Sequence[int],
    bids_wh: Mapping[str, Sequence[int]],
    before_wh: Mapping[str, Sequence[int]],
    anchor_wh: Sequence[float],
    rules: Rules,
    me: str = "",
) -> Finished:
    """Return the result from vectors that have a second half under a feeder limit.

    Args:
        before_wh: The bids of the round before the last; of a home that had none they were 0.
    """
    n = rules.horizon_slots
    limited = bool(rules.feeder_limit_w)
    return Finished(
        slot=slot,
        rounds=rounds,
        converged=converged,
        prices_micro=tuple(prices[:n]),
        bids_wh={home: tuple(bid[:n]) for home, bid in bids_wh.items()},
        moves_wh=moves_wh(bids_wh, before_wh, n),
        feeder_micro=tuple(prices[n:]),
        grid_wh={home: tuple(bid[n:]) for home, bid in bids_wh.items()} if limited else {},
        anchor_wh=tuple(anchor_wh),
        me=me,
    )


def moves_wh(
    bids_wh: Mapping[str, Sequence[int]], before_wh: Mapping[str, Sequence[int]], slots: int
) -> dict[str, tuple[int, ...]]:
    """Return how far each home's bids of the first `slots` slots moved since the round before."""
    none = (0,) * slots
    return {
        home: tuple(abs(now - then) for now, then in zip(bid[:slots], before_wh.get(home, none)[:slots], strict=True))
        for home, bid in bids_wh.items()
    }
