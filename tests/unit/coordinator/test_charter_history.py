"""The papers of a community: what holds follows from the set of them, not from the order in which they came."""

import itertools
import random

import pytest
from charter_people import DAY_MS, FOUNDED_MS, WEEK_MS, Person, founding, successor, with_votes

from coordinator.charter import Charter, Rules
from coordinator.charter_history import Change, History
from coordinator.charter_votes import cast, depart
from coordinator.errors import ConfigError

PEOPLE = [Person(n) for n in range(4)]
NEW = Person(20, "newcomer")
START = founding(PEOPLE)
FIRST = START.charter
AT_MS, EFFECT_MS = FOUNDED_MS + WEEK_MS, FOUNDED_MS + 2 * WEEK_MS


def voted(history: History, charter: Charter, people: list[Person], at_ms: int = AT_MS) -> History:
    made = with_votes(history, charter, [person.vote(charter, at_ms) for person in people])
    made.check()
    return made


def ruled(gate_s: int, epoch: int = 1, prev: Charter = FIRST, effective_ms: int = EFFECT_MS) -> Charter:
    return successor(prev, rules=Rules(gate_s=gate_s), epoch=epoch, effective_ms=effective_ms)


def test_the_communitys_id_never_changes() -> None:
    first = ruled(60)
    second = ruled(30, 2, first, EFFECT_MS + 2 * WEEK_MS)
    history = voted(voted(START, first, PEOPLE[:3]), second, PEOPLE[1:])
    assert [charter.epoch for charter in history.line()] == [0, 1, 2]
    assert {charter.community_id for charter in history.line()} == {FIRST.community_id}
    assert len({charter.terms for charter in history.line()}) == 3


def test_an_accepted_change_holds_from_its_moment_on() -> None:
    history = voted(START, ruled(60), PEOPLE[:3])
    assert history.in_force(EFFECT_MS - 1).rules == Rules()
    assert history.in_force(EFFECT_MS).rules.gate_s == 60
    assert [change.charter.epoch for change in history.open_changes(EFFECT_MS - 1)] == [1]
    assert history.open_changes(EFFECT_MS) == []


def test_a_change_without_a_quorum_never_holds() -> None:
    history = voted(START, ruled(60), PEOPLE[:2])
    assert history.in_force(EFFECT_MS + WEEK_MS).hash == FIRST.hash


def test_of_two_accepted_changes_the_higher_epoch_holds() -> None:
    both = voted(voted(START, ruled(60, 1), PEOPLE[:3]), ruled(30, 2), PEOPLE[1:])
    assert both.in_force(EFFECT_MS).rules.gate_s == 30
    assert not both.rivals


def test_a_change_that_is_to_come_does_not_lift_the_one_that_holds() -> None:
    later = ruled(30, 2, effective_ms=EFFECT_MS + WEEK_MS)
    both = voted(voted(START, ruled(60, 1), PEOPLE[:3]), later, PEOPLE[1:])
    assert both.in_force(EFFECT_MS).rules.gate_s == 60
    assert both.in_force(EFFECT_MS + WEEK_MS).rules.gate_s == 30


def test_taking_a_member_off_does_not_bring_forward_what_waits() -> None:
    waits = successor(FIRST, add=[NEW.member()], effective_ms=EFFECT_MS)
    history = voted(START, waits, [*PEOPLE, NEW])
    on_it = successor(waits, remove=PEOPLE[:1], epoch=2, effective_ms=AT_MS)
    with pytest.raises(ConfigError, match="before the charter it follows"):
        voted(history, on_it, PEOPLE[1:])
    beside = successor(FIRST, remove=PEOPLE[:1], epoch=2, effective_ms=AT_MS)
    history = voted(history, beside, PEOPLE[1:])
    assert PEOPLE[0].id not in history.in_force(AT_MS).by_id
    assert NEW.id not in history.in_force(EFFECT_MS).by_id


def test_two_charters_of_one_epoch_hold_neither_and_are_named() -> None:
    one, other = ruled(60), ruled(30)
    history = voted(voted(START, one, PEOPLE[:3]), other, PEOPLE[1:])
    assert {charter.hash for charter in history.rivals} == {one.hash, other.hash}
    assert history.in_force(EFFECT_MS).hash == FIRST.hash


def test_a_vote_dated_back_does_not_roll_back_what_was_built_on_since() -> None:
    """The last one, taken off long ago, gives the vote that an older proposal of a higher epoch lacked."""
    failed, taken = ruled(60, 2), ruled(30, 1)
    history = voted(voted(START, taken, PEOPLE[:3]), failed, PEOPLE[:2])
    on_it = successor(taken, remove=PEOPLE[3:], epoch=3, add=[NEW.member()], effective_ms=EFFECT_MS + 3 * WEEK_MS)
    history = voted(history, on_it, [*PEOPLE[:3], NEW], EFFECT_MS + WEEK_MS)
    for back in (history, voted(history, failed, PEOPLE[3:])):
        assert back.in_force(EFFECT_MS).hash == taken.hash, "also before what was built on it holds"
        assert back.in_force(EFFECT_MS + 50 * WEEK_MS).hash == on_it.hash
        assert NEW.id in back.in_force(EFFECT_MS + 50 * WEEK_MS).ever


def test_whom_a_revived_proposal_would_bring_in_cannot_lift_it() -> None:
    """It was to bring in more homes than there were; they alone have a quorum on it, of whatever epoch."""
    many = [Person(30 + n) for n in range(9)]
    failed = successor(FIRST, add=[person.member() for person in many], epoch=1)
    taken = ruled(30, 2)
    history = voted(voted(START, taken, PEOPLE[:3]), failed, [*PEOPLE[:2], *many])
    on_it = successor(failed, epoch=900, rules=Rules(gate_s=10), effective_ms=EFFECT_MS + 3 * WEEK_MS)
    history = voted(voted(history, failed, PEOPLE[3:]), on_it, [*many, PEOPLE[3]])
    assert history.tallies[on_it.hash].accepted
    assert history.in_force(EFFECT_MS + 50 * WEEK_MS).hash == taken.hash


def test_what_holds_does_not_depend_on_the_order_of_the_papers() -> None:
    first = ruled(60)
    changes = [
        (first, PEOPLE[:3]),
        (ruled(30, 2, first, EFFECT_MS + 2 * WEEK_MS), PEOPLE[:3]),
        (ruled(45, 3), PEOPLE[1:]),
        (ruled(50, 4), PEOPLE[:2]),
    ]
    papers = [
        History(
            charter=FIRST,
            signatures=START.signatures,
            changes=(Change(charter=charter, votes=(person.vote(charter, AT_MS),)),),
        )
        for charter, people in changes
        for person in people
    ]
    papers.append(
        History(
            charter=FIRST, signatures={}, departures=(depart(FIRST.community_id, PEOPLE[3].id, PEOPLE[3].own, AT_MS),)
        )
    )
    expected = None
    for seed in range(20):
        order = random.Random(seed).sample(papers, len(papers))
        history = START
        for paper in [*order, *order[:4]]:
            history = history.merged(paper)
        history.check()
        seen = [
            (history.in_force(at).hash, history.in_force(at).homes)
            for at in range(AT_MS - 1, EFFECT_MS + 5 * WEEK_MS, DAY_MS)
        ]
        expected = expected or seen
        assert seen == expected


def test_who_leaves_is_gone_at_its_moment_and_stays_in_the_quorum() -> None:
    paper = depart(FIRST.community_id, PEOPLE[0].id, PEOPLE[0].own, AT_MS)
    history = START.merged(History(charter=FIRST, signatures={}, departures=(paper,)))
    history.check()
    assert PEOPLE[0].id in history.in_force(AT_MS - 1).by_id
    after = history.in_force(AT_MS)
    assert PEOPLE[0].id not in after.by_id
    assert PEOPLE[0].id not in after.public_keys
    assert PEOPLE[0].id in after.ever
    assert len(after.homes) == 3
    assert len(after.members) == 4
    assert after.community_id == FIRST.community_id


def test_a_recovery_key_suspends_its_own_member_at_once_and_no_other() -> None:
    mine = depart(FIRST.community_id, PEOPLE[0].id, PEOPLE[0].recovery, EFFECT_MS)
    history = START.merged(History(charter=FIRST, signatures={}, departures=(mine,)))
    history.check()
    assert PEOPLE[0].id not in history.in_force(FOUNDED_MS).by_id
    for paper in (
        depart(FIRST.community_id, PEOPLE[1].id, PEOPLE[0].recovery, AT_MS),
        depart("0" * 16, PEOPLE[0].id, PEOPLE[0].recovery, AT_MS),
        mine.model_copy(update={"member": PEOPLE[1].id}),
    ):
        with pytest.raises(ConfigError, match="departure"):
            START.merged(History(charter=FIRST, signatures={}, departures=(paper,))).check()


def test_a_proposal_cannot_bring_the_recovery_key_that_suspends_a_member() -> None:
    thief = Person(50)
    proposed = successor(FIRST, add=[PEOPLE[0].member(recovery_key=thief.member().recovery_key)])
    history = with_votes(START, proposed, [])
    paper = depart(FIRST.community_id, PEOPLE[0].id, thief.recovery, AT_MS)
    with pytest.raises(ConfigError, match="departure"):
        history.merged(History(charter=FIRST, signatures={}, departures=(paper,))).check()


def test_papers_that_fit_nothing_are_refused() -> None:
    change = ruled(60)
    stranger = Person(30)
    for history, words in (
        (with_votes(START, change, [stranger.vote(change, AT_MS)]), "of nobody who may vote"),
        (with_votes(START, change, [PEOPLE[0].vote(ruled(30), AT_MS)]), "of nobody who may vote"),
        (with_votes(START, ruled(30, 2, change), []), "not here"),
        (with_votes(START, successor(FIRST, follows={"epoch": 1}, currency="CHF"), []), "currency"),
    ):
        with pytest.raises(ConfigError, match=words):
            history.check()


def test_a_key_of_a_former_member_is_known_but_speaks_no_more() -> None:
    out = successor(FIRST, remove=PEOPLE[:1], effective_ms=AT_MS)
    after = voted(START, out, PEOPLE[1:]).in_force(AT_MS)
    assert PEOPLE[0].id not in after.public_keys
    assert after.ever[PEOPLE[0].id].name == "home 0"
    assert after.earlier_terms == {FIRST.terms}


def test_every_smaller_set_of_voters_than_the_quorum_fails() -> None:
    change = ruled(60)
    for size in range(5):
        for people in itertools.combinations(PEOPLE, size):
            accepted = voted(START, change, list(people)).tallies[change.hash].accepted
            assert accepted is (size >= 3)


def test_a_vote_by_recovery_key_and_one_by_the_key_are_both_kept_and_count_once() -> None:
    change = ruled(60)
    history = voted(START, change, PEOPLE[:2])
    history = history.with_votes([cast(change, PEOPLE[0].id, PEOPLE[0].recovery, AT_MS)])
    history.check()
    assert len(history.tallies[change.hash].voters) == 2


def test_an_accepted_change_that_a_removal_overtakes_is_called_void() -> None:
    """It follows the charter in force, as the removal does: it does not hold any more, and must not vanish."""
    waits = successor(FIRST, add=[NEW.member()], effective_ms=EFFECT_MS)
    history = voted(START, waits, [*PEOPLE, NEW])
    removal = successor(FIRST, remove=PEOPLE[:1], epoch=2, effective_ms=AT_MS)
    assert history.overtaken(removal, AT_MS) == [waits]
    assert history.void_changes(AT_MS) == []
    history = voted(history, removal, PEOPLE[1:])
    assert [change.charter.hash for change in history.void_changes(AT_MS)] == [waits.hash]
    assert history.open_changes(AT_MS) == []


def test_a_recovery_key_that_a_proposal_brings_has_no_vote_on_it() -> None:
    """Its votes could else take the place of the member's own."""
    proposed = successor(FIRST, add=[PEOPLE[0].member(recovery_key=NEW.member().public_key)])
    vote = cast(proposed, PEOPLE[0].id, NEW.own, AT_MS)
    with pytest.raises(ConfigError, match="of nobody who may vote"):
        with_votes(START, proposed, [vote]).check()
