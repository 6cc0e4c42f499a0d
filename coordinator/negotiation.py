"""One slot's negotiation as one home sees it: exchange ADMM without an auctioneer (docs/architecture.md).

Round k: every home publishes its bid q_i^k. When all bids of the roster are in, or the round's deadline passes, every
home computes the same next prices itself, in integers (rounds.py). Then it answers with the bid that is cheapest for
itself at the new prices, near its anchor.

No I/O, no clock, no randomness: every input takes `now`, `next_deadline()` says when to call `tick`.

States: WAITING (before round 1) -> BIDDING (round 1..limit) -> CLOSING (last bids that were lost come again) -> DONE.
Only `tick` at `rounds_at` leaves WAITING, only convergence, the round limit or `offers_at` leaves BIDDING; nothing
leaves DONE. Without a loss CLOSING takes no time.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from statistics import median_low

import numpy as np

from coordinator.charter import Rules
from coordinator.codec import Verified
from coordinator.errors import RemoteProtocolError
from coordinator.messages import EVERYBODY, Bid, PriceRequest, Prices, Ready
from coordinator.negotiation_events import (
    AskPrices,
    Bidder,
    Finished,
    NegotiationEvent,
    SayBid,
    SayReady,
    TellPrices,
    finished,
)
from coordinator.rounds import Course, Tally, at_rest, opening_prices
from coordinator.slots import Slot

__all__ = [
    "AskPrices",
    "Bidder",
    "Finished",
    "Negotiation",
    "NegotiationEvent",
    "SayBid",
    "SayReady",
    "State",
    "TellPrices",
]

PATIENCE_ROUNDS = 2
"""A home that missed this many rounds in a row is no longer waited for; its last bid still counts."""
CLOSING_PARTS, CLOSING_PATIENCE = 6, 9
"""A home that lacks bids of the last two rounds asks for them after each sixth of a round's timeout, nine times at
most. Of five messages four arriving, all but one of 50,000 bids arrive: a fifth is lost, and of asks with their answers
36 %.
"""
MEMORY_ROUNDS = 4
"""So many past rounds can be told to, or mended with the help of, a neighbour."""


class State(Enum):
    WAITING = "waiting"
    BIDDING = "bidding"
    CLOSING = "closing"
    DONE = "done"


@dataclass(slots=True)
class _Round:
    """A round as this home sees it. `tally` is set when it is closed."""

    course: Course
    started_at: datetime
    bids: dict[str, tuple[int, ...]] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    tally: Tally | None = None

    @property
    def number(self) -> int:
        return self.course.number

    def leading_hash(self) -> str | None:
        """Return the price hash that most bids answered, if a third of them and at least two did.

        Of two halves that lost each other for a while none has a majority: then the greater hash wins, on both sides.
        """
        winner, votes = max(Counter(self.hashes.values()).items(), key=lambda item: (item[1], item[0]))
        return winner if votes >= 2 and 3 * votes >= len(self.hashes) else None


class Negotiation:
    """See the module's text.

    Args:
        slot: The binding slot, first of the horizon.
        me: Own id.
        rules: The charter's rules.
        bidder: Answers prices; called once a round.
        opening_micro: Own opening prices for the horizon; the feeder's, where the charter limits it, may be left out.
        warm_wh: Own anchors to begin with (see `Finished.carried`), or None from cold.
    """

    def __init__(
        self,
        *,
        slot: Slot,
        me: str,
        rules: Rules,
        bidder: Bidder,
        opening_micro: Sequence[int],
        warm_wh: Sequence[float] | None = None,
    ) -> None:
        self.slot = slot
        self.state = State.WAITING
        self._me = me
        self._rules = rules
        self._bidder = bidder
        self._limit_wh = rules.power_limit_wh
        self._length = rules.vector_length
        unlimited = (0,) * (self._length - len(opening_micro))
        self._opening = {me: (*opening_micro, *unlimited)}
        self._anchor_wh = [float(e) for e in warm_wh] if warm_wh else [0.0] * rules.vector_length
        self._round: _Round | None = None
        self._past: dict[int, _Round] = {}
        self._early: dict[tuple[int, str], Bid] = {}
        self._told: dict[int, dict[str, Prices]] = {}
        self._latest: dict[str, tuple[int, ...]] = {}
        self._before: dict[str, tuple[int, ...]] = {}
        self._converged = False
        self._ask_every = timedelta(seconds=rules.round_timeout_s / CLOSING_PARTS)
        self._closed_at = self._asked_at = slot.start_at
        self._said_to: Counter[tuple[int, str]] = Counter()
        self._heard_from: defaultdict[tuple[int, str], set[int]] = defaultdict(set)
        self._missed: Counter[str] = Counter()
        self._roster: set[str] = {me}
        self.rounds_at = slot.start_at - timedelta(seconds=rules.rounds_s)
        self.offers_at = slot.start_at - timedelta(seconds=rules.offers_s)

    @property
    def prices_micro(self) -> tuple[int, ...]:
        """The prices last answered; before the first round the own opening prices."""
        return self._opening[self._me] if self._round is None else self._round.course.prices

    @property
    def roster(self) -> frozenset[str]:
        return frozenset(self._roster)

    def start(self, now: datetime) -> list[NegotiationEvent]:
        """Announce that this home takes part; call once, at `ready_s` before the slot."""
        return [SayReady(prices=self._opening[self._me])]

    def announced(self, home: str, prices: Sequence[int]) -> None:
        """Take a neighbour that takes part with these opening prices, however it said so."""
        if self.state is State.WAITING:
            self._opening.setdefault(home, tuple(prices))

    def next_deadline(self) -> datetime | None:
        """Return when `tick` must be called next, or None when all is done."""
        match self.state:
            case State.WAITING:
                return self.rounds_at
            case State.BIDDING:
                return min(self._round_deadline(), self.offers_at)
            case State.CLOSING:
                return min(self._asked_at + self._ask_every, self._closed_at)
            case State.DONE:
                return None

    def tick(self, now: datetime) -> list[NegotiationEvent]:
        """Do what is due at `now`."""
        if self.state is State.WAITING and now >= self.rounds_at:
            return self._open(now)
        if self.state is State.CLOSING:
            return [self._finish()] if now >= self._closed_at else self._ask(now)
        if self.state is State.BIDDING:
            if now >= self.offers_at:
                return self._give_up()
            if now >= self._round_deadline():
                return self._close_round(now)
        return []

    def receive(self, verified: Verified[Ready | Bid | PriceRequest | Prices], now: datetime) -> list[NegotiationEvent]:
        """Take a neighbour's message for this slot.

        Raises:
            RemoteProtocolError: If its vectors have another length than the horizon, or a bid is over the charter's
                power limit: one liar would drag the price of all.
        """
        return self.hear(verified.message, now)

    def hear(self, message: Ready | Bid | PriceRequest | Prices, now: datetime) -> list[NegotiationEvent]:
        """Take a message whose sender is beyond doubt: `receive` without the signature, for homes of one process.

        Raises:
            RemoteProtocolError: As `receive`.
        """
        if message.slot != self.slot.key or message.sender == self._me:
            return []
        match message:
            case Bid():
                self._check_length(message.sender, message.energy_wh)
                if max(map(abs, message.energy_wh)) > self._limit_wh:
                    raise RemoteProtocolError(message.sender, f"bid over the charter's limit of {self._limit_wh} Wh")
                if self.state is State.CLOSING or self.state is State.DONE:
                    return self._receive_last_bid(message, now)
                return self._receive_bid(message, now)
            case Ready():
                self._check_length(message.sender, message.prices)
                if self.state is State.WAITING:
                    self._opening[message.sender] = message.prices
                return []
            case PriceRequest():
                return [] if self.state is State.DONE else self._answer_request(message)
            case Prices():
                self._check_length(message.sender, message.prices)
                return self._adopt(message) if self.state is State.BIDDING else []
        return []

    def _check_length(self, peer: str, vector: Sequence[int]) -> None:
        if len(vector) != self._length:
            raise RemoteProtocolError(peer, f"vector of {len(vector)} entries, the charter says {self._length}")

    def _round_deadline(self) -> datetime:
        assert self._round is not None
        return self._round.started_at + timedelta(seconds=self._rules.round_timeout_s)

    def _open(self, now: datetime) -> list[NegotiationEvent]:
        self._roster |= set(self._opening)
        self.state = State.BIDDING
        return self._bid(Course.open(opening_prices(list(self._opening.values())), self._rules), now)

    def _bid(self, course: Course, now: datetime) -> list[NegotiationEvent]:
        """Enter a round: answer its prices, and take the bids that came early."""
        wanted_wh = self._bidder.bid(course.prices, self._anchor_wh, course.rho_micro)
        energy_wh = tuple(max(-self._limit_wh, min(self._limit_wh, e)) for e in wanted_wh)
        self._round = _Round(course, now)
        said = SayBid(
            round=course.number,
            price_hash=course.hash,
            energy_wh=energy_wh,
        )
        self._note(self._me, said)
        for key in [key for key in self._early if key[0] <= course.number]:
            bid = self._early.pop(key)
            if key[0] == course.number:
                self._note(bid.sender, bid)
        return [said, *self._when_complete(now)]

    def _note(self, sender: str, bid: Bid | SayBid) -> None:
        assert self._round is not None
        self._round.bids[sender] = bid.energy_wh
        self._round.hashes[sender] = bid.price_hash
        self._missed[sender] = 0

    def _receive_bid(self, bid: Bid, now: datetime) -> list[NegotiationEvent]:
        current = self._round.number if self._round else 0
        # Whoever bids takes part, however late we hear of it: left out it would pull our prices aside in every round.
        self._roster.add(bid.sender)
        if bid.round > current:
            self._early.setdefault((bid.round, bid.sender), bid)
            return []
        assert self._round is not None
        if bid.round < current or bid.sender in self._round.bids:
            return []
        self._note(bid.sender, bid)
        return self._when_complete(now)

    def _when_complete(self, now: datetime) -> list[NegotiationEvent]:
        assert self._round is not None
        bids = self._round.bids
        missing = (home for home in self._roster if home not in bids and self._waited_for(home))
        return [] if next(missing, None) is not None else self._close_round(now)

    def _close_round(self, now: datetime) -> list[NegotiationEvent]:
        this = self._round
        assert this is not None
        self._agree(this)
        events = self._heal(this)
        before = self._before = dict(self._latest)
        for home in self._roster - this.bids.keys():
            self._missed[home] += 1
        self._latest.update(this.bids)
        if len(self._latest) < 2:
            self._converged = True
            return [*events, self._finish()]
        none = (0,) * self._rules.vector_length
        this.tally = Tally.of(
            np.array(list(self._latest.values()), dtype=np.int64),
            np.array([before.get(home, none) for home in self._latest], dtype=np.int64),
            self._rules,
            stale=len(self._latest) - len(this.bids),
        )
        after = this.course.next(this.tally, self._rules)
        converged = self._is_at_rest(before, this.tally, after.prices[0] - this.course.prices[0])
        if converged or this.number >= self._rules.round_limit:
            self._converged = converged
            return events + self._close(now)
        self._past[this.number] = this
        self._past.pop(this.number - MEMORY_ROUNDS, None)
        self._anchor_wh = this.course.next_anchor(this.bids[self._me], self._anchor_wh, this.tally, after, self._rules)
        return events + self._bid(after, now)

    def _is_at_rest(self, before: dict[str, tuple[int, ...]], tally: Tally, price_change_micro: int) -> bool:
        if before.keys() != self._latest.keys():
            return False
        binding = slice(0, None, self._rules.horizon_slots)
        now = [self._latest[home][binding] for home in before]
        return at_rest(now, [bid[binding] for bid in before.values()], tally, price_change_micro, self._rules)

    def _heal(self, this: _Round) -> list[NegotiationEvent]:
        """Ask for the prices of most others when ours are not theirs: we lost a bid that they got.

        Where so much was lost that no vector leads, everybody tells its own, and the median of all goes on.
        """
        leading = this.leading_hash()
        if leading is None and len(this.hashes) > 2:
            return [_told_of(this.course, EVERYBODY)]
        if leading is None or leading == this.course.hash:
            return []
        return [AskPrices(round=this.number, price_hash=leading)]

    def _agree(self, this: _Round) -> None:
        """Go on from the median of the prices that were told of the last round."""
        told = self._told.pop(this.number - 1, {})
        past = self._past.get(this.number - 1)
        if past is not None and past.leading_hash() is None and told:
            rho_micro = median_low([past.course.rho_micro, *(message.rho_micro for message in told.values())])
            prices = opening_prices([past.course.prices, *(message.prices for message in told.values())])
            self._redo(past, replace(past.course, prices=prices, rho_micro=rho_micro))

    def _answer_request(self, request: PriceRequest) -> list[NegotiationEvent]:
        known = self._past.get(request.round, self._round)
        if known is None or known.number != request.round or known.course.hash != request.price_hash:
            return []
        return [_told_of(known.course, request.sender)]

    def _adopt(self, message: Prices) -> list[NegotiationEvent]:
        """Replace the prices of a past round by those of most others, or keep what everybody tells of it."""
        if message.to == EVERYBODY:
            if self._round is not None and abs(message.round - self._round.number) <= MEMORY_ROUNDS:
                self._told.setdefault(message.round, {}).setdefault(message.sender, message)
            return []
        past = self._past.get(message.round)
        if past is None:
            return []
        told = replace(past.course, prices=message.prices, rho_micro=message.rho_micro)
        if told.hash == past.leading_hash():
            self._redo(past, told)
        return []

    def _redo(self, past: _Round, course: Course) -> None:
        """Give a past round this course, and redo the steps since then."""
        assert self._round is not None
        for number in range(past.number, self._round.number):
            tally = self._past[number].tally
            assert tally is not None
            course = course.next(tally, self._rules)
        self._round.course = replace(course, held_micro=self._round.course.held_micro)

    # The end

    def _close(self, now: datetime) -> list[NegotiationEvent]:
        """End with this round, once its bids are in: homes that match different bids offer what nobody accepts."""
        self.state = State.CLOSING
        self._asked_at = now
        self._closed_at = min(now + CLOSING_PATIENCE * self._ask_every, self.offers_at)
        return self._when_closed()

    def _when_closed(self) -> list[NegotiationEvent]:
        return [] if self._lacked() else [self._finish()]

    def _lacked(self) -> list[tuple[_Round, str]]:
        """Return whose bids of the last rounds did not come, also of homes that no round waits for any more."""
        return [(each, home) for each in self._last_rounds() for home in sorted(self._roster - each.bids.keys())]

    def _last_rounds(self) -> list[_Round]:
        """Return what decides who trades: the last round, and the one before, which tells whose bid still moved."""
        assert self._round is not None
        before = self._past.get(self._round.number - 1)
        return [self._round] if before is None else [before, self._round]

    def _waited_for(self, home: str) -> bool:
        return self._missed[home] < PATIENCE_ROUNDS

    def _ask(self, now: datetime) -> list[NegotiationEvent]:
        """Say the own bids again to those whose bids are lacked, if that is due."""
        if now < self._asked_at + self._ask_every:
            return []
        self._asked_at = now
        return [self._say_to(home, each) for each, home in self._lacked()]

    def _say_to(self, home: str, of_round: _Round) -> SayBid:
        self._said_to[of_round.number, home] += 1
        return SayBid(
            round=of_round.number,
            price_hash=of_round.hashes[self._me],
            energy_wh=of_round.bids[self._me],
            to=home,
        )

    def _receive_last_bid(self, bid: Bid, now: datetime) -> list[NegotiationEvent]:
        """Take a bid that was lost before, and tell the own one to a neighbour that lacks it."""
        of_round = next((each for each in self._last_rounds() if each.number == bid.round), None)
        if of_round is None:
            return []
        new = bid.sender not in of_round.bids
        if new:
            of_round.bids[bid.sender] = bid.energy_wh
            self._roster.add(bid.sender)
        answer = self._answer(bid, of_round) if bid.to == self._me and now < self.offers_at else []
        return answer + (self._when_closed() if new and self.state is State.CLOSING else [])

    def _answer(self, bid: Bid, of_round: _Round) -> list[NegotiationEvent]:
        """Answer a bid that was said to this home alone, unless it is itself an answer to what this one asked.

        Who has spoken to the other more often asks; a message that comes twice has spoken once.
        """
        about = bid.round, bid.sender
        self._heard_from[about].add(bid.seq)
        said = self._said_to[about]
        asks = len(self._heard_from[about]) > said
        return [self._say_to(bid.sender, of_round)] if asks and said < CLOSING_PATIENCE else []

    def _give_up(self) -> list[NegotiationEvent]:
        """End in the middle of a round: the time for offers has come."""
        self._before = dict(self._latest)
        return [self._finish()]

    def _finish(self) -> Finished:
        assert self._round is not None
        self.state = State.DONE
        self._latest.update(self._round.bids)
        if (before := self._past.get(self._round.number - 1)) is not None:
            self._before.update(before.bids)
        return finished(
            slot=self.slot,
            rounds=self._round.number,
            converged=self._converged,
            prices=self._round.course.prices,
            bids_wh=self._latest,
            before_wh=self._before,
            anchor_wh=self._anchor_wh,
            rules=self._rules,
            me=self._me,
        )


def _told_of(course: Course, to: str) -> TellPrices:
    return TellPrices(to=to, round=course.number, prices=course.prices, rho_micro=course.rho_micro)
