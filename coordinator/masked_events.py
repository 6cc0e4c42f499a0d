"""What a masked negotiation says to its shell, and what it comes to."""

from collections.abc import Sequence
from dataclasses import dataclass

from coordinator.matching import Match
from coordinator.negotiation_events import Finished, NegotiationEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class SayRoster:
    roster: str
    price_hash: str
    warm: bool
    balances: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SayShare:
    round: int
    question: str
    numbers: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SayAbandon:
    prices: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedFinished(Finished):
    """The result as one home knows it: the prices, the sums, and its own bid; `bids_wh` has no other.

    Args:
        totals_wh: Sum of all bids, per slot.
        partners: The other homes of the roster.
        roster: Its hash.
        balancing: Those of the roster that tell their deviations in the slot.
    """

    totals_wh: tuple[int, ...]
    partners: tuple[str, ...]
    roster: str
    balancing: frozenset[str]

    @property
    def homes(self) -> int:
        return 1 + len(self.partners)

    @property
    def unmatched_wh(self) -> int:
        return abs(self.totals_wh[0])

    def matched(self, index: int = 0) -> list[Match]:
        """Return nothing: who trades with whom is found in pairs (pairing.py)."""
        return []

    def trades_wh(self, home: str) -> list[int]:
        """Return what the own bid leaves when everybody gives up an equal part of the sum; never more than the bid."""
        trades = []
        for own, total in zip(self.bids_wh[home], self.totals_wh, strict=True):
            part = own - round(total / self.homes)
            trades.append(max(0, min(own, part)) if own > 0 else min(0, max(own, part)))
        return trades


MaskedEvent = NegotiationEvent | SayRoster | SayShare | SayAbandon


def widened(result: Finished, prices: Sequence[int], slots: int, anchor_wh: Sequence[float], why: str) -> Finished:
    """Return the result of a negotiation of the binding slot as one of the horizon: nothing is traded later.

    Args:
        prices: Last known, per slot and, under a feeder limit, of its feeder.
        anchor_wh: As in `Finished`.
        why: Masked bids were given up because of that.
    """
    later = (0,) * (slots - 1)

    def wide(bids: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        return {home: (*bid, *later) for home, bid in bids.items()}

    feeder = (*result.feeder_micro, *prices[slots + 1 :]) if result.feeder_micro else ()
    return Finished(
        slot=result.slot,
        rounds=result.rounds,
        converged=result.converged,
        prices_micro=(*result.prices_micro, *prices[1:slots]),
        bids_wh=wide(dict(result.bids_wh)),
        moves_wh=wide(dict(result.moves_wh)),
        feeder_micro=feeder,
        grid_wh=wide(dict(result.grid_wh)),
        anchor_wh=tuple(anchor_wh),
        me=result.me,
        opened=why,
    )
