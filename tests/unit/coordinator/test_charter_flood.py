"""Merging papers: in any order the same ones are kept, and neither a stranger nor one member can fill them."""

import random

from charter_people import DAY_MS, FOUNDED_MS, WEEK_MS, Person, founding, successor, with_votes
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.charter import Charter, Rules
from coordinator.charter_flood import OPEN_MAX, without_flood
from coordinator.charter_history import Change, History
from coordinator.charter_votes import Vote, cast, depart
from coordinator.errors import ConfigError
from coordinator.identity import encode_base64

PEOPLE = [Person(n) for n in range(4)]
LIAR = PEOPLE[3]
START = founding(PEOPLE)
FIRST = START.charter
AT_MS, EFFECT_MS = FOUNDED_MS + WEEK_MS, FOUNDED_MS + 2 * WEEK_MS


def ruled(gate_s: int, epoch: int, prev: Charter = FIRST, effective_ms: int = EFFECT_MS) -> Charter:
    return successor(prev, rules=Rules(gate_s=gate_s), epoch=epoch, effective_ms=effective_ms)


TAKEN, FAILED = ruled(60, 1), ruled(50, 2)
ON_IT = successor(TAKEN, remove=[LIAR], epoch=3, effective_ms=EFFECT_MS + DAY_MS)


def paper(charter: Charter, *votes: Vote) -> History:
    return History(charter=FIRST, signatures={}, changes=(Change(charter=charter, votes=votes),))


def left(at_ms: int, recovery: bool = False) -> History:
    key = LIAR.recovery if recovery else LIAR.own
    return History(charter=FIRST, signatures={}, departures=(depart(FIRST.community_id, LIAR.id, key, at_ms),))


def signed(person: Person, good: bool = True) -> History:
    text = encode_base64(person.own.sign(FIRST.canonical if good else b"something else"))
    return History(charter=FIRST, signatures={person.id: text, "nobody": "x"})


PAPERS = [
    *(paper(charter, person.vote(charter, AT_MS - day)) for charter in (TAKEN, FAILED) for person in PEOPLE[:3]
      for day in (0, 1)),
    *(paper(ON_IT, person.vote(ON_IT, AT_MS)) for person in PEOPLE[:3]),
    *(paper(TAKEN, cast(TAKEN, LIAR.id, key, AT_MS - day)) for key in (LIAR.own, LIAR.recovery) for day in (0, 2)),
    *(left(AT_MS + day, recovery) for day in (0, 1) for recovery in (False, True)),
    *(signed(person, good) for person in PEOPLE for good in (True, False)),
    paper(ruled(40, 7)),
]  # fmt: skip
SETS = st.lists(st.sampled_from(PAPERS), min_size=1, max_size=8)


def union(papers: list[History]) -> History:
    merged = History(charter=FIRST, signatures={})
    for each in papers:
        merged = merged.merged(each)
    return merged


@given(SETS, SETS, SETS)
@settings(max_examples=60, deadline=None)
def test_merging_is_commutative_associative_and_idempotent(
    one: list[History], two: list[History], x: list[History]
) -> None:
    a, b, c = union(one), union(two), union(x)
    assert a.merged(b) == b.merged(a)
    assert a.merged(b).merged(c) == a.merged(b.merged(c))
    assert a.merged(a) == a
    assert a.merged(b).merged(a) == a.merged(b)


def test_a_signature_that_does_not_fit_gives_way_to_the_one_that_does() -> None:
    """Whoever passes a founding on could else keep a founder out of it for good."""
    bad = {**START.signatures, LIAR.id: encode_base64(bytes(64)), "stranger": "x"}
    relayed = History(charter=FIRST, signatures=bad)
    assert relayed.unsigned == (LIAR.name,)
    assert relayed.merged(START).signatures == START.merged(relayed).signatures == START.signatures


def test_of_many_votes_of_one_key_one_is_kept_and_counts() -> None:
    many = paper(TAKEN, *(LIAR.vote(TAKEN, AT_MS + n) for n in range(-20, 20)))
    (change,) = START.merged(many).changes
    assert [vote.voted_ms for vote in change.votes] == [AT_MS - 20]
    assert START.merged(many).tallies[TAKEN.hash].voters == {LIAR.id}


def flood() -> list[History]:
    """What a stranger and a member can write: proposals nobody signed, and far more than anybody makes."""
    stranger = Person(40)
    made = [paper(ruled(11, 5000 + n)) for n in range(5)]
    own = successor(FIRST, add=[stranger.member()], epoch=9000)
    made.append(paper(own, stranger.vote(own, AT_MS)))
    for n in range(OPEN_MAX + 3):
        charter = ruled(12, 20 + n)
        made.append(paper(charter, LIAR.vote(charter, AT_MS)))
    return made


def test_neither_a_stranger_nor_a_member_can_fill_the_papers() -> None:
    kept = without_flood(START.merged(union(flood())))
    assert len(kept.changes) == OPEN_MAX
    assert max(change.charter.epoch for change in kept.changes) < 5000
    assert without_flood(kept) == kept


def test_a_homes_papers_lead_to_the_same_charter_in_any_order_and_amid_a_flood() -> None:
    """A paper that is not taken because what it follows is not there yet is given again, as the command says."""
    honest = [paper(charter, p.vote(charter, AT_MS)) for charter in (TAKEN, ON_IT) for p in PEOPLE[:3]]
    honest += [paper(FAILED, p.vote(FAILED, AT_MS)) for p in PEOPLE[:2]]
    junk = flood()
    for seed in range(4):
        shuffled = random.Random(seed)
        waiting = [*honest, union(junk[::2]), union(junk[1::2])]
        shuffled.shuffle(waiting)
        home = START
        for _ in range(4):
            refused = []
            for each in waiting:
                try:
                    home = without_flood(home.merged(each))
                except ConfigError:
                    refused.append(each)
                    continue
                refused += [each] if len(each.changes) == 1 and each.changes[0].charter.hash not in home.known else []
            waiting = refused
        home.check()
        assert [charter.hash for charter in home.line()] == [FIRST.hash, TAKEN.hash, ON_IT.hash]
        assert home.merged(union(honest)).line() == home.line()


def test_who_cannot_win_the_quorum_keeps_nothing_alive_on_a_proposal_of_its_own() -> None:
    """One vote lets in the first; what follows it needs it accepted, else its newcomers had the word."""
    many = [Person(40 + n) for n in range(9)]
    own = successor(FIRST, add=[person.member() for person in many], epoch=5)
    after = ruled(10, 6, own, EFFECT_MS + 3 * WEEK_MS)
    papers = with_votes(START, own, [LIAR.vote(own, AT_MS), *(p.vote(own, AT_MS) for p in many)])
    papers = with_votes(papers, after, [person.vote(after, AT_MS) for person in many])
    papers.check()
    assert {change.charter.hash for change in without_flood(papers).changes} == {own.hash}
