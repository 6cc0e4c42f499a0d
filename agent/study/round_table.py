"""Homes of one process negotiate one horizon: the product's negotiation, without signatures and without a network.

Without loss all homes see the same, so what every home would compute alike is computed once. With loss every home is a
`Negotiation` of its own, and each copy of each message is lost by itself.
"""

import itertools
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coordinator.charter import Rules
from coordinator.clock import cpu_s
from coordinator.identity import encode_base64
from coordinator.messages import EVERYBODY, Bid, PriceRequest, Prices, Ready
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
from coordinator.negotiation_events import finished
from coordinator.rounds import Course, Integers, Tally, at_rest, opening_prices
from coordinator.slots import Slot

OnRound = Callable[[Finished], None]
"""Told of every round: what the negotiation would come to if this round were the last."""

Floats = NDArray[np.float64]

_COMMUNITY, _HASH, _SEQ = "0" * 16, "0" * 32, 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a negotiation came to and what it cost.

    Args:
        agreed: What the homes said last, and the median of their prices. Without loss this is every home's view.
        views: The end of the negotiation as each home saw it.
        answers: Bids computed by all homes together.
        ms_per_answer: CPU of one answer.
        ms_averaging: CPU of all the rest (sums, prices, anchors), per home and round.
        bytes_per_home_per_round: Length of a signed bid on the wire, mean.
    """

    agreed: Finished
    views: Mapping[str, Finished]
    answers: int
    ms_per_answer: float
    ms_averaging: float
    bytes_per_home_per_round: float

    @property
    def rounds(self) -> int:
        return self.agreed.rounds

    @property
    def converged(self) -> bool:
        return self.agreed.converged

    @property
    def prices_micro(self) -> tuple[int, ...]:
        return self.agreed.prices_micro

    @property
    def bids_wh(self) -> Mapping[str, tuple[int, ...]]:
        return self.agreed.bids_wh


def negotiate(
    bidders: Mapping[str, Bidder],
    openings: Mapping[str, Sequence[int]],
    *,
    slot: Slot,
    rules: Rules,
    loss: float = 0.0,
    seed: int = 0,
    warm: Mapping[str, Sequence[float]] | None = None,
    on_round: OnRound | None = None,
) -> Outcome:
    """Negotiate the horizon that begins with `slot`.

    Args:
        bidders: Answers to prices by home; at least one.
        openings: Each home's opening prices, micro-units per kWh, one per slot of the charter's horizon.
        loss: Probability that one receiver loses one copy of a message.
        seed: Of the losses.
        warm: Each home's anchors to begin with, Wh (see `carried_on`); None from cold.
        on_round: Told of every round; under loss a round is told when the last home has bid, with the median prices.
    """
    watched = {home: _Watched(bidder) for home, bidder in bidders.items()}
    told = _Timed(on_round)
    begun = cpu_s()
    if loss > 0.0:
        views = _Lossy(watched, openings, slot, rules, told, loss, seed).run(warm or {})
    else:
        views = _Shared(watched, slot, rules, told).run(opening_prices(list(openings.values())), warm or {})
    spent_s = cpu_s() - begun - told.seconds
    answers = sum(w.answers for w in watched.values())
    answer_s = sum(w.seconds for w in watched.values())
    return Outcome(
        agreed=_agreed(views),
        views=views,
        answers=answers,
        ms_per_answer=1000 * answer_s / answers,
        ms_averaging=1000 * max(0.0, spent_s - answer_s) / answers,
        bytes_per_home_per_round=sum(w.characters for w in watched.values()) / answers
        + _empty_bid_bytes(slot, rules.vector_length),
    )


def carried_on(
    last: Outcome, openings: Mapping[str, Sequence[int]], slot: Slot
) -> tuple[dict[str, list[int]], dict[str, list[float]]]:
    """Return openings and warm anchors for a later slot, as the live home carries them over.

    Args:
        openings: What the homes would open with from cold; a home without a last negotiation opens with these.
    """
    shifted: dict[str, list[int]] = {}
    warm: dict[str, list[float]] = {}
    for home, cold in openings.items():
        view = last.views.get(home)
        carried = None if view is None else view.carried(slot, cold)
        length = len(last.prices_micro) + len(last.agreed.feeder_micro)
        shifted[home], warm[home] = carried or (list(cold), [0.0] * length)
    return shifted, warm


def matched_trades(result: Finished) -> dict[str, list[int]]:
    """Return every home's net trade per slot when the last bids are matched, whole Wh, + bought."""
    trades = {home: [0] * len(result.prices_micro) for home in result.bids_wh}
    for i in range(len(result.prices_micro)):
        for pair in result.matched(i):
            trades[pair.buyer][i] += pair.energy_wh
            trades[pair.seller][i] -= pair.energy_wh
    return trades


def matched_wh(outcome: Outcome) -> dict[str, list[int]]:
    """Return what each home trades in every slot of the horizon, whole Wh, + buys, when all slots were matched now.

    Every buyer asks for what its own view matches it with; a seller serves, in the order of the buyers' ids, no more
    than its own last bid.
    """
    agreed = outcome.agreed
    slots = len(agreed.prices_micro)
    if all(view == agreed for view in outcome.views.values()):
        return matched_trades(agreed)
    trades = {home: [0] * slots for home in outcome.views}
    for i in range(slots):
        bids = {home: bid[i] for home, bid in agreed.bids_wh.items()}
        pairs = [
            pair
            for buyer in sorted(home for home, wh in bids.items() if wh > 0)
            for pair in outcome.views[buyer].matched(i)
            if pair.buyer == buyer
        ]
        left = {home: -wh for home, wh in bids.items() if wh < 0}
        for pair in pairs:
            energy_wh = min(pair.energy_wh, left.get(pair.seller, 0))
            if energy_wh > 0:
                left[pair.seller] -= energy_wh
                trades[pair.buyer][i] += energy_wh
                trades[pair.seller][i] -= energy_wh
    return trades


def _agreed(views: Mapping[str, Finished]) -> Finished:
    first = next(iter(views.values()))
    if all(view == first for view in views.values()):
        return replace(first, anchor_wh=())
    return Finished(
        slot=first.slot,
        rounds=max(view.rounds for view in views.values()),
        converged=all(view.converged for view in views.values()),
        prices_micro=opening_prices([view.prices_micro for view in views.values()]),
        bids_wh={home: view.bids_wh[home] for home, view in views.items()},
        moves_wh={home: view.moves_wh[home] for home, view in views.items()},
        feeder_micro=opening_prices([view.feeder_micro for view in views.values()]),
        grid_wh={home: view.grid_wh[home] for home, view in views.items() if view.grid_wh},
    )


def _empty_bid_bytes(slot: Slot, length: int) -> int:
    """Return the length on the wire of everything in a signed bid but the numbers of its vector."""
    zeros = (0,) * length
    said = SayBid(round=10, price_hash=_HASH, energy_wh=zeros)
    return len(_bid(slot, "a" * 16, said).model_dump_json()) - length + 1 + len(encode_base64(bytes(64)))


def _header(slot: Slot, home: str, to: str = EVERYBODY, seq: int = _SEQ) -> dict[str, Any]:
    now_ms = slot.key * 1000
    return {
        "community": _COMMUNITY,
        "sender": home,
        "to": to,
        "inc": 1,
        "seq": seq,
        "sent_ms": now_ms,
        "expires_ms": now_ms,
        "slot": slot.key,
    }


def _bid(slot: Slot, home: str, event: SayBid, seq: int = _SEQ) -> Bid:
    return Bid.model_construct(
        kind="bid",
        round=event.round,
        price_hash=event.price_hash,
        energy_wh=event.energy_wh,
        **_header(slot, home, event.to, seq),
    )


class _Timed:
    """Whoever looks on, at no cost to the figures."""

    def __init__(self, on_round: OnRound | None) -> None:
        self._on_round, self.seconds = on_round, 0.0

    def __call__(self, make: Callable[[], Finished]) -> None:
        if self._on_round is not None:
            begun = cpu_s()
            self._on_round(make())
            self.seconds += cpu_s() - begun


class _Watched:
    """A bidder whose answers are counted."""

    def __init__(self, bidder: Bidder) -> None:
        self._bidder = bidder
        self.answers, self.seconds, self.characters = 0, 0.0, 0

    def bid(self, prices_micro: Sequence[int], anchor_wh: Sequence[float], rho_micro: int | None = None) -> list[int]:
        begun = cpu_s()
        energy_wh = self._bidder.bid(prices_micro, anchor_wh, rho_micro)
        self.seconds += cpu_s() - begun
        self.answers += 1
        self.characters += len("".join(map(str, energy_wh)))
        return energy_wh


class _Shared:
    """What all homes would compute alike is computed once. Args: as `negotiate`."""

    def __init__(self, bidders: Mapping[str, Bidder], slot: Slot, rules: Rules, told: _Timed) -> None:
        self._bidders, self._slot, self._rules, self._told = bidders, slot, rules, told
        self._limit_wh = rules.power_limit_wh

    def run(self, opening: tuple[int, ...], warm: Mapping[str, Sequence[float]]) -> dict[str, Finished]:
        rules, cold = self._rules, [0.0] * self._rules.vector_length
        course = Course.open((*opening, *(0,) * (len(cold) - len(opening))), rules)
        anchors = np.array([warm.get(home) or cold for home in self._bidders], dtype=float)
        before: Integers | None = None
        while True:
            bids = self._bids(course, anchors)
            self._told(partial(self._result, course, bids, before, converged=False))
            tally = Tally.of(bids, np.zeros_like(bids) if before is None else before, rules)
            after = course.next(tally, rules)
            change_micro = after.prices[0] - course.prices[0]
            converged = len(bids) < 2 or (before is not None and self._at_rest(bids, before, tally, change_micro))
            if converged or course.number >= rules.round_limit:
                result = self._result(course, bids, before, converged=converged)
                own = zip(self._bidders, anchors.tolist(), strict=True)
                return {home: replace(result, anchor_wh=tuple(anchor), me=home) for home, anchor in own}
            anchors, before = self._anchors(course, after, bids, anchors, tally), bids
            course = after

    def _bids(self, course: Course, anchors: Floats) -> Integers:
        rows = [
            bidder.bid(course.prices, anchor, course.rho_micro)
            for bidder, anchor in zip(self._bidders.values(), anchors.tolist(), strict=True)
        ]
        return np.clip(np.array(rows, dtype=np.int64), -self._limit_wh, self._limit_wh)

    def _named(self, bids: Integers) -> dict[str, tuple[int, ...]]:
        return {home: tuple(row) for home, row in zip(self._bidders, bids.tolist(), strict=True)}

    def _at_rest(self, bids: Integers, before: Integers, tally: Tally, change_micro: int) -> bool:
        n = self._rules.horizon_slots
        return at_rest(bids[:, ::n].tolist(), before[:, ::n].tolist(), tally, change_micro, self._rules)

    def _anchors(self, course: Course, after: Course, bids: Integers, anchors: Floats, tally: Tally) -> Floats:
        """Return `Course.next_anchor` of all homes: the same floats in the same order."""
        n, relaxation = self._rules.horizon_slots, after.relaxed_pct / 100
        kept = relaxation * bids + (1 - relaxation) * anchors
        totals = np.array(tally.totals_wh, dtype=np.int64)
        kept[:, :n] -= relaxation * totals[:n] / tally.homes
        per_wh = course.rho_micro * 3600 / self._rules.slot_s
        kept[:, n:] -= (
            np.array(after.prices[n:], dtype=np.int64) - np.array(course.prices[n:], dtype=np.int64)
        ) / per_wh
        return kept

    def _result(self, course: Course, bids: Integers, before: Integers | None, *, converged: bool) -> Finished:
        return finished(
            slot=self._slot,
            rounds=course.number,
            converged=converged,
            prices=course.prices,
            bids_wh=self._named(bids),
            before_wh={} if before is None else self._named(before),
            anchor_wh=(),
            rules=self._rules,
        )


class _Lossy:
    """Every home with a `Negotiation` of its own.

    The clock moves only when nothing is left to be delivered, and a round waits a second: what ends a negotiation here
    is its rounds, not the time.
    """

    def __init__(
        self,
        bidders: Mapping[str, Bidder],
        openings: Mapping[str, Sequence[int]],
        slot: Slot,
        rules: Rules,
        told: _Timed,
        loss: float,
        seed: int,
    ) -> None:
        changes = {"round_timeout_s": 1, "rounds_s": rules.offers_s + 2 * rules.round_limit + 1}
        self._rules = rules.model_copy(update=changes)
        self._bidders, self._openings, self._slot, self._told = bidders, openings, slot, told
        self._loss, self._luck = loss, random.Random(seed)
        self._queue: deque[tuple[str, Any]] = deque()
        self._done: dict[str, Finished] = {}
        self._said: dict[int, dict[str, tuple[int, ...]]] = {}
        self._seq = itertools.count(_SEQ)

    def run(self, warm: Mapping[str, Sequence[float]]) -> dict[str, Finished]:
        self._talks = {
            home: Negotiation(
                slot=self._slot,
                me=home,
                rules=self._rules,
                bidder=bidder,
                opening_micro=self._openings[home],
                warm_wh=warm.get(home),
            )
            for home, bidder in self._bidders.items()
        }
        self._now = self._slot.start_at - timedelta(seconds=self._rules.rounds_s + 1)
        for home, talk in self._talks.items():
            self._post(home, talk.start(self._now))
        while len(self._done) < len(self._talks):
            if self._queue:
                receiver, message = self._queue.popleft()
                self._post(receiver, self._talks[receiver].hear(message, self._now))
            else:
                self._wait()
        return {home: self._done[home] for home in self._talks}

    def _wait(self) -> None:
        self._now = min(at for talk in self._talks.values() if (at := talk.next_deadline()) is not None)
        for home, talk in self._talks.items():
            if (at := talk.next_deadline()) is not None and at <= self._now:
                self._post(home, talk.tick(self._now))

    def _post(self, home: str, events: Sequence[NegotiationEvent]) -> None:
        for event in events:
            match event:
                case SayReady():
                    self._send(home, Ready.model_construct(prices=event.prices, **_header(self._slot, home)))
                case SayBid():
                    self._send(home, _bid(self._slot, home, event, next(self._seq)))
                    self._tell(home, event)
                case AskPrices():
                    body = {"round": event.round, "price_hash": event.price_hash, **_header(self._slot, home)}
                    self._send(home, PriceRequest.model_construct(**body))
                case TellPrices():
                    body = {"round": event.round, "prices": event.prices, "rho_micro": event.rho_micro}
                    self._send(home, Prices.model_construct(**body, **_header(self._slot, home, event.to)))
                case Finished():
                    self._done[home] = event

    def _send(self, home: str, message: Ready | Bid | PriceRequest | Prices) -> None:
        for other in self._talks:
            if other != home and message.to in (EVERYBODY, other) and self._luck.random() >= self._loss:
                self._queue.append((other, message))

    def _tell(self, home: str, event: SayBid) -> None:
        bids = self._said.setdefault(event.round, {})
        before = len(bids)
        bids[home] = event.energy_wh
        if len(bids) == len(self._talks) and len(bids) > before:
            prices = opening_prices([talk.prices_micro for talk in self._talks.values()])
            self._told(
                lambda: finished(
                    slot=self._slot,
                    rounds=event.round,
                    converged=False,
                    prices=prices,
                    bids_wh=bids,
                    before_wh=self._said.get(event.round - 1, {}),
                    anchor_wh=(),
                    rules=self._rules,
                )
            )
