"""Masked negotiations: exact sums, one input under one roster whatever happens, and what takes their place."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from masked_hall import OPENING, RULES, Fate, MaskedHall, readies
from sealed import SLOT, Street

from coordinator.errors import RemoteProtocolError
from coordinator.identity import encode_base64
from coordinator.masked_events import MaskedFinished, SayAbandon, SayRoster, SayShare
from coordinator.masked_negotiation import State
from coordinator.masking import roster_hash, total, words_of
from coordinator.messages import Abandon, AnyMessage, Ready, Share
from coordinator.negotiation_events import SayBid

STREET = Street(6, RULES, salt=9)
WISHES = (500, -400, 300, -600, 200, -100)


def hall(fate: Fate | None = None, street: Street = STREET, **options: Any) -> MaskedHall:
    return MaskedHall(street, SLOT, WISHES[: len(street.ids)], fate or Fate(), **options)


def before(seconds: float) -> float:
    """Return seconds from `ready_s` to so many seconds before the slot."""
    return RULES.ready_s - seconds


def only(kind: type[AnyMessage], sender: str, times: int) -> Callable[[str, AnyMessage], bool]:
    """Lose the first `times` copies of a home's messages of a kind."""
    left = [times]

    def lose(receiver: str, message: AnyMessage) -> bool:
        if isinstance(message, kind) and message.sender == sender and left[0]:
            left[0] -= 1
            return True
        return False

    return lose


# Without a fault


def test_every_home_ends_with_the_exact_sums_of_bids_it_never_saw() -> None:
    made = hall()
    results = made.run()
    assert all(isinstance(result, MaskedFinished) for result in results.values())
    first = next(iter(made.masked_results().values()))
    last = [bidder.answers[first.rounds - 1] for bidder in made.bidders.values()]
    assert first.totals_wh == tuple(sum(column) for column in zip(*last, strict=True))
    for home, result in made.masked_results().items():
        assert (result.totals_wh, result.prices_micro) == (first.totals_wh, first.prices_micro)
        assert set(result.bids_wh) == {home}
        assert result.balancing == frozenset(STREET.ids)


def test_nobody_bids_before_all_of_the_roster_acknowledged_it() -> None:
    made = hall(Fate(late_s=5))
    made.run()
    acknowledged = [at for at, _, event in made.said if isinstance(event, SayRoster)]
    bid = [at for at, _, event in made.said if isinstance(event, SayShare)]
    assert max(acknowledged) < min(bid)


def test_ready_is_said_again_only_where_somebody_lacks_one_and_shares_have_one_size() -> None:
    made = hall(Fate(lose=only(Ready, STREET.ids[0], 1)))
    assert all(isinstance(result, MaskedFinished) for result in made.run().values())
    assert 2 <= readies(made, STREET.ids[0]) <= 4
    made = hall()
    made.run()
    assert {readies(made, home) for home in STREET.ids} == {1}
    assert len({len(share.numbers) for _, share in made.shares()}) == 1


# One input, one roster, ever


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 10_000),
    loss=st.sampled_from([0.0, 0.05, 0.2, 0.5]),
    twice=st.sampled_from([0.0, 0.3]),
    late_s=st.sampled_from([0.0, 3.0, 40.0, 150.0]),
    dead=st.dictionaries(st.integers(0, 5), st.floats(0, 500), max_size=2),
)
def test_no_schedule_yields_two_shares_of_one_input(
    seed: int, loss: float, twice: float, late_s: float, dead: dict[int, float]
) -> None:
    made = hall(Fate(seed=seed, loss=loss, twice=twice, late_s=late_s, dead_at=dead))
    made.run()
    published: dict[tuple[str, int], SayShare] = {}
    for home, share in made.shares():
        assert published.setdefault((home, share.round), share) == share
    acknowledged: dict[str, SayRoster] = {}
    for _, home, event in made.said:
        assert not isinstance(event, SayRoster) or acknowledged.setdefault(home, event) == event
    for home in {home for home, _ in published}:
        same = {event.roster for other, event in acknowledged.items() if other in made.talks[home].roster}
        assert same == {acknowledged[home].roster}
    for home, bidder in made.bidders.items():  # a share is one answer of the home, and what is shown later is another
        assert len({round_ for who, round_ in published if who == home}) <= len(bidder.answers)
    for _, _, event in made.said:
        assert not isinstance(event, SayBid) or len(event.energy_wh) == 1
    sums = {result.totals_wh for result in made.masked_results().values()}
    rounds = {result.rounds for result in made.masked_results().values()}
    assert len(sums) <= 1
    assert len(rounds) <= 1
    for result in made.masked_results().values():
        answers = [bidder.answers[result.rounds - 1] for bidder in made.bidders.values()]
        assert result.totals_wh == tuple(map(sum, zip(*answers, strict=True)))


def test_a_lost_share_comes_again_word_for_word_and_costs_no_sum() -> None:
    loser = STREET.ids[2]
    made = hall(Fate(lose=only(Share, loser, 4)))
    results = made.run()
    assert all(isinstance(result, MaskedFinished) for result in results.values())
    firsts = [share for home, share in made.shares() if home == loser and share.round == 1]
    assert len(firsts) > 1
    assert len(set(firsts)) == 1


def test_a_part_of_the_shares_adds_up_to_nothing_that_could_be() -> None:
    made = hall()
    made.run()
    first = {home: words_of(share.numbers) for home, share in made.shares() if share.round == 1}
    for missing in first:
        sums = total(words for home, words in first.items() if home != missing)
        assert max(map(abs, sums)) > 6 * RULES.power_limit_wh


# What takes its place


def fell_back(made: MaskedHall) -> dict[str, str]:
    """Return why each home gave up."""
    return {home: result.opened for home, result in made.results.items() if result.opened}


def test_a_home_that_dies_makes_the_others_bid_in_the_open_for_the_coming_slot_only() -> None:
    made = hall(Fate(late_s=4, dead_at={1: before(RULES.rounds_s) + 12}))
    made.run()
    alive = [home for home in STREET.ids if home != STREET.ids[1]]
    assert set(fell_back(made)) == set(alive)
    for home in alive:
        result = made.results[home]
        assert {len(bid) for bid in result.bids_wh.values()} == {RULES.horizon_slots}
        assert set(result.bids_wh) >= set(alive)
        assert all(bid[1:] == (0, 0) for bid in result.bids_wh.values())
        assert result.matched()
        assert made.talks[home].failed == {STREET.ids[1]}


def test_fewer_than_five_homes_do_not_mask() -> None:
    few = Street(4, RULES, salt=9)
    made = hall(street=few)
    made.run()
    assert made.shares() == []
    assert set(fell_back(made)) == set(few.ids)
    assert all("masked bids take 5" in why for why in fell_back(made).values())


def test_different_rosters_end_it_before_anybody_bids() -> None:
    deaf, unheard = STREET.ids[0], STREET.ids[1]
    made = hall(Fate(lose=lambda to, said: isinstance(said, Ready) and (to, said.sender) == (deaf, unheard)))
    made.run()
    assert made.shares() == []
    assert len(fell_back(made)) == len(STREET.ids)


def test_different_opening_prices_end_it_before_anybody_bids() -> None:
    """A home that told two neighbours different prices: everybody's median must be the same."""
    liar, misled = STREET.ids[0], STREET.ids[1]
    openings = [(100_000 + 1000 * n,) * 3 for n in range(6)]
    made = hall(openings=openings)
    other = STREET.seal(Ready, liar, now=made.now, slot=SLOT.key, prices=(900_000,) * 3)
    made.talks[misled].receive(other, made.now)
    made.run()
    assert made.shares() == []
    assert len(fell_back(made)) == len(STREET.ids)


def test_a_home_that_says_late_that_it_is_ready_is_in_nobodys_roster() -> None:
    made = hall()
    late = STREET.ids[3]
    late_at = made.talks[late].rounds_at - timedelta(seconds=10)
    for home in STREET.ids[:3]:
        talk = made.talks[home]
        talk.start(made.now)
        talk.receive(STREET.seal(Ready, late, now=late_at, slot=SLOT.key, prices=OPENING), late_at)
        assert late not in talk.roster


def test_noise_instead_of_a_share_is_no_sum() -> None:
    liar = STREET.ids[5]
    made = hall(Fate(lose=lambda receiver, message: isinstance(message, Share) and message.sender == liar))
    genuine = made._post

    def forge(home: str, events: Any) -> None:
        genuine(home, events)
        for event in events:
            if home == liar and isinstance(event, SayShare):
                noise = STREET.seal(
                    Share,
                    liar,
                    now=made.now,
                    slot=SLOT.key,
                    round=event.round,
                    question=event.question,
                    numbers=encode_base64(bytes([0x7F] * 12)),
                )
                for other in STREET.ids[:5]:
                    made._queue.append((made.now, next(made._order), other, noise))

    made._post = forge  # type: ignore[method-assign]
    made.run()
    assert {fell_back(made)[home] for home in STREET.ids[:5]} <= {
        "the masked bids add up to more than there can be",
        "a neighbour gave up",
    }
    assert not made.masked_results().keys() & set(STREET.ids[:5])


@pytest.mark.parametrize("numbers", ["AAAA", "AAAAAAAAAAE=", "A" * 15 + "="])
def test_a_share_of_another_length_is_refused(numbers: str) -> None:
    made = hall()
    made.run()
    talk = made.talks[STREET.ids[0]]
    body = {"round": 1, "question": "0" * 32, "numbers": numbers}
    with pytest.raises(RemoteProtocolError, match="share without 3 numbers"):
        talk.receive(STREET.seal(Share, STREET.ids[1], now=made.now, slot=SLOT.key, **body), made.now)


def test_words_of_strangers_to_the_roster_and_of_other_lives_change_nothing() -> None:
    small = Street(6, RULES, salt=9)
    made = MaskedHall(small, SLOT, WISHES, Fate(lose=lambda receiver, message: message.sender == small.ids[5]))
    stranger = small.ids[5]
    made.run()
    inside = {home: result for home, result in made.masked_results().items() if home != stranger}
    assert set(inside) == set(small.ids[:5])
    assert all(stranger not in result.partners for result in inside.values())
    talk = made.talks[small.ids[0]]
    assert talk.receive(small.seal(Abandon, stranger, now=made.now, slot=SLOT.key, prices=(1,)), made.now) == []
    assert talk.state is State.DONE


def test_the_hash_of_a_roster_tells_homes_lives_slots_and_charters_apart() -> None:
    lives = {"a" * 16: 1, "b" * 16: 1}
    hashes = {
        roster_hash("0" * 16, 900, lives),
        roster_hash("1" * 16, 900, lives),
        roster_hash("0" * 16, 1800, lives),
        roster_hash("0" * 16, 900, {**lives, "b" * 16: 2}),
        roster_hash("0" * 16, 900, {**lives, "c" * 16: 1}),
    }
    assert len(hashes) == 5


def test_whatever_was_given_up_everybody_ends_with_a_result() -> None:
    made = hall(Fate(loss=0.3, seed=4))
    made.run()
    assert any(isinstance(event, SayAbandon) for _, _, event in made.said)
    assert set(made.results) == set(STREET.ids)
