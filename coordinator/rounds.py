"""The arithmetic of a round: what every home computes for itself from everybody's bids, and all of them alike.

Prices are whole micro-units per kWh and bids whole Wh, so there is one result whatever the machine and whatever the
order of the bids. Anchors are floats: each home's own, they never leave it.

Exchange ADMM with over-relaxation a: with the mean m of the bids, price += a * rho * m, and each home's next answer is
held to its anchor a * (own bid - m) + (1 - a) * last anchor. When the very first bids nearly cancel, as they do where a
negotiation begins where the last slot's ended, the first rounds are plain (a = 1): relaxation would throw them off.

After a few rounds the step size is fitted to the community: the best one is about the distance that prices still have
to go over the distance that bids have to go, and what both have gone so far tells. It is halved where bids are what
still moves, and later doubled back round by round, so that a long negotiation ends with the charter's own steps. Powers
of two, so that homes whose views differ a little still take the same step.

Under a feeder limit every vector has a second half: the homes' exchange with the grid, its sum held in a box of
+-limit by a second price (sharing ADMM, whose projection onto the box is the soft threshold below).
"""

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low

import numpy as np
from numpy.typing import NDArray

from coordinator.charter import Rules
from coordinator.messages import PRICE_MAX_MICRO
from coordinator.quantities import round_ratio

Integers = NDArray[np.int64]
"""Sums of squares of all bids that a message can carry fit into 64 bits, for more homes than a charter has members."""

PLAIN_ROUNDS = 4
PLAIN_PCT, STALE_FACTOR = 100, 2
"""Bids of an earlier round are a delay in the loop: with a fifth of them the mean's recursion has a largest eigenvalue
of 1.10 at relaxation 1.6, which swings ever wider, and of 0.87 at 1.2. So two % less relaxation for each % of them.
"""
NEAR = 100
"""First bids nearly cancel when the square of their mean is under this part of the mean of their squares."""
FITTED_AFTER = 6
"""The round after whose bids the step size is fitted."""
HALVINGS = 3
"""The fitted step size is the charter's, halved up to so many times."""
FIT_PCT = 40
"""The fitted step size is not above this share of price travel over bid travel."""
BACK_FROM, BACK_EVERY = 30, 5
"""After this round, and then after every so many, the step size doubles until it is the charter's again."""


def hash_prices(prices: Sequence[int]) -> str:
    """Return the hash of a price vector: of its big-endian 64-bit integers."""
    numbers = array("q", prices)
    if numbers.itemsize == 8 and array("H", [1]).tobytes() == b"\x01\x00":
        numbers.byteswap()
    return hashlib.blake2b(numbers.tobytes(), digest_size=16).hexdigest()


def opening_prices(vectors: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Return the element-wise median (the lower of two middles): a newcomer or a liar cannot drag it."""
    return tuple(median_low(column) for column in zip(*vectors, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What the bids of a round come to.

    Args:
        homes: Number of bids.
        totals_wh: Sum of the bids per entry.
        squares: Sum of the squares of all trades [Wh^2].
        moves: Sum of the squares of how far the trades moved since the last round [Wh^2].
        volume_wh: Sum of the trades, bought and sold, all counted positive.
        stale: How many of the bids are those of an earlier round.
        near: Whether the first bids nearly cancel, where their squares are not known.
    """

    homes: int
    totals_wh: tuple[int, ...]
    squares: int
    moves: int
    volume_wh: int
    stale: int = 0
    near: bool | None = None

    @classmethod
    def of(cls, bids: Integers, before: Integers, rules: Rules, stale: int = 0) -> "Tally":
        """Count bids of shape (homes, entries); `before` are the same homes' of the round before, 0 of who had none."""
        trades = bids[:, : rules.horizon_slots]
        moved = trades - before[:, : rules.horizon_slots]
        return cls(
            homes=len(bids),
            totals_wh=tuple(bids.sum(axis=0).tolist()),
            squares=int((trades * trades).sum()),
            moves=int((moved * moved).sum()),
            volume_wh=int(np.abs(trades).sum()),
            stale=stale,
        )

    def mismatch(self, rules: Rules) -> int:
        """Return the sum of the squares of all slots' unmatched energy [Wh^2]."""
        return sum(total * total for total in self.totals_wh[: rules.horizon_slots])

    def rests(self, rules: Rules) -> bool:
        """Return whether bids move less than they mismatch: then it is the price that has to move, in large steps."""
        return self.moves * self.homes <= self.mismatch(rules)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Where a negotiation stands when a round begins.

    Args:
        number: Of the round.
        rho_micro: Step size, micro-units per kWh and W.
        prices: To be answered in this round.
        opening: Prices of the first round.
        held_micro: Under a feeder limit rho times what the mean exchange with the grid is held to, else empty.
        near: The first bids nearly cancelled.
        relaxed_pct: Relaxation of the step that led here.
    """

    number: int
    rho_micro: int
    prices: tuple[int, ...]
    opening: tuple[int, ...]
    held_micro: tuple[int, ...]
    near: bool = False
    relaxed_pct: int = 100

    @classmethod
    def open(cls, opening: tuple[int, ...], rules: Rules) -> "Course":
        held = (0,) * (len(opening) - rules.horizon_slots)
        return cls(number=1, rho_micro=rules.rho_micro, prices=opening, opening=opening, held_micro=held)

    @property
    def hash(self) -> str:
        """Names what is answered in this round: prices and step size."""
        return hash_prices((*self.prices, self.rho_micro))

    def next(self, tally: Tally, rules: Rules) -> "Course":
        """Return the course of the next round; every quotient is rounded half even once, in integers.

        Prices stay within what a message can carry, whatever the bids are.
        """
        n, near = rules.horizon_slots, self.near
        if self.number == 1:
            cancel = tally.mismatch(rules) * NEAR < tally.homes * tally.squares
            near = cancel if tally.near is None else tally.near
        relaxation = PLAIN_PCT if near and self.number <= PLAIN_ROUNDS else rules.relaxation_pct
        relaxation = max(min(relaxation, PLAIN_PCT), relaxation - STALE_FACTOR * 100 * tally.stale // tally.homes)
        gain, divisor = self.rho_micro * relaxation * 3600, tally.homes * rules.slot_s * 100
        trade_prices = [
            _clipped(price + round_ratio(gain * total, divisor))
            for price, total in zip(self.prices[:n], tally.totals_wh[:n], strict=True)
        ]
        band = self.rho_micro * rules.feeder_limit_w // tally.homes
        grid_prices, held = [], []
        for price, total, before in zip(self.prices[n:], tally.totals_wh[n:], self.held_micro, strict=True):
            mean = round_ratio(gain * total + (100 - relaxation) * before * tally.homes * rules.slot_s, divisor)
            over = price + mean
            stepped = _clipped(over - band if over > band else over + band if over < -band else 0)
            grid_prices.append(stepped)
            held.append(mean - (stepped - price))
        rho = self._next_rho(tally, rules)
        return Course(
            number=self.number + 1,
            rho_micro=rho,
            prices=(*trade_prices, *grid_prices),
            opening=self.opening,
            held_micro=tuple(round_ratio(h * rho, self.rho_micro) for h in held),
            near=near,
            relaxed_pct=relaxation,
        )

    def _next_rho(self, tally: Tally, rules: Rules) -> int:
        if self.number == FITTED_AFTER:
            return self._fitted(tally, rules)
        late = self.number >= BACK_FROM and self.number % BACK_EVERY == 0
        return min(2 * self.rho_micro, rules.rho_micro) if late or tally.rests(rules) else self.rho_micro

    def _fitted(self, tally: Tally, rules: Rules) -> int:
        """Return the step size, halved until it fits what prices and bids have travelled."""
        n = rules.horizon_slots
        if tally.rests(rules):
            return self.rho_micro
        prices = sum((now - then) ** 2 for now, then in zip(self.prices[:n], self.opening[:n], strict=True))
        # rho <= share * sqrt(prices / mean of bids^2), squared and without fractions; bids in W
        have, want = tally.squares * (3600 * 100) ** 2, prices * tally.homes * (rules.slot_s * FIT_PCT) ** 2
        rho = self.rho_micro
        for _ in range(HALVINGS):
            if rho * rho * have <= want or rho < 2:
                break
            rho //= 2
        return rho

    def next_anchor(
        self, own_wh: Sequence[int], anchor_wh: Sequence[float], tally: Tally, after: "Course", rules: Rules
    ) -> list[float]:
        """Return where the answer of the next round, `after`, is held to, from the own bid and anchor of this one."""
        n, relaxation = rules.horizon_slots, after.relaxed_pct / 100
        trades = [
            relaxation * own + (1 - relaxation) * anchor - relaxation * total / tally.homes
            for own, anchor, total in zip(own_wh[:n], anchor_wh[:n], tally.totals_wh[:n], strict=True)
        ]
        per_wh = self.rho_micro * 3600 / rules.slot_s
        grid = [
            relaxation * own + (1 - relaxation) * anchor - (stepped - price) / per_wh
            for own, anchor, price, stepped in zip(
                own_wh[n:], anchor_wh[n:], self.prices[n:], after.prices[n:], strict=True
            )
        ]
        return trades + grid


def _clipped(price: int) -> int:
    return max(-PRICE_MAX_MICRO, min(PRICE_MAX_MICRO, price))


def step_prices(prices: Sequence[int], bids: Sequence[Sequence[int]], rules: Rules) -> tuple[int, ...]:
    """Return the second round's prices."""
    rows = np.array(bids, dtype=np.int64)
    return Course.open(tuple(prices), rules).next(Tally.of(rows, np.zeros_like(rows), rules), rules).prices


def at_rest(
    bids: Sequence[Sequence[int]],
    before: Sequence[Sequence[int]],
    tally: Tally,
    price_change_micro: int,
    rules: Rules,
) -> bool:
    """Judge whether to stop: in the binding slot little is left unmatched, no bid is still on the move, the price is at
    rest and the feeder kept; and the later slots, which the binding one leans on, match and rest by and large.

    Args:
        bids: Of this round, of the binding slot: the trade and, under a feeder limit, the exchange with the grid.
        before: The same homes' bids of the round before, in the same order.
        tally: Of this round.
        price_change_micro: Of the binding slot.
    """
    now = [bid[0] for bid in bids]
    bought_wh, sold_wh = sum(wh for wh in now if wh > 0), -sum(wh for wh in now if wh < 0)
    tolerance_wh = max(rules.unmatched_wh, min(bought_wh, sold_wh) * rules.unmatched_pct // 100)
    feeder_wh = rules.feeder_limit_w * rules.slot_s // 3600
    unmatched_wh = sum(map(abs, tally.totals_wh[: rules.horizon_slots]))
    return (
        abs(bought_wh - sold_wh) <= tolerance_wh
        and max(abs(wh - old[0]) for wh, old in zip(now, before, strict=True)) <= tolerance_wh
        and abs(price_change_micro) <= rules.price_change_micro
        and 100 * unmatched_wh <= max(rules.horizon_pct * tally.volume_wh, 100 * rules.unmatched_wh)
        and 100**2 * tally.moves <= max(rules.horizon_pct**2 * tally.squares, 100**2 * rules.unmatched_wh**2)
        and (not feeder_wh or abs(sum(bid[1] for bid in bids)) <= feeder_wh + tolerance_wh)
    )
