"""A limit of what all homes together exchange with the grid, held by a price that every home computes itself."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hall import Hall
from sealed import Street

from coordinator.charter import Rules
from coordinator.negotiation import SayReady
from coordinator.rounds import Course, Tally
from coordinator.slots import Slot

HOURS = 3
SLOT = Slot(1_780_002_000 // 3600 * 3600, 3600)
OPENING = (200_000,) * HOURS


@dataclass
class FlexibleBidder:
    """Needs `need_wh` from grid and neighbours (- has left over); may use more or less, at a cost of `bend` per Wh^2.

    Minimises grid price * g + feeder price * g + price * q + bend/2 * (q + g - need)^2 plus both proximal terms.
    """

    rules: Rules
    need_wh: float
    bend: float
    grid_micro: float = 250_000.0

    def bid(self, prices_micro: Sequence[int], anchor_wh: Sequence[float], rho_micro: int | None = None) -> list[int]:
        rho = (rho_micro or self.rules.rho_micro) * 3600 / self.rules.slot_s
        trades, grids = [], []
        for slot in range(HOURS):
            price, feeder = prices_micro[slot], prices_micro[HOURS + slot]
            a, b = anchor_wh[slot], anchor_wh[HOURS + slot]
            left = np.array([[rho + self.bend, self.bend], [self.bend, rho + self.bend]])
            pull = self.bend * self.need_wh
            q, g = np.linalg.solve(left, [rho * a - price + pull, rho * b - self.grid_micro - feeder + pull])
            trades.append(round(q))
            grids.append(round(g))
        return trades + grids


def hall(limit_w: int, needs: Sequence[float], bends: Sequence[float]) -> Hall:
    rules = Rules.for_slot(
        3600, HOURS, feeder_limit_w=limit_w, round_limit=200, unmatched_wh=2, unmatched_pct=0, price_change_micro=50
    )
    street = Street(len(needs), rules)
    made = [FlexibleBidder(rules, need, bend) for need, bend in zip(needs, bends, strict=True)]
    return Hall(street, made, SLOT, [OPENING] * len(needs))


def test_vectors_are_twice_as_long_and_the_feeders_price_opens_at_nothing() -> None:
    room = hall(5000, [3000.0, -500.0], [100.0, 100.0])
    said = next(iter(room.talks.values())).start(room.now)
    assert said == [SayReady(prices=(*OPENING, 0, 0, 0))]


def test_a_limit_that_never_binds_changes_nothing() -> None:
    needs, bends = [2000.0, 1500.0, -800.0], [100.0, 50.0, 80.0]
    results = [next(iter(hall(limit_w, needs, bends).run().values())) for limit_w in (50_000, 70_000)]
    assert results[0] == results[1]
    assert results[0].feeder_micro == (0,) * HOURS
    assert results[0].converged


@pytest.mark.parametrize("sign", [1, -1])
def test_a_binding_limit_is_kept_at_the_price_that_a_centre_would_find(sign: int) -> None:
    """The quadratic homes' optimum under the limit is known in closed form: everybody's use bends at one price."""
    limit_w, bends = 2400, [2000.0, 1000.0, 1500.0]
    needs = [sign * 2000.0, sign * 1500.0, sign * 900.0]
    results = list(hall(limit_w, needs, bends).run().values())
    assert all(result == results[0] for result in results)
    result = results[0]
    assert result.converged
    # sum of uses = sum(need) - (grid + feeder) * sum(1 / bend) = sign * limit
    feeder = (sum(needs) - sign * limit_w) / sum(1 / bend for bend in bends) - 250_000.0
    for slot in range(HOURS):
        assert abs(sum(bid[slot] for bid in result.bids_wh.values())) <= 5
        assert sum(grid[slot] for grid in result.grid_wh.values()) == pytest.approx(sign * limit_w, abs=10)
        assert result.feeder_micro[slot] == pytest.approx(feeder, abs=10_000)
        assert result.prices_micro[slot] == pytest.approx(250_000 + feeder, abs=10_000)


def test_the_feeders_price_is_the_excess_over_the_limit_and_falls_back_to_nothing() -> None:
    rules = Rules.for_slot(3600, 1, feeder_limit_w=1000, relaxation_pct=100)
    course = Course.open((100_000, 0), rules)
    bids = np.array([[0, 900], [0, 500]], dtype=np.int64)
    over = course.next(Tally.of(bids, bids, rules), rules)
    assert over.prices[1] == rules.rho_micro * (1400 - 1000) // 2
    back = over.next(Tally.of(-bids // 2, bids, rules), rules)
    assert back.prices[1] == 0


def test_a_warm_start_carries_both_halves() -> None:
    result = next(iter(hall(2400, [2000.0, 1500.0, 900.0], [2000.0, 1000.0, 1500.0]).run().values()))
    assert any(result.feeder_micro)
    carried = result.carried(SLOT.shifted(1), OPENING)
    assert carried is not None
    prices, anchors = carried
    assert prices == [*result.prices_micro[1:], OPENING[-1], *result.feeder_micro[1:], 0]
    assert anchors == [*result.anchor_wh[1:3], 0.0, *result.anchor_wh[4:], 0.0]
    assert result.carried(SLOT.shifted(HOURS), OPENING) is None
