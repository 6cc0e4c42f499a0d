"""One slot's negotiation by masked bids, as one home sees it: the loop of open bids over sums (docs/masked.md).

States: JOINING (who is ready?) -> AGREEING (all fix the same roster) -> BIDDING (rounds of shares) -> DONE, or from any
of the first three -> OPEN: whatever is amiss, a home missing, another roster, other prices, a sum that cannot be, ends
the masked negotiation of this slot, and an open one of the binding slot alone takes its place.

**One input goes under one roster, ever.** The roster is fixed once and never changed; nobody bids before everybody in
it has said that it is the same; a home says one share a round, and repeats that one, word for word, where it was lost;
a round whose shares do not all come is not added up without the missing one. A home that restarts has forgotten what it
said, and sits the slot out (trader.py).

No I/O, no clock, no randomness: every input takes `now`, `next_deadline()` says when to call `tick`.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from coordinator.charter import Rules
from coordinator.codec import Verified
from coordinator.masked_events import MaskedEvent, MaskedFinished, SayShare
from coordinator.masked_fallback import OpenInstead
from coordinator.masked_roster import Joining
from coordinator.masked_round import Early, MaskedRound, Spoken, checked_words
from coordinator.masked_rounds import is_possible, sums_at_rest, tally_of
from coordinator.masking import LARGEST, PairMasks, question_hash, words_of
from coordinator.messages import Abandon, Bid, PriceRequest, Prices, Ready, Roster, Share
from coordinator.negotiation_events import Bidder, SayReady
from coordinator.rounds import Course
from coordinator.slots import Slot

REPEAT_PARTS = 4
"""Who lacks others' words says its own again after each of so many parts of a round's timeout."""
READY_PARTS = 4
"""Of the time for `ready`, likewise: one that is lost would end everybody's masked negotiation."""
READY, AGREED = -1, 0
"""Where what was said before the first round is kept to be said again."""


GIVEN_UP = "a neighbour gave up"
FEW_PART = 3
"""Up to this part of the roster are few."""


class State(Enum):
    JOINING = "joining"
    AGREEING = "agreeing"
    BIDDING = "bidding"
    OPEN = "open"
    DONE = "done"


class MaskedNegotiation:
    """See the module's text.

    Args:
        slot, me, rules, bidder, opening_micro, warm_wh: As for `Negotiation`.
        terms: The charter it goes by.
        inc: Incarnation of the own ledger.
        masks: The secrets with the neighbours.
        known: Neighbours that may take part.
        roster_min: So many homes it takes.
        balances: Whether this home tells its deviations in the slot.
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
        terms: str,
        inc: int,
        masks: PairMasks,
        known: Collection[str],
        roster_min: int,
        balances: bool = False,
    ) -> None:
        self.slot = slot
        self.state = State.JOINING
        self.failed: frozenset[str] = frozenset()
        """Whose word was missing when the masked negotiation ended."""
        self._me, self._rules, self._bidder, self._masks, self._terms = me, rules, bidder, masks, terms
        length = rules.vector_length
        self._roster_min = roster_min
        self._prices = (*opening_micro, *(0,) * (length - len(opening_micro)))
        self._anchor_wh = [float(e) for e in warm_wh] if warm_wh else [0.0] * length
        self.rounds_at = slot.start_at - timedelta(seconds=rules.rounds_s)
        self.offers_at = slot.start_at - timedelta(seconds=rules.offers_s)
        self.open_at = self.rounds_at + (self.offers_at - self.rounds_at) / 2
        """What is masked ends here: an open negotiation needs time too."""
        self._ready_every = timedelta(seconds=rules.ready_s - rules.rounds_s) / READY_PARTS
        self._repeat = timedelta(seconds=rules.round_timeout_s / REPEAT_PARTS)
        self._joining = Joining(
            slot=slot,
            me=me,
            rules=rules,
            terms=terms,
            inc=inc,
            opening_micro=self._prices,
            warm=warm_wh is not None,
            balances=balances,
            known=known,
            last_at=self.rounds_at - self._ready_every / 2,
        )
        self._round: MaskedRound | None = None
        self._sums: tuple[int, ...] | None = None
        self._early = Early()
        self._spoken: dict[int, Spoken] = {}
        self._instead = OpenInstead(slot=slot, me=me, rules=rules, bidder=bidder)

    @property
    def roster(self) -> frozenset[str]:
        return frozenset(self._joining.roster)

    # Time

    def start(self, now: datetime) -> list[MaskedEvent]:
        """Announce that this home takes part; call once, at `ready_s` before the slot."""
        said = SayReady(prices=self._prices)
        self._spoken[READY] = Spoken(said, now)
        return [said]

    def next_deadline(self) -> datetime | None:
        """Return when `tick` must be called next, or None when all is done."""
        match self.state:
            case State.JOINING:
                again = [] if self._joining.complete else self._spoken[READY].next_at(self._ready_every)
                return min([*again, self.rounds_at])
            case State.AGREEING | State.BIDDING:
                return min([*self._spoken[self._number].next_at(self._repeat), self._round_deadline()])
            case State.OPEN:
                return self._instead.next_deadline()
            case State.DONE:
                return None

    @property
    def _number(self) -> int:
        """0 while the roster is agreed on."""
        return 0 if self._round is None else self._round.course.number

    def _round_deadline(self) -> datetime:
        started_at = self.rounds_at if self._round is None else self._round.started_at
        return min(started_at + timedelta(seconds=self._rules.round_timeout_s), self.open_at)

    def tick(self, now: datetime) -> list[MaskedEvent]:
        """Do what is due at `now`."""
        match self.state:
            case State.JOINING if now >= self.rounds_at:
                return self._agree(now)
            case State.JOINING if not self._joining.complete and now >= self._spoken[READY].at + self._ready_every:
                return self._say_again(READY, now)
            case State.AGREEING | State.BIDDING if now >= self._round_deadline():
                self._blame(now)
                return self._open(now, "a home fell silent" if now < self.open_at else "the rounds took too long")
            case State.AGREEING | State.BIDDING if now >= self._spoken[self._number].at + self._repeat:
                return self._say_again(self._number, now)
            case State.OPEN:
                return self._instead.tick(now)
        return []

    # Messages

    def receive(self, verified: Verified[Any], now: datetime) -> list[MaskedEvent]:
        """Take a neighbour's message for this slot.

        Raises:
            RemoteProtocolError: If its vectors have another length than the horizon.
        """
        message = verified.message
        if message.slot != self.slot.key or message.sender == self._me:
            return []
        match message:
            case Ready():
                if self._joining.ready(message) and self.state is State.JOINING:
                    return self._say_again(READY, now)
            case Roster():
                return self._on_roster(message, now)
            case Share():
                return self._on_share(message, now)
            case Abandon():
                return self._on_abandon(message, now)
            case Bid() | PriceRequest() | Prices():
                return self._on_open(verified, now)
        return []

    def _on_roster(self, message: Roster, now: datetime) -> list[MaskedEvent]:
        again = self._joining.acknowledged(message)
        if again:
            return self._say_again(AGREED, now)
        return self._when_agreed(now) if self.state is State.AGREEING else []

    def _on_share(self, share: Share, now: datetime) -> list[MaskedEvent]:
        if self.state not in {State.AGREEING, State.BIDDING, State.DONE} or not self._fits(share):
            return []
        words, this = checked_words(share.sender, share.numbers, self._rules.vector_length), self._round
        if self.state is not State.DONE and share.round > self._number:
            # Nobody can be two rounds ahead: the one between lacks our share.
            if share.round == self._number + 1:
                self._early.put(share, words)
            return []
        if self.state is State.DONE or this is None or share.round < self._number or share.sender in this.shares:
            return self._say_again(share.round, now)
        this.note(share.sender, words, share.question)
        return self._when_complete(now)

    def _fits(self, share: Share) -> bool:
        return self._joining.own is not None and self._joining.lives(share.sender, share.inc)

    def _say_again(self, number: int, now: datetime) -> list[MaskedEvent]:
        """Say what was said of the roster, or the share of a round, again, if that is due."""
        spoken = self._spoken.get(number)
        if spoken is None or now >= self.offers_at:
            return []
        return spoken.again(now, spoken.at + (self._ready_every if number == READY else self._repeat) / 2)

    # The roster

    def _agree(self, now: datetime) -> list[MaskedEvent]:
        self.state = State.AGREEING
        said = self._joining.fix()
        if len(self.roster) < self._roster_min:
            return self._open(now, f"{len(self.roster)} homes are there, masked bids take {self._roster_min}")
        self._spoken = {AGREED: Spoken(said, now)}
        if self._instead.known() & self.roster:
            return self._open(now, GIVEN_UP)
        return [said, *self._when_agreed(now)]

    def _when_agreed(self, now: datetime) -> list[MaskedEvent]:
        if self._joining.differing():
            return self._open(now, "homes knew of different neighbours, or of different prices")
        if self._joining.lacking():
            return []
        self.state = State.BIDDING
        return self._bid(self._joining.opening, now)

    def _lacking(self) -> frozenset[str]:
        return self._joining.lacking() if self._round is None else self._round.lacking(self.roster)

    # Rounds

    def _bid(self, course: Course, now: datetime) -> list[MaskedEvent]:
        """Enter a round: answer its prices, once, and take the shares that came early."""
        assert self._joining.own is not None
        assert course.number not in self._spoken
        limit_wh = min(self._rules.power_limit_wh, LARGEST)
        wanted_wh = self._bidder.bid(course.prices, self._anchor_wh, course.rho_micro)
        own_wh = tuple(max(-limit_wh, min(limit_wh, e)) for e in wanted_wh)
        question = question_hash(self._joining.own.roster, course.hash)
        purpose = f"bid|{self._terms}|{self.slot.key}|{course.number}|{question}"
        numbers = self._masks.share(own_wh, self.roster, purpose)
        said = SayShare(round=course.number, question=question, numbers=numbers)
        self._round = this = MaskedRound(course=course, started_at=now, own_wh=own_wh)
        this.note(self._me, words_of(numbers), question)
        self._spoken[course.number] = Spoken(said, now)
        self._spoken.pop(course.number - 2, None)
        self._early.move(this)
        return [said, *self._when_complete(now)]

    def _when_complete(self, now: datetime) -> list[MaskedEvent]:
        this = self._round
        assert this is not None
        if this.differs:
            return self._open(now, "homes answered different prices")
        return [] if self._lacking() else self._close_round(this, now)

    def _close_round(self, this: MaskedRound, now: datetime) -> list[MaskedEvent]:
        sums, homes = this.sums(), len(self.roster)
        if not is_possible(sums, homes, self._rules):
            return self._open(now, "the masked bids add up to more than there can be")
        tally = tally_of(sums, homes, self._joining.warm)
        after = this.course.next(tally, self._rules)
        converged = sums_at_rest(tally, self._sums, this.course, after, self._rules)
        self._prices, self._sums = this.course.prices, sums
        if converged or this.course.number >= self._rules.round_limit:
            return [self._finish(this, sums, converged)]
        self._anchor_wh = this.course.next_anchor(this.own_wh, self._anchor_wh, tally, after, self._rules)
        return self._bid(after, now)

    def _finish(self, this: MaskedRound, sums: tuple[int, ...], converged: bool) -> MaskedFinished:
        assert self._joining.own is not None
        self.state = State.DONE
        n = self._rules.horizon_slots
        return MaskedFinished(
            slot=self.slot,
            rounds=this.course.number,
            converged=converged,
            prices_micro=this.course.prices[:n],
            bids_wh={self._me: this.own_wh[:n]},
            feeder_micro=this.course.prices[n:],
            grid_wh={self._me: this.own_wh[n:]} if self._rules.feeder_limit_w else {},
            anchor_wh=tuple(self._anchor_wh),
            me=self._me,
            totals_wh=sums[:n],
            partners=tuple(home for home in self._joining.roster if home != self._me),
            roster=self._joining.own.roster,
            balancing=self._joining.balancing,
        )

    # The open negotiation of the binding slot

    def _on_abandon(self, message: Abandon, now: datetime) -> list[MaskedEvent]:
        self._instead.announced(message)
        going_on = self.state in {State.AGREEING, State.BIDDING}
        if not going_on or not self._joining.lives(message.sender, message.inc):
            return []
        self._blame(now, message.sender)
        return self._open(now, GIVEN_UP)

    def _blame(self, now: datetime, but: str = "") -> None:
        """Note who kept the others waiting, if it was few and long: all wait about as long for whoever fell silent, but
        only the first gives up by its own clock. Where many words are missing, the network is slow."""
        started_at = self.rounds_at if self._round is None else self._round.started_at
        long = now - started_at >= timedelta(seconds=self._rules.round_timeout_s) / 2
        lacking = self._lacking() - {but}
        if long and FEW_PART * len(lacking) <= len(self.roster):
            self.failed = lacking

    def _on_open(self, verified: Verified[Any], now: datetime) -> list[MaskedEvent]:
        """Take a word of the open negotiation; who says one without this home knowing why gave up the masked one."""
        gave_up: list[MaskedEvent] = []
        if self.state in {State.AGREEING, State.BIDDING} and verified.message.sender in self.roster:
            gave_up = self._open(now, GIVEN_UP)
        return gave_up + self._instead.receive(verified, now)

    def _open(self, now: datetime, why: str) -> list[MaskedEvent]:
        """End the masked negotiation; bid for the binding slot alone, in the open."""
        self.state = State.OPEN
        return self._instead.begin(max(now, self.rounds_at) + self._repeat, why, self._prices, self._anchor_wh)
