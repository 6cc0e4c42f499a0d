"""The arithmetic of a masked round: what every home computes from the sums of the bids, and from nothing else. Pure.

Prices, anchors and step size are those of open bids (rounds.py), but what open bids tell beyond their sum is not there:

- whether the first bids nearly cancel: taken for granted where most homes begin where the last negotiation ended;
- the step size is the charter's, never fitted to how far bids have travelled;
- rest is judged by the sums and the prices: the binding slot's sum is small and does not move, its price rests, and so
  do the horizon's prices by and large. A price moves as far as the mean bid, so prices that rest are bids that match.
"""

from collections.abc import Sequence

from coordinator.charter import Rules
from coordinator.rounds import Course, Tally

MISMATCH_W = 5
"""Converged: the binding slot's sum is not above this for each home. Of 17 homes' gain 0.998 and more is captured so,
in about as many rounds as by the single bids (`tests/benchmarks/masked_bids.py`)."""
ROUNDS_MIN = 3
"""Sums may rest while single bids still move: after two rounds from where the last slot ended, 1 % was missing once."""


def tally_of(totals_wh: Sequence[int], homes: int, warm: bool) -> Tally:
    """Return what the sums tell; `warm`: most homes begin where the last negotiation ended."""
    return Tally(homes=homes, totals_wh=tuple(totals_wh), squares=0, moves=0, volume_wh=0, near=warm)


def is_possible(totals_wh: Sequence[int], homes: int, rules: Rules) -> bool:
    """Return whether bids within the charter's limit can add up to that; noise does not, as a rule."""
    return max(map(abs, totals_wh)) <= homes * rules.power_limit_wh


def sums_at_rest(tally: Tally, before_wh: Sequence[int] | None, course: Course, after: Course, rules: Rules) -> bool:
    """Judge whether to stop.

    Args:
        before_wh: The sums of the round before.
        course: Of this round.
        after: Of the round that would come next.
    """
    if before_wh is None or course.number < ROUNDS_MIN:
        return False
    n, first = rules.horizon_slots, tally.totals_wh[0]
    tolerance_wh = max(rules.unmatched_wh, MISMATCH_W * tally.homes * rules.slot_s // 3600)
    steps = [new - old for new, old in zip(after.prices[:n], course.prices[:n], strict=True)]
    feeder_wh = rules.feeder_limit_w * rules.slot_s // 3600
    return (
        abs(first) <= tolerance_wh
        and abs(first - before_wh[0]) <= tolerance_wh
        and abs(steps[0]) <= rules.price_change_micro
        and sum(step * step for step in steps) <= n * rules.price_change_micro**2
        and (not feeder_wh or abs(tally.totals_wh[n]) <= feeder_wh + tolerance_wh)
    )
