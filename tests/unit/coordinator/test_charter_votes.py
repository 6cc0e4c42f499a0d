"""Who must agree: two thirds of distinct members of the charter before, in time, and everybody whose entry is new."""

from typing import Any

import pytest
from charter_people import FOUNDED_MS, WEEK_MS, Person, founding, successor
from pydantic import ValidationError

from coordinator.charter import Charter, Rules
from coordinator.charter_votes import Vote, cast, depart, is_of, quorum, tally
from coordinator.identity import Identity, encode_base64

PEOPLE = [Person(n) for n in range(7)]
NEW = Person(20, "newcomer")
FIRST = founding(PEOPLE).charter
RULED = successor(FIRST, rules=Rules(gate_s=60))
AT_MS = FOUNDED_MS + WEEK_MS
"""The last moment to vote for what takes effect two weeks after the founding."""


def votes(charter: Charter, people: list[Person], at_ms: int = AT_MS) -> list[Vote]:
    return [person.vote(charter, at_ms) for person in people]


@pytest.mark.parametrize(
    ("members", "needed"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (9, 7), (10, 7)]
)
def test_more_than_two_thirds_must_agree(members: int, needed: int) -> None:
    assert quorum(members) == needed
    assert 3 * needed > 2 * members >= 3 * (needed - 1)


def test_two_quorums_share_more_than_a_third() -> None:
    for members in range(1, 65):
        assert 3 * (2 * quorum(members) - members) > members


def test_five_of_seven_change_a_rule_and_four_do_not() -> None:
    assert tally(RULED, FIRST, votes(RULED, PEOPLE[:5])).accepted
    few = tally(RULED, FIRST, votes(RULED, PEOPLE[:4]))
    assert (len(few.voters), few.quorum, few.accepted) == (4, 5, False)


def test_one_key_counts_once_however_often_it_signs() -> None:
    again = [person.vote(RULED, AT_MS - n) for n in range(50) for person in PEOPLE[:4]]
    assert tally(RULED, FIRST, again).voters == {person.id for person in PEOPLE[:4]}
    by_both = [*votes(RULED, PEOPLE[:4]), *(cast(RULED, p.id, p.recovery, AT_MS) for p in PEOPLE[:4])]
    assert not tally(RULED, FIRST, by_both).accepted


def test_a_key_cannot_vote_under_another_members_id() -> None:
    mine = PEOPLE[0].vote(RULED, AT_MS)
    lent = [mine.model_copy(update={"member": person.id}) for person in PEOPLE]
    assert tally(RULED, FIRST, lent).voters == {PEOPLE[0].id}
    signed = [cast(RULED, person.id, PEOPLE[0].own, AT_MS) for person in PEOPLE]
    assert tally(RULED, FIRST, signed).voters == {PEOPLE[0].id}


def test_a_stranger_has_no_vote() -> None:
    stranger = Person(30)
    assert not tally(RULED, FIRST, votes(RULED, [stranger])).voters


def test_who_was_taken_off_votes_no_more() -> None:
    smaller = successor(FIRST, remove=PEOPLE[:1])
    after = successor(smaller, rules=Rules(gate_s=60), effective_ms=FOUNDED_MS + 4 * WEEK_MS)
    assert quorum(len(smaller.members)) == 5
    assert not tally(after, smaller, votes(after, PEOPLE[:5])).accepted
    assert tally(after, smaller, votes(after, PEOPLE[1:6])).accepted


def test_votes_of_a_sister_community_count_nothing() -> None:
    sister = founding(PEOPLE, name="oak street").charter
    there = successor(sister, rules=Rules(gate_s=60))
    assert not tally(RULED, FIRST, votes(there, PEOPLE)).voters
    renamed = [
        vote.model_copy(update={"community": RULED.community_id, "charter": RULED.hash})
        for vote in votes(there, PEOPLE)
    ]
    assert not tally(RULED, FIRST, renamed).voters
    moved = there.model_copy(update={"follows": there.follows})
    assert tally(moved, FIRST, votes(moved, PEOPLE)).objection == "it belongs to another community"


def test_a_vote_names_its_epoch_truly() -> None:
    forged = [vote.model_copy(update={"epoch": 9}) for vote in votes(RULED, PEOPLE)]
    assert not tally(RULED, FIRST, forged).voters


def test_votes_for_the_charter_before_are_none_for_the_one_after() -> None:
    other = successor(FIRST, rules=Rules(gate_s=30))
    assert not tally(other, FIRST, votes(RULED, PEOPLE)).voters


@pytest.mark.parametrize(
    ("follows", "words"),
    [
        ({"prev": "0" * 64}, "it follows another charter"),
        ({"community": "0" * 16}, "it belongs to another community"),
        ({"effective_ms": FOUNDED_MS - 1}, "it would take effect before the charter it follows"),
    ],
)
def test_a_charter_that_does_not_follow_is_refused_whoever_votes(follows: dict[str, Any], words: str) -> None:
    charter = successor(FIRST, follows=follows)
    assert tally(charter, FIRST, votes(charter, PEOPLE)).objection == words
    assert not tally(charter, FIRST, votes(charter, PEOPLE)).accepted


def test_an_epoch_never_comes_twice_or_back() -> None:
    for epoch in (1, 2, 3):
        charter = successor(successor(FIRST, epoch=3), epoch=epoch)
        assert "is not after 3" in str(tally(charter, successor(FIRST, epoch=3), ()).objection)
    for epoch in (0, -1, 1.0, "1", True, None):
        with pytest.raises(ValidationError):
            successor(FIRST, follows={"epoch": epoch})


def test_a_change_keeps_name_currency_and_birth() -> None:
    for changes in ({"name": "oak street"}, {"currency": "CHF"}, {"founded_ms": 1}):
        charter = successor(FIRST, **changes)
        assert "it changes the community's" in str(tally(charter, FIRST, votes(charter, PEOPLE)).objection)


@pytest.mark.parametrize("text", ['"quorum":0', '"threshold":0', '"quorum":-1', '"quorum":0.5', '"quorum":1'])
def test_nobody_can_write_a_quorum_into_a_charter(text: str) -> None:
    line = RULED.model_dump_json(exclude_none=True)
    with pytest.raises(ValidationError, match="Extra inputs"):
        Charter.model_validate_json(line[:-1] + f",{text}}}")


def test_added_keys_do_not_shrink_or_fill_the_quorum() -> None:
    sybils = [Person(40 + n) for n in range(30)]
    flooded = successor(FIRST, add=[person.member() for person in sybils], remove=PEOPLE[4:])
    counted = tally(flooded, FIRST, votes(flooded, [*sybils, *PEOPLE[:4]]))
    assert counted.quorum == 5, "of the seven before, not of the thirty-four after"
    assert counted.voters == {person.id for person in PEOPLE[:4]}
    assert not counted.accepted


def test_a_new_member_must_sign_itself() -> None:
    charter = successor(FIRST, add=[NEW.member()])
    assert tally(charter, FIRST, votes(charter, PEOPLE)).unsigned == {NEW.id}
    by_recovery = [*votes(charter, PEOPLE), cast(charter, NEW.id, NEW.recovery, AT_MS)]
    assert not tally(charter, FIRST, by_recovery).accepted
    assert tally(charter, FIRST, votes(charter, [*PEOPLE[:5], NEW])).accepted


def test_nobody_writes_another_members_entry() -> None:
    for changes in ({"broker": "mqtt://elsewhere:1883"}, {"recovery_key": encode_base64(NEW.recovery.public_key)}):
        charter = successor(FIRST, add=[PEOPLE[0].member(**changes)])
        assert tally(charter, FIRST, votes(charter, PEOPLE[1:])).unsigned == {PEOPLE[0].id}
        assert tally(charter, FIRST, votes(charter, PEOPLE)).accepted


def test_votes_that_leave_less_than_the_waiting_time_do_not_count() -> None:
    assert not tally(RULED, FIRST, votes(RULED, PEOPLE, AT_MS + 1)).voters
    late = [*votes(RULED, PEOPLE[:4]), *votes(RULED, PEOPLE[4:], AT_MS + 1)]
    assert not tally(RULED, FIRST, late).accepted


def test_the_waiting_time_is_that_of_the_charter_before() -> None:
    hasty = successor(FIRST, waiting_s=0, effective_ms=FOUNDED_MS + WEEK_MS)
    assert not tally(hasty, FIRST, votes(hasty, PEOPLE, FOUNDED_MS + 1)).voters
    assert tally(hasty, FIRST, votes(hasty, PEOPLE, FOUNDED_MS)).accepted


def test_only_what_takes_away_needs_no_waiting() -> None:
    out = successor(FIRST, remove=PEOPLE[:1], effective_ms=AT_MS)
    assert tally(out, FIRST, votes(out, PEOPLE[1:6], AT_MS + 5)).accepted
    for more in (
        {"rules": Rules(gate_s=60)},
        {"waiting_s": 0},
        {"add": [NEW.member()]},
        {"add": [PEOPLE[1].member(power_limit_w=9)]},
    ):
        charter = successor(FIRST, remove=PEOPLE[:1], effective_ms=AT_MS, **more)
        assert not tally(charter, FIRST, votes(charter, [*PEOPLE, NEW], AT_MS)).accepted


def test_a_recovery_key_votes_in_its_members_place() -> None:
    given = [*votes(RULED, PEOPLE[:4]), cast(RULED, PEOPLE[4].id, PEOPLE[4].recovery, AT_MS)]
    assert tally(RULED, FIRST, given).accepted


def test_no_flipped_byte_of_a_signature_counts() -> None:
    vote = PEOPLE[0].vote(RULED, AT_MS)
    for at in range(len(vote.signature)):
        for other in "A/=b":
            text = vote.signature[:at] + other + vote.signature[at + 1 :]
            changed = vote.model_copy(update={"signature": text})
            assert bool(tally(RULED, FIRST, [changed]).voters) is (text == vote.signature)


def test_a_departure_is_no_vote_and_a_vote_no_departure() -> None:
    paper = depart(FIRST.community_id, PEOPLE[0].id, PEOPLE[0].own, AT_MS)
    assert is_of(paper, PEOPLE[0].member())
    vote = PEOPLE[0].vote(RULED, AT_MS)
    assert not is_of(paper.model_copy(update={"signature": vote.signature}), PEOPLE[0].member())
    assert not is_of(vote.model_copy(update={"signature": paper.signature}), PEOPLE[0].member())


def test_a_member_without_recovery_key_has_one_voice_only() -> None:
    bare = PEOPLE[0].member(recovery_key=None)
    vote = cast(RULED, PEOPLE[0].id, Identity.from_seed(b"x" * 32), AT_MS)
    assert not is_of(vote, bare)
