"""One slot's negotiation as one home sees it: exchange ADMM without an auctioneer (docs/architecture.md).

Round k: every home publishes its bid q_i^k. When all bids of the roster are in, or the round's deadline passes, every
home computes the same two lines itself, in integers: mean = sum of the bids / number of homes; price += rho * mean.
Then it answers with the bid that is cheapest for itself at the new prices, near the anchor q_i^k - mean.

No I/O, no clock, no randomness: every input takes `now`, `next_deadline()` says when to call `tick`.

States: WAITING (before round 1) -> BIDDING (round 1..limit) -> DONE. Only `tick` at `rounds_at` leaves WAITING, only
convergence, the round limit or `offers_at` leaves BIDDING; nothing leaves DONE.
"""

import hashlib
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from statistics import median_low
from typing import Protocol

from coordinator.charter import Rules
from coordinator.codec import Verified, digest
from coordinator.errors import RemoteProtocolError
from coordinator.messages import PRICE_MAX_MICRO, Bid, PriceRequest, Prices, Ready
from coordinator.quantities import round_ratio
from coordinator.slots import Slot

LATE_JOIN_ROUND = 2
"""A bid up to this round adds its sender to the roster: its `ready` was lost on the way to us."""
PATIENCE_ROUNDS = 2
"""A home that missed this many rounds in a row is no longer waited for; its last bid still counts."""
MEMORY_ROUNDS = 4
"""So many past rounds can be told to, or mended with the help of, a neighbour."""


class Bidder(Protocol):
    """A home's answer to prices; the home's own planner implements it."""

    def bid(self, prices_micro: Sequence[int], anchor_wh: Sequence[float]) -> list[int]:
        """Return the trade per slot of the horizon, whole Wh, + buys."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SayReady:
    prices: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SayBid:
    round: int
    roster: str
    price_hash: str
    energy_wh: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskPrices:
    round: int
    price_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TellPrices:
    to: str
    round: int
    prices: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The result: the last round's prices and everybody's last bids, horizon-long."""

    slot: Slot
    rounds: int
    converged: bool
    prices_micro: tuple[int, ...]
    bids_wh: Mapping[str, tuple[int, ...]]

    @property
    def binding_bids_wh(self) -> dict[str, int]:
        return {home: bid[0] for home, bid in self.bids_wh.items()}

    @property
    def unmatched_wh(self) -> int:
        """|sum of the last round's bids| of the binding slot."""
        return abs(sum(self.binding_bids_wh.values()))


NegotiationEvent = SayReady | SayBid | AskPrices | TellPrices | Finished


class State(Enum):
    WAITING = "waiting"
    BIDDING = "bidding"
    DONE = "done"


def hash_prices(prices: Sequence[int]) -> str:
    """Return the hash of a price vector: of its big-endian 64-bit integers."""
    numbers = array("q", prices)
    if numbers.itemsize == 8 and array("H", [1]).tobytes() == b"\x01\x00":
        numbers.byteswap()
    return hashlib.blake2b(numbers.tobytes(), digest_size=16).hexdigest()


def step_prices(prices: Sequence[int], bids: Sequence[Sequence[int]], rules: Rules) -> tuple[int, ...]:
    """Return the next round's prices: price += rho * relaxation * mean power, rounded half even once, in integers.

    They stay within what a message can carry, whatever the bids are.
    """
    gain = rules.rho_micro * rules.relaxation_pct * 3600
    divisor = len(bids) * rules.slot_s * 100
    steps = (round_ratio(gain * sum(column), divisor) for column in zip(*bids, strict=True))
    return tuple(
        max(-PRICE_MAX_MICRO, min(PRICE_MAX_MICRO, price + step)) for price, step in zip(prices, steps, strict=True)
    )


def opening_prices(vectors: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Return the element-wise median (the lower of two middles): a newcomer or a liar cannot drag it."""
    return tuple(median_low(column) for column in zip(*vectors, strict=True))


@dataclass(slots=True)
class _Round:
    number: int
    prices: tuple[int, ...]
    started_at: datetime
    bids: dict[str, tuple[int, ...]] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    counted: list[tuple[int, ...]] = field(default_factory=list)

    def majority_hash(self) -> str | None:
        """Return the price hash that more than half of the bids answered, if there is one."""
        winner, votes = max(Counter(self.hashes.values()).items(), key=lambda item: (item[1], item[0]))
        return winner if 2 * votes > len(self.hashes) else None


class Negotiation:
    """See the module's text.

    Args:
        slot: The binding slot, first of the horizon.
        me: Own id.
        rules: The charter's rules.
        bidder: Answers prices; called once a round.
        opening_micro: Own opening prices for the horizon.
        warm_wh: Own last bids shifted by a slot (warm start), or None from cold.
    """

    def __init__(
        self,
        *,
        slot: Slot,
        me: str,
        rules: Rules,
        bidder: Bidder,
        opening_micro: Sequence[int],
        warm_wh: Sequence[int] | None = None,
    ) -> None:
        self.slot = slot
        self.state = State.WAITING
        self._me = me
        self._rules = rules
        self._bidder = bidder
        self._limit_wh = rules.power_limit_w * rules.slot_s // 3600
        self._opening = {me: tuple(opening_micro)}
        self._anchor_wh = [float(e) for e in warm_wh] if warm_wh else [0.0] * len(opening_micro)
        self._round: _Round | None = None
        self._past: dict[int, _Round] = {}
        self._early: dict[tuple[int, str], Bid] = {}
        self._latest: dict[str, tuple[int, ...]] = {}
        self._missed: Counter[str] = Counter()
        self._roster: set[str] = {me}
        self.rounds_at = slot.start_at - timedelta(seconds=rules.rounds_s)
        self.offers_at = slot.start_at - timedelta(seconds=rules.offers_s)

    @property
    def roster(self) -> frozenset[str]:
        return frozenset(self._roster)

    def start(self, now: datetime) -> list[NegotiationEvent]:
        """Announce that this home takes part; call once, at `ready_s` before the slot."""
        return [SayReady(prices=self._opening[self._me])]

    def next_deadline(self) -> datetime | None:
        """Return when `tick` must be called next, or None when all is done."""
        match self.state:
            case State.WAITING:
                return self.rounds_at
            case State.BIDDING:
                return min(self._round_deadline(), self.offers_at)
            case State.DONE:
                return None

    def tick(self, now: datetime) -> list[NegotiationEvent]:
        """Do what is due at `now`."""
        if self.state is State.WAITING and now >= self.rounds_at:
            return self._open(now)
        if self.state is State.BIDDING:
            if now >= self.offers_at:
                return [self._finish(converged=False)]
            if now >= self._round_deadline():
                return self._close_round(now)
        return []

    def receive(self, verified: Verified[Ready | Bid | PriceRequest | Prices], now: datetime) -> list[NegotiationEvent]:
        """Take a neighbour's message for this slot.

        Raises:
            RemoteProtocolError: If its vectors have another length than the horizon, or a bid is over the charter's
                power limit: one liar would drag the price of all.
        """
        message = verified.message
        if message.slot != self.slot.key or message.sender == self._me or self.state is State.DONE:
            return []
        match message:
            case Ready():
                self._check_length(message.sender, message.prices)
                if self.state is State.WAITING:
                    self._opening[message.sender] = message.prices
                return []
            case Bid():
                self._check_length(message.sender, message.energy_wh)
                if max(map(abs, message.energy_wh)) > self._limit_wh:
                    raise RemoteProtocolError(message.sender, f"bid over the charter's limit of {self._limit_wh} Wh")
                return self._receive_bid(message, now)
            case PriceRequest():
                return self._answer_request(message)
            case Prices():
                self._check_length(message.sender, message.prices)
                return self._adopt(message)
        return []

    def _check_length(self, peer: str, vector: Sequence[int]) -> None:
        if len(vector) != self._rules.horizon_slots:
            raise RemoteProtocolError(
                peer, f"horizon of {len(vector)} slots, the charter says {self._rules.horizon_slots}"
            )

    def _round_deadline(self) -> datetime:
        assert self._round is not None
        return self._round.started_at + timedelta(seconds=self._rules.round_timeout_s)

    def _open(self, now: datetime) -> list[NegotiationEvent]:
        self._roster |= set(self._opening)
        self.state = State.BIDDING
        return self._bid(1, opening_prices(list(self._opening.values())), now)

    def _bid(self, number: int, prices: tuple[int, ...], now: datetime) -> list[NegotiationEvent]:
        """Enter a round: answer its prices, and take the bids that came early."""
        wanted_wh = self._bidder.bid(prices, self._anchor_wh)
        energy_wh = tuple(max(-self._limit_wh, min(self._limit_wh, e)) for e in wanted_wh)
        self._round = _Round(number, prices, now)
        price_hash = hash_prices(prices)
        self._note(self._me, energy_wh, price_hash)
        roster = digest("".join(sorted(self._roster)).encode())
        events: list[NegotiationEvent] = [
            SayBid(round=number, roster=roster, price_hash=price_hash, energy_wh=energy_wh)
        ]
        for key in [key for key in self._early if key[0] <= number]:
            bid = self._early.pop(key)
            if key[0] == number:
                self._note(bid.sender, bid.energy_wh, bid.price_hash)
        return events + self._when_complete(now)

    def _note(self, sender: str, energy_wh: tuple[int, ...], price_hash: str) -> None:
        assert self._round is not None
        self._round.bids[sender] = energy_wh
        self._round.hashes[sender] = price_hash
        self._missed[sender] = 0

    def _receive_bid(self, bid: Bid, now: datetime) -> list[NegotiationEvent]:
        if bid.sender not in self._roster and bid.round > LATE_JOIN_ROUND and self.state is State.BIDDING:
            return []
        self._roster.add(bid.sender)
        current = self._round.number if self._round else 0
        if bid.round > current:
            self._early.setdefault((bid.round, bid.sender), bid)
            return []
        assert self._round is not None
        if bid.round < current or bid.sender in self._round.bids:
            return []
        self._note(bid.sender, bid.energy_wh, bid.price_hash)
        return self._when_complete(now)

    def _when_complete(self, now: datetime) -> list[NegotiationEvent]:
        assert self._round is not None
        awaited = {home for home in self._roster if self._missed[home] < PATIENCE_ROUNDS}
        return self._close_round(now) if awaited <= self._round.bids.keys() else []

    def _close_round(self, now: datetime) -> list[NegotiationEvent]:
        this = self._round
        assert this is not None
        events = self._heal(this)
        before = dict(self._latest)
        for home in self._roster - this.bids.keys():
            self._missed[home] += 1
        self._latest.update(this.bids)
        bids = this.counted = [self._latest[home] for home in sorted(self._latest)]
        if len(self._latest) < 2:
            return [*events, self._finish(converged=True)]
        prices = step_prices(this.prices, bids, self._rules)
        converged = self._converged(before, prices)
        if converged or this.number >= self._rules.round_limit:
            return [*events, self._finish(converged=converged)]
        mine = this.bids[self._me]
        self._past[this.number] = this
        self._past.pop(this.number - MEMORY_ROUNDS, None)
        relaxation = self._rules.relaxation_pct / 100
        self._anchor_wh = [
            relaxation * own + (1 - relaxation) * anchor - relaxation * sum(column) / len(bids)
            for own, anchor, *column in zip(mine, self._anchor_wh, *bids, strict=True)
        ]
        return events + self._bid(this.number + 1, prices, now)

    def _converged(self, before: Mapping[str, tuple[int, ...]], prices: Sequence[int]) -> bool:
        """Judge the binding slot: little left unmatched, price at rest, and no bid still on the move."""
        assert self._round is not None
        if before.keys() != self._latest.keys():
            return False
        moved_wh = max(abs(bid[0] - before[home][0]) for home, bid in self._latest.items())
        return (
            abs(sum(bid[0] for bid in self._latest.values())) <= self._rules.unmatched_wh
            and moved_wh <= self._rules.unmatched_wh
            and abs(prices[0] - self._round.prices[0]) <= self._rules.price_change_micro
        )

    def _heal(self, this: _Round) -> list[NegotiationEvent]:
        """Ask for the majority's prices when ours are not theirs: we lost a bid that they got."""
        majority = this.majority_hash()
        if majority is None or majority == hash_prices(this.prices):
            return []
        return [AskPrices(round=this.number, price_hash=majority)]

    def _answer_request(self, request: PriceRequest) -> list[NegotiationEvent]:
        known = self._past.get(request.round, self._round)
        if known is None or known.number != request.round or hash_prices(known.prices) != request.price_hash:
            return []
        return [TellPrices(to=request.sender, round=known.number, prices=known.prices)]

    def _adopt(self, message: Prices) -> list[NegotiationEvent]:
        """Replace the prices of a past round by the majority's, and redo the steps since then."""
        past = self._past.get(message.round)
        if past is None or self._round is None or past.majority_hash() != hash_prices(message.prices):
            return []
        prices = message.prices
        for number in range(message.round, self._round.number):
            prices = step_prices(prices, self._past[number].counted, self._rules)
        self._round.prices = prices
        return []

    def _finish(self, *, converged: bool) -> Finished:
        assert self._round is not None
        self.state = State.DONE
        self._latest.update(self._round.bids)
        return Finished(
            slot=self.slot,
            rounds=self._round.number,
            converged=converged,
            prices_micro=self._round.prices,
            bids_wh=dict(self._latest),
        )
