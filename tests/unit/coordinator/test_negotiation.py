"""The negotiation as its docstring says it: states, integers, and what it does about loss, silence and liars."""

import hashlib
import itertools
import random
import struct
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from statistics import median_low
from typing import Any

import numpy as np
import pytest
from hall import Hall, WishBidder
from hypothesis import given
from hypothesis import strategies as st
from sealed import Street

from coordinator.charter import Rules
from coordinator.errors import RemoteProtocolError
from coordinator.messages import EVERYBODY, PRICE_MAX_MICRO, AnyMessage, Bid, PriceRequest, Prices, Ready
from coordinator.negotiation import (
    CLOSING_PARTS,
    CLOSING_PATIENCE,
    PATIENCE_ROUNDS,
    AskPrices,
    Finished,
    Negotiation,
    SayBid,
    SayReady,
    State,
    TellPrices,
)
from coordinator.rounds import (
    BACK_FROM,
    FITTED_AFTER,
    HALVINGS,
    NEAR,
    PLAIN_ROUNDS,
    Course,
    Tally,
    hash_prices,
    opening_prices,
    step_prices,
)
from coordinator.slots import Slot

RULES = Rules(horizon_slots=4, ready_s=540, rounds_s=480, offers_s=240, expiry_s=120, gate_s=90, round_timeout_s=45)
SLOT = Slot(1_780_000_200 // 900 * 900, 900)
READY_AT, ROUNDS_AT, OFFERS_AT = (SLOT.start_at - timedelta(seconds=s) for s in (540, 480, 240))
TIMEOUT = timedelta(seconds=45)
OPENING = (180_000,) * 4
HASH = "0f" * 16


def street(homes: int, **changes: Any) -> Street:
    return Street(homes, RULES.model_copy(update=changes))


def bidders(on: Street, wishes: Sequence[int]) -> list[WishBidder]:
    return [WishBidder(on, wish, 300_000 if wish > 0 else 60_000) for wish in wishes]


def hall(wishes: Sequence[int], **options: Any) -> Hall:
    on = street(len(wishes), **options.pop("rules", {}))
    return Hall(on, bidders(on, wishes), SLOT, [OPENING] * len(wishes), **options)


def alone(on: Street, wish_wh: int = 300) -> Negotiation:
    return Negotiation(slot=SLOT, me=on.ids[0], rules=on.rules, bidder=bidders(on, [wish_wh])[0], opening_micro=OPENING)


def named(prices: Sequence[int]) -> str:
    """Return the hash of a round with these prices and the charter's step size."""
    return hash_prices((*prices, RULES.rho_micro))


class Restless:
    """Never settles."""

    def bid(self, prices_micro: Sequence[int], anchor_wh: Sequence[float], rho_micro: int | None = None) -> list[int]:
        return [random.Random(prices_micro[0]).randint(-500, 500)] * 4


def bid(
    on: Street,
    sender: str,
    number: int,
    energy_wh: Sequence[int] = (0,) * 4,
    price_hash: str = HASH,
    slot: Slot = SLOT,
    to: str = EVERYBODY,
    seq: int = 1,
) -> Any:
    return on.seal(
        Bid, sender, to, now=ROUNDS_AT, seq=seq, slot=slot.key, round=number, price_hash=price_hash,
        energy_wh=tuple(energy_wh),
    )  # fmt: skip


# Integers


@given(st.lists(st.integers(-PRICE_MAX_MICRO, PRICE_MAX_MICRO), min_size=1, max_size=20))
def test_the_hash_of_prices_is_that_of_their_big_endian_bytes(prices: list[int]) -> None:
    raw = struct.pack(f">{len(prices)}q", *prices)
    assert hash_prices(prices) == hash_prices(tuple(prices)) == hashlib.blake2b(raw, digest_size=16).hexdigest()


@given(
    st.lists(st.lists(st.integers(-7500, 7500), min_size=3, max_size=3), min_size=1, max_size=20),
    st.sampled_from([300, 900, 3600]),
    st.integers(1, 1000),
    st.integers(50, 195),
    st.sampled_from([1, PLAIN_ROUNDS, PLAIN_ROUNDS + 1, 20]),
)
def test_a_price_step_is_one_exact_fraction_rounded_once(
    bids: list[list[int]], slot_s: int, rho: int, relaxation: int, number: int
) -> None:
    rules = Rules.for_slot(slot_s, 3, rho_micro=rho, relaxation_pct=relaxation)
    prices = (100_000, 0, -5)
    course = replace(Course.open(prices, rules), number=number, near=True)
    rows = np.array(bids, dtype=np.int64)
    tally = Tally.of(rows, np.zeros_like(rows), rules)
    stepped = course.next(tally, rules).prices
    near = tally.mismatch(rules) * NEAR < len(bids) * tally.squares if number == 1 else True
    share = 1 if near and number <= PLAIN_ROUNDS else Fraction(relaxation, 100)
    for before, after, column in zip(prices, stepped, zip(*bids, strict=True), strict=True):
        mean_w = Fraction(sum(column), len(bids)) * 3600 / slot_s
        assert after == before + round(mean_w * rho * share)  # Fraction rounds half to even
        assert type(after) is int
    assert Tally.of(rows[::-1], np.zeros_like(rows), rules) == tally
    assert number > 1 or step_prices(prices, bids, rules) == stepped


@pytest.mark.parametrize(("stale", "relaxed"), [(0, 160), (1, 140), (2, 120), (9, 100)])
def test_bids_of_an_earlier_round_take_relaxation_back(stale: int, relaxed: int) -> None:
    """A delay in the loop and over-relaxation together would let prices swing."""
    rows = np.full((10, 4), 100, dtype=np.int64)
    tally = Tally.of(rows, rows, RULES, stale=stale)
    after = replace(Course.open(OPENING, RULES), number=9).next(tally, RULES)
    assert after.relaxed_pct == relaxed
    assert after.prices[0] == OPENING[0] + RULES.rho_micro * 400 * relaxed // 100


def test_the_step_size_is_halved_where_bids_have_far_to_go_and_comes_back_where_prices_have() -> None:
    course = replace(Course.open(OPENING, RULES), number=FITTED_AFTER, prices=tuple(p + 10_000 for p in OPENING))
    rows = np.array([[900] * 4, [-900] * 4], dtype=np.int64)
    moving = Tally.of(rows, rows // 2, RULES)
    fitted = course.next(moving, RULES)
    assert fitted.rho_micro == RULES.rho_micro // 2**HALVINGS
    assert fitted.next(moving, RULES).rho_micro == fitted.rho_micro
    unmatched = np.array([[900] * 4, [-700] * 4], dtype=np.int64)
    assert fitted.next(Tally.of(unmatched, unmatched, RULES), RULES).rho_micro == 2 * fitted.rho_micro
    late = replace(fitted, number=BACK_FROM)
    assert late.next(moving, RULES).rho_micro == 2 * fitted.rho_micro


def test_prices_never_leave_what_a_message_can_carry() -> None:
    top, bottom = (PRICE_MAX_MICRO - 1,) * 4, (1 - PRICE_MAX_MICRO,) * 4
    assert step_prices(top, [[7500] * 4], RULES) == (PRICE_MAX_MICRO,) * 4
    assert step_prices(bottom, [[-7500] * 4], RULES) == (-PRICE_MAX_MICRO,) * 4


@given(st.lists(st.lists(st.integers(-(10**6), 10**6), min_size=2, max_size=2), min_size=1, max_size=15))
def test_opening_prices_are_medians_that_no_minority_can_drag(vectors: list[list[int]]) -> None:
    opening = opening_prices(vectors)
    assert opening == tuple(median_low(column) for column in zip(*vectors, strict=True))
    liars = [[10**9, -(10**9)]] * ((len(vectors) - 1) // 2)
    for index, price in enumerate(opening_prices(vectors[: len(vectors) - len(liars)] + liars)):
        honest = [vector[index] for vector in vectors[: len(vectors) - len(liars)]]
        assert min(honest) <= price <= max(honest)


# States


def test_only_the_tick_at_the_first_round_leaves_waiting() -> None:
    on = street(2)
    talk = alone(on)
    assert talk.start(READY_AT) == [SayReady(prices=OPENING)]
    assert (talk.state, talk.next_deadline()) == (State.WAITING, ROUNDS_AT)
    assert talk.tick(ROUNDS_AT - timedelta(milliseconds=1)) == []
    assert talk.receive(bid(on, on.ids[1], 1), READY_AT) == []
    assert talk.state is State.WAITING
    talk.tick(ROUNDS_AT)
    assert talk.state is State.BIDDING


def test_a_home_without_neighbours_is_done_at_once() -> None:
    talk = alone(street(2))
    talk.start(READY_AT)
    said, result = talk.tick(ROUNDS_AT)
    assert isinstance(said, SayBid)
    assert isinstance(result, Finished)
    assert (result.rounds, list(result.bids_wh)) == (1, [talk._me])
    assert (talk.state, talk.next_deadline()) == (State.DONE, None)


def test_nothing_leaves_done() -> None:
    on = street(2)
    talk = alone(on)
    talk.tick(ROUNDS_AT)
    messages = [
        bid(on, on.ids[1], 1),
        on.seal(Ready, on.ids[1], slot=SLOT.key, prices=OPENING),
        on.seal(PriceRequest, on.ids[1], slot=SLOT.key, round=1, price_hash=named(OPENING)),
    ]
    assert all(talk.receive(message, ROUNDS_AT) == [] for message in messages)
    assert talk.tick(OFFERS_AT) == []
    assert talk.state is State.DONE


def test_a_round_waits_for_all_bids_and_no_longer() -> None:
    on = street(3)
    talk = alone(on)
    for other in on.ids[1:]:
        talk.receive(on.seal(Ready, other, slot=SLOT.key, prices=OPENING), READY_AT)
    talk.tick(ROUNDS_AT)
    assert talk.next_deadline() == ROUNDS_AT + TIMEOUT
    assert talk.receive(bid(on, on.ids[1], 1), ROUNDS_AT) == []
    at = ROUNDS_AT + timedelta(seconds=7)
    second = talk.receive(bid(on, on.ids[2], 1), at)
    assert [(type(e), e.round) for e in second if isinstance(e, SayBid)] == [(SayBid, 2)]
    assert talk.next_deadline() == at + TIMEOUT


def test_whoever_sleeps_through_the_rounds_still_ends_at_the_offers() -> None:
    on = street(2)
    talk = alone(on)
    talk.receive(on.seal(Ready, on.ids[1], slot=SLOT.key, prices=OPENING), READY_AT)
    talk.tick(OFFERS_AT)
    assert talk.state is State.BIDDING
    (result,) = talk.tick(OFFERS_AT)
    assert isinstance(result, Finished)
    assert not result.converged


def test_the_rounds_end_when_offers_begin_even_if_nothing_has_settled() -> None:
    room = Hall(street(2), [Restless(), Restless()], SLOT, [OPENING] * 2, delay=timedelta(seconds=11))
    results = room.run()
    assert all(not result.converged and 5 < result.rounds < RULES.round_limit for result in results.values())
    finished = [at for at, _, event in room.said if isinstance(event, Finished)]
    assert all(OFFERS_AT <= at <= OFFERS_AT + timedelta(seconds=22) for at in finished)


def test_the_round_limit_ends_what_never_settles() -> None:
    results = Hall(street(2, round_limit=9), [Restless(), Restless()], SLOT, [OPENING] * 2).run()
    assert all(result.rounds == 9 and not result.converged for result in results.values())


# What comes out


def test_all_homes_come_to_the_same_result_where_supply_meets_demand() -> None:
    room = hall([900, 400, -600, -800, 50])
    results = list(room.run().values())
    assert all(result == results[0] for result in results)
    assert results[0].converged
    assert results[0].unmatched_wh <= RULES.unmatched_wh
    assert 55_000 <= results[0].prices_micro[0] <= 305_000
    assert results[0].binding_bids_wh == {home: wh[0] for home, wh in results[0].bids_wh.items()}


def test_scarce_energy_settles_at_the_buyers_value_and_plenty_at_the_sellers() -> None:
    scarce = next(iter(hall([900, 900, -300]).run().values()))
    plenty = next(iter(hall([300, -900, -900]).run().values()))
    assert scarce.prices_micro[0] == pytest.approx(300_000, abs=15_000)
    assert plenty.prices_micro[0] == pytest.approx(60_000, abs=15_000)


@pytest.mark.parametrize("seed", range(8))
def test_the_order_in_which_messages_arrive_changes_nothing(seed: int) -> None:
    wishes = [900, 400, -600, -800, 50, -120]
    plain = hall(wishes).run()
    assert hall(wishes, order=random.Random(seed)).run() == plain


def test_openings_are_everybodys_median() -> None:
    on = street(3)
    made = bidders(on, [300, -300, 100])
    Hall(on, made, SLOT, [(1, 900, 5, 5), (2, 800, 5, 5), (10**9, -(10**9), 5, 5)]).run()
    assert all(bidder.asked[0] == (2, 800, 5, 5) for bidder in made)


# Loss and silence


def lose_once(receiver: str, sender: str, number: int) -> Any:
    def lose(to: str, message: AnyMessage) -> bool:
        lost = isinstance(message, Bid) and message.sender == sender and message.round == number
        return lost and to == receiver

    return lose


def test_a_home_that_lost_a_bid_asks_for_the_prices_and_is_in_step_again() -> None:
    strict = {"unmatched_wh": 0, "price_change_micro": 0, "round_limit": 12}
    room = hall([900, 400, -600], rules=strict, delay=timedelta(milliseconds=10))
    sender, _, victim = room.street.ids
    room.lose = lose_once(victim, sender, 2)
    results = room.run()
    asked = [(who, event.round) for _, who, event in room.said if isinstance(event, AskPrices)]
    assert asked[0] == (victim, 3)  # round 3 is the first whose prices hang on the lost bid
    assert {who for who, _ in asked} == {victim} == {e.to for _, _, e in room.said if isinstance(e, TellPrices)}
    hashes: dict[int, set[str]] = {}
    for _, _, event in room.said:
        if isinstance(event, SayBid):
            hashes.setdefault(event.round, set()).add(event.price_hash)
    # the bids of round 4, and here of 5, were on their way when the answer came
    assert [number for number, told in hashes.items() if len(told) > 1] == [3, 4, 5]
    assert len({result.prices_micro for result in results.values()}) == 1


def test_without_healing_the_same_loss_would_keep_them_apart() -> None:
    """The test above proves something only if the loss really hurts."""
    strict = {"unmatched_wh": 0, "price_change_micro": 0, "round_limit": 12}
    room = hall([900, 400, -600], rules=strict, delay=timedelta(milliseconds=10))
    sender, _, victim = room.street.ids
    lose = lose_once(victim, sender, 2)
    room.lose = lambda to, message: lose(to, message) or isinstance(message, Prices)
    assert len({result.prices_micro for result in room.run().values()}) == 2


def test_prices_that_the_majority_did_not_answer_are_not_adopted() -> None:
    on = street(3)
    talk = alone(on)
    first, second = on.ids[1:]
    for other in (first, second):
        talk.receive(on.seal(Ready, other, slot=SLOT.key, prices=OPENING), READY_AT)
    talk.tick(ROUNDS_AT)
    theirs = (170_000, 171_000, 172_000, 173_000)
    talk.receive(bid(on, first, 1, price_hash=named(theirs)), ROUNDS_AT)
    events = talk.receive(bid(on, second, 1, price_hash=named(theirs)), ROUNDS_AT)
    assert events[0] == AskPrices(round=1, price_hash=named(theirs))
    assert talk._round is not None
    before = talk._round.course.prices
    for vector, number in (((1, 1, 1, 1), 1), (theirs, 2), (theirs, 9)):
        talk.receive(
            on.seal(Prices, first, on.ids[0], slot=SLOT.key, round=number, prices=vector, rho_micro=RULES.rho_micro),
            ROUNDS_AT,
        )
        assert talk._round.course.prices == before
    talk.receive(
        on.seal(Prices, first, on.ids[0], slot=SLOT.key, round=1, prices=theirs, rho_micro=RULES.rho_micro), ROUNDS_AT
    )
    assert talk._round.course.prices == tuple(b - 180_000 + t for b, t in zip(before, theirs, strict=True))


def test_prices_are_told_only_for_a_round_that_was_answered_with_them() -> None:
    on = street(2)
    talk = alone(on)
    asker = on.ids[1]
    talk.receive(on.seal(Ready, asker, slot=SLOT.key, prices=OPENING), READY_AT)

    def ask(number: int, price_hash: str) -> list[Any]:
        request = on.seal(PriceRequest, asker, slot=SLOT.key, round=number, price_hash=price_hash)
        return talk.receive(request, ROUNDS_AT)

    assert ask(1, named(OPENING)) == []
    talk.tick(ROUNDS_AT)
    assert ask(1, named(OPENING)) == [TellPrices(to=asker, round=1, prices=OPENING, rho_micro=RULES.rho_micro)]
    assert ask(1, HASH) == []
    assert ask(2, named(OPENING)) == []


def test_a_home_whose_ready_was_lost_joins_with_its_first_bid() -> None:
    room = hall([900, -600, -500], delay=timedelta(milliseconds=10))
    late = room.street.ids[2]
    room.lose = lambda to, message: isinstance(message, Ready) and message.sender == late
    results = room.run()
    assert all(late in result.bids_wh for result in results.values())
    assert all(talk.roster == frozenset(room.street.ids) for talk in room.talks.values())
    assert len({result.prices_micro for result in results.values()}) == 1


def test_who_was_not_heard_for_long_takes_part_from_its_first_bid_on() -> None:
    strict = {"unmatched_wh": 0, "price_change_micro": 0, "round_limit": 12}
    room = hall([900, 400, -600, -500], rules=strict, delay=timedelta(milliseconds=10))
    victim, *_, unheard = room.street.ids

    def lose(to: str, message: AnyMessage) -> bool:
        early = isinstance(message, Ready) or (isinstance(message, Bid) and message.round <= 4)
        return to == victim and message.sender == unheard and early

    room.lose = lose
    results = room.run()
    assert unheard in room.talks[victim].roster
    assert len({result.prices_micro for result in results.values()}) == 1


def test_two_halves_that_lost_each_other_for_a_while_come_to_one_price_again() -> None:
    strict = {"unmatched_wh": 0, "price_change_micro": 0, "round_limit": 14}
    room = hall([900, 400, -600, -800], rules=strict, delay=timedelta(milliseconds=10))
    left = set(room.street.ids[:2])

    def lose(to: str, message: AnyMessage) -> bool:
        return isinstance(message, Bid) and message.round in (3, 4) and (to in left) != (message.sender in left)

    room.lose = lose
    results = room.run()
    told: dict[int, set[str]] = {}
    for _, _, event in room.said:
        if isinstance(event, SayBid):
            told.setdefault(event.round, set()).add(event.price_hash)
    assert len(told[4]) == 2  # they did come apart
    assert len(told[14]) == 1
    assert len({result.prices_micro for result in results.values()}) == 1


# The end


def test_without_a_loss_all_end_at_once_and_nobody_repeats_itself() -> None:
    room = hall([900, 400, -600, -800], rules={"round_limit": 6, "price_change_micro": 0})
    room.run()
    ends = {at for at, _, event in room.said if isinstance(event, Finished)}
    assert len(ends) == 1
    assert all(len(room.times(home, SayBid)) == 6 for home in room.street.ids)


def test_last_bids_that_were_lost_come_again_until_all_match_the_same() -> None:
    room = hall([900, 400, -600, -800], rules={"round_limit": 6, "price_change_micro": 0, "unmatched_wh": 0})
    luck = random.Random(5)
    room.lose = lambda to, message: isinstance(message, Bid) and message.round == 6 and luck.random() < 0.6
    results = room.run()
    last = {}
    for _, who, event in room.said:
        if isinstance(event, SayBid):
            last[who] = event.energy_wh
    assert sum(len(room.times(home, SayBid)) for home in room.street.ids) > 4 * 6  # some were lost at first
    assert all(result.bids_wh == last for result in results.values())
    assert len({tuple(result.matched()) for result in results.values()}) == 1


def test_one_lost_last_bid_costs_an_ask_and_an_answer() -> None:
    room = hall([900, 400, -600, -800], rules={"round_limit": 6, "price_change_micro": 0, "unmatched_wh": 0})
    loser, unheard = room.street.ids[:2]
    copies = iter([True])
    room.lose = lambda to, message: (
        isinstance(message, Bid) and (to, message.sender, message.round) == (loser, unheard, 6) and next(copies, False)
    )
    room.run()
    said = [(who, event.to) for _, who, event in room.said if isinstance(event, SayBid) and event.to != "*"]
    assert said == [(loser, unheard), (unheard, loser)]


def ended(on: Street) -> Negotiation:
    """Return the negotiation of the first of two homes, which has all bids of both rounds."""
    talk, other = alone(on), on.ids[1]
    talk.receive(on.seal(Ready, other, slot=SLOT.key, prices=OPENING), READY_AT)
    talk.tick(ROUNDS_AT)
    for number in (1, 2):
        events = talk.receive(bid(on, other, number, [-100] * 4), ROUNDS_AT)
    assert isinstance(events[-1], Finished)
    return talk


def test_whoever_has_ended_answers_each_neighbour_that_asks() -> None:
    on = street(2, round_limit=2)
    talk, (me, other) = ended(on), on.ids
    assert talk.receive(bid(on, other, 2, [-100] * 4), ROUNDS_AT) == []  # the network's own duplicate asks nothing
    for seq in range(2, 2 + CLOSING_PATIENCE):
        asked = bid(on, other, 2, [-100] * 4, to=me, seq=seq)
        (answer,) = talk.receive(asked, ROUNDS_AT)
        assert isinstance(answer, SayBid)
        assert (answer.round, answer.to) == (2, other)
        assert talk.receive(asked, ROUNDS_AT) == []  # twice on the way, asked once
    assert talk.receive(bid(on, other, 2, [-100] * 4, to=me, seq=99), ROUNDS_AT) == [], "nor for ever"
    assert talk.receive(bid(on, other, 1, [-100] * 4, to=me, seq=100), talk.offers_at) == []  # too late to matter
    (answer,) = talk.receive(bid(on, other, 1, [-100] * 4, to=me, seq=101), ROUNDS_AT)
    assert isinstance(answer, SayBid)
    assert answer.round == 1


def test_an_answer_is_not_answered_and_who_asks_in_turn_is() -> None:
    on = street(2, round_limit=2)
    talk, (me, other) = alone(on), on.ids
    talk.receive(on.seal(Ready, other, slot=SLOT.key, prices=OPENING), READY_AT)
    talk.tick(ROUNDS_AT)
    talk.receive(bid(on, other, 1, [-100] * 4), ROUNDS_AT)
    talk.tick(ROUNDS_AT + TIMEOUT)  # its second bid was lost
    assert talk.state is State.CLOSING
    asked = [event for n in (1, 2) for event in talk.tick(ROUNDS_AT + TIMEOUT * (1 + n / CLOSING_PARTS))]
    assert [(event.round, event.to) for event in asked if isinstance(event, SayBid)] == [(2, other)] * 2
    said = [talk.receive(bid(on, other, 2, [-100] * 4, to=me, seq=seq), ROUNDS_AT + TIMEOUT * 1.4) for seq in (2, 3, 4)]
    assert [type(event) for event in said[0]] == [Finished]  # the answer to one
    assert said[1] == []  # and to the other
    assert [type(event) for event in said[2]] == [SayBid]  # now it is the neighbour that asks


def test_a_last_bid_that_never_comes_is_waited_for_one_and_a_half_rounds() -> None:
    on = street(3, round_limit=2)
    talk = alone(on)
    for other in on.ids[1:]:
        talk.receive(on.seal(Ready, other, slot=SLOT.key, prices=OPENING), READY_AT)
    talk.tick(ROUNDS_AT)
    for other in on.ids[1:]:
        talk.receive(bid(on, other, 1, [-100] * 4), ROUNDS_AT)
    talk.receive(bid(on, on.ids[1], 2, [-120] * 4), ROUNDS_AT)
    now, ended = ROUNDS_AT, []
    while not ended:
        now = talk.next_deadline() or now
        assert not talk.tick(now - timedelta(milliseconds=1))
        ended = [event for event in talk.tick(now) if isinstance(event, Finished)]
    assert now == ROUNDS_AT + 2.5 * TIMEOUT
    assert ended[0].bids_wh[on.ids[2]] == (-100,) * 4


def test_a_straggler_is_waited_for_twice_and_its_last_bid_counts() -> None:
    strict = {"unmatched_wh": 0, "price_change_micro": 0, "round_limit": 8}
    room = hall([900, -400, -600], rules=strict)
    steady, _, straggler = room.street.ids
    room.lose = lambda to, message: isinstance(message, Bid) and message.sender == straggler and message.round > 1
    results = room.run()
    begun = room.times(steady, SayBid)[:8]
    waits = [later - earlier for earlier, later in itertools.pairwise(begun)]
    assert waits == [timedelta(0)] + [TIMEOUT] * PATIENCE_ROUNDS + [timedelta(0)] * (7 - 1 - PATIENCE_ROUNDS)
    asked = [e.to for _, who, e in room.said if who == steady and isinstance(e, SayBid)][8:]
    assert asked == [straggler] * 2 * (CLOSING_PATIENCE - 1), "after each round it is let be, at the end it is asked"
    last = next(e for _, who, e in room.said if who == straggler and isinstance(e, SayBid))
    assert results[steady].bids_wh[straggler] == last.energy_wh
    assert results[steady].rounds == 8


def test_a_straggler_that_returns_is_waited_for_again() -> None:
    on = street(2, unmatched_wh=0)
    talk = alone(on)
    other = on.ids[1]
    talk.receive(on.seal(Ready, other, slot=SLOT.key, prices=OPENING), READY_AT)
    talk.tick(ROUNDS_AT)
    talk.receive(bid(on, other, 1, [-100] * 4), ROUNDS_AT)
    assert [e.round for e in talk.tick(ROUNDS_AT + TIMEOUT) if isinstance(e, SayBid)] == [3]
    talk.receive(bid(on, other, 3, [-90] * 4), ROUNDS_AT + TIMEOUT)
    assert talk.next_deadline() == ROUNDS_AT + 2 * TIMEOUT
    assert talk.tick(ROUNDS_AT + TIMEOUT) == []


def test_a_bid_that_comes_early_waits_for_its_round_and_the_first_word_counts() -> None:
    on = street(2)
    talk = alone(on)
    other = on.ids[1]
    talk.receive(on.seal(Ready, other, slot=SLOT.key, prices=OPENING), READY_AT)
    for number, wh in ((1, -100), (1, -999), (2, -200), (2, -999)):
        talk.receive(bid(on, other, number, [wh] * 4), READY_AT)
    events = talk.tick(ROUNDS_AT)
    assert [e.round for e in events if isinstance(e, SayBid)] == [1, 2, 3]
    assert talk._latest[other] == (-200,) * 4
    assert talk.receive(bid(on, other, 2, [-777] * 4), ROUNDS_AT) == []
    assert talk._latest[other] == (-200,) * 4


# Liars


@pytest.mark.parametrize("length", [1, 3, 5, 288])
def test_a_vector_of_another_length_is_refused(length: int) -> None:
    on = street(2)
    talk = alone(on)
    vector = (1,) * length
    for message in (
        on.seal(Ready, on.ids[1], slot=SLOT.key, prices=vector),
        bid(on, on.ids[1], 1, vector),
        on.seal(Prices, on.ids[1], on.ids[0], slot=SLOT.key, round=1, prices=vector, rho_micro=1),
    ):
        with pytest.raises(RemoteProtocolError, match="the charter says 4"):
            talk.receive(message, READY_AT)


@pytest.mark.parametrize("energy_wh", [7501, -7501, 10**7])
def test_a_bid_over_the_charters_power_limit_is_refused(energy_wh: int) -> None:
    on = street(2)
    talk = alone(on)
    with pytest.raises(RemoteProtocolError, match="limit of 7500 Wh"):
        talk.receive(bid(on, on.ids[1], 1, [0, 0, 0, energy_wh]), READY_AT)
    talk.receive(bid(on, on.ids[1], 1, [7500, -7500, 0, 0]), READY_AT)
    assert on.ids[1] in talk.roster


def test_the_own_bid_is_cut_to_the_charters_power_limit() -> None:
    on = street(1)
    talk = Negotiation(
        slot=SLOT, me=on.ids[0], rules=on.rules, bidder=WishBidder(on, 10**6, 10**9), opening_micro=OPENING
    )
    said = talk.tick(ROUNDS_AT)[0]
    assert isinstance(said, SayBid)
    assert said.energy_wh == (7500,) * 4


def test_other_slots_and_the_own_voice_are_not_listened_to() -> None:
    on = street(2)
    talk = alone(on)
    assert talk.receive(bid(on, on.ids[1], 1, slot=SLOT.shifted(1)), READY_AT) == []
    assert talk.receive(bid(on, on.ids[0], 1), READY_AT) == []
    assert talk.roster == {on.ids[0]}
    talk.tick(ROUNDS_AT)
    assert talk.state is State.DONE
