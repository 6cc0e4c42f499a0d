"""Meeting brokers in a charter: who adds, alters or takes one off needs the members, and changes nothing for others."""

from typing import Any

import pytest
from charter_people import FOUNDED_MS, WEEK_MS, Person, founding, successor, with_votes
from pydantic import ValidationError

from coordinator.broker import Access
from coordinator.broker_settings import meeting_users
from coordinator.charter import Charter, MeetingBroker
from coordinator.charter_votes import only_takes_away, tally
from coordinator.identity import Identity, encode_base64

PEOPLE = [Person(n) for n in range(4)]
HUB, OTHER = Identity.from_seed(bytes([90]) * 32), Identity.from_seed(bytes([91]) * 32)


def entry(identity: Identity = HUB, name: str = "hub", **changes: Any) -> MeetingBroker:
    plain = {
        "name": name,
        "url": f"mqtts://{name}.example:8883",
        "public_key": encode_base64(identity.public_key),
        "exchange_key": encode_base64(identity.exchange_key),
    }
    return MeetingBroker.model_validate({**plain, **changes})


def charter(**changes: Any) -> Charter:
    return founding(PEOPLE, **changes).charter


PLAIN, MET = charter(), charter(meeting=(entry(),))


def test_a_charter_without_meeting_brokers_is_written_as_it_always_was() -> None:
    assert b"meeting" not in PLAIN.canonical
    assert PLAIN.community_id != MET.community_id


def test_adding_altering_and_taking_off_a_meeting_broker_need_the_quorum_and_the_waiting_time() -> None:
    for before, after in ((PLAIN, (entry(),)), (MET, (entry(url="mqtts://elsewhere:8883"),)), (MET, None)):
        change = successor(before, meeting=after)
        assert not only_takes_away(change, before)
        late = [person.vote(change, FOUNDED_MS + WEEK_MS + 1) for person in PEOPLE]
        assert not tally(change, before, late).accepted
        early = [person.vote(change, FOUNDED_MS + WEEK_MS) for person in PEOPLE]
        assert not tally(change, before, early[:2]).accepted
        assert tally(change, before, early[:3]).accepted


def test_taking_a_member_off_still_waits_for_nothing_while_the_brokers_stay() -> None:
    same = successor(MET, remove=PEOPLE[:1], meeting=MET.meeting)
    assert only_takes_away(same, MET)
    assert not only_takes_away(successor(MET, remove=PEOPLE[:1], meeting=None), MET)


def test_who_has_no_broker_of_its_own_needs_a_place_to_meet() -> None:
    silent = tuple(sorted((person.member(broker=None) for person in PEOPLE), key=lambda member: member.id))
    with pytest.raises(ValidationError, match="has no broker that others reach: add meeting brokers"):
        charter(members=silent)
    assert charter(members=silent, meeting=(entry(),)).homes == silent


@pytest.mark.parametrize(
    ("brokers", "words"),
    [
        ((entry(), entry(OTHER, "other", url="mqtts://hub.example:8883")), "share one url"),
        ((entry(), entry(HUB, "other")), "share one public_key"),
        ((entry(), entry(OTHER, "hub", url="mqtts://other:8883")), "names look alike"),
        ((entry(name="home 1", url="mqtts://hub:8883"),), "names look alike"),
    ],
)
def test_two_brokers_that_are_one_or_look_like_a_member_are_refused(
    brokers: tuple[MeetingBroker, ...], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        charter(meeting=brokers)


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "mqtt://hub.example:1883"},
        {"url": "mqtts://"},
        {"public_key": encode_base64(b"\x01" + bytes(31))},
        {"exchange_key": encode_base64(bytes(31))},
        {"password": "hub"},
    ],
)
def test_an_entry_that_is_not_encrypted_or_has_a_key_nobody_can_have_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        entry(**changes)


def test_at_a_meeting_broker_each_member_writes_its_own_topics_and_reads_what_is_for_all_and_for_it() -> None:
    access = Access(meeting_users("c", {"a": "pa", "b": "pb"}))
    assert access.may_publish("a", "cw/1/c/a/pub")
    assert access.may_publish("a", "cw/1/c/a/to/b")
    assert access.may_read("b", "cw/1/c/a/pub")
    assert access.may_read("b", "cw/1/c/a/to/b")
    for topic in ("cw/1/c/a/pub", "cw/1/c/b/other", "cw/1/other/b/pub", "commonwatt/b/state", "#"):
        assert not access.may_publish("b", topic)
    for topic in ("cw/1/c/a/to/a", "cw/1/c/+/to/+", "cw/1/other/a/pub", "commonwatt/a/state", "#", "cw/1/c/#"):
        assert not access.may_read("b", topic)


def test_a_changed_charter_is_in_force_when_it_is_due_with_its_brokers() -> None:
    history = founding(PEOPLE)
    change = successor(PLAIN, meeting=(entry(),))
    voted = with_votes(history, change, [person.vote(change, FOUNDED_MS) for person in PEOPLE[:3]])
    due = change.follows.effective_ms if change.follows else 0
    assert voted.in_force(due - 1).meeting is None
    assert voted.in_force(due).meeting == (entry(),)
