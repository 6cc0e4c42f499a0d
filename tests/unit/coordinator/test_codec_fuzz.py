"""A short run of `make fuzz-envelopes`, and the verifier's checks after a change of the charter."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from charter_people import FOUNDED_MS, WEEK_MS, Person, founding, successor, with_votes

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from fuzz_envelopes import KINDS, fuzz

from coordinator.charter import Charter, Rules
from coordinator.clock import unix_ms
from coordinator.codec import NEW_BUSINESS, Verifier, encode
from coordinator.errors import RemoteProtocolError
from coordinator.messages import Message, PositionRequest, Presence

PEOPLE = [Person(n) for n in range(4)]
START = founding(PEOPLE)
AT_MS = FOUNDED_MS + WEEK_MS
OUT = successor(START.charter, remove=PEOPLE[:1], effective_ms=AT_MS)
AFTER = with_votes(START, OUT, [person.vote(OUT, AT_MS) for person in PEOPLE[1:]]).in_force(AT_MS)
NOW_MS = AT_MS + 1000


@pytest.mark.timeout(300)
def test_ten_thousand_broken_messages_raise_nothing_but_the_promised_error() -> None:
    count = fuzz(9_000, seed=20_261_122)
    count.add(fuzz(1_000, seed=20_261_123, real=True))
    assert count.unexpected == {}
    assert count.cases == 10_000 == count.accepted + count.refused.total()
    assert count.accepted > 500
    assert len(count.refused) >= 8, "all checks were reached"


def said(kind: type[Message], person: Person, charter: Charter, **body: Any) -> bytes:
    header = {"community": charter.terms, "sender": person.id, "to": "*", "inc": 1, "seq": 1}
    times = {"sent_ms": NOW_MS, "expires_ms": NOW_MS + 60_000}
    message: Any = kind.model_validate({**header, **times, **body})
    return encode(message, person.own).wire


def heard(wire: bytes, charter: Charter) -> str:
    now = datetime.fromtimestamp(NOW_MS / 1000, UTC)
    assert unix_ms(now) == NOW_MS
    try:
        return str(Verifier(charter, PEOPLE[3].id).verify(wire, now).message.kind)
    except RemoteProtocolError as error:
        return error.reason


def test_after_a_change_homes_of_the_charter_before_are_told_apart() -> None:
    assert heard(said(Presence, PEOPLE[1], AFTER), AFTER) == "presence"
    assert heard(said(Presence, PEOPLE[1], START.charter), AFTER) == "goes by an earlier charter"
    assert heard(said(Presence, PEOPLE[1], AFTER), START.charter) == "belongs to another community"


def test_statements_on_what_was_agreed_before_a_change_still_count() -> None:
    slot = {"slot": NOW_MS // 1000}
    assert heard(said(PositionRequest, PEOPLE[1], START.charter, **slot), AFTER) == "position_request"
    assert set(KINDS) >= NEW_BUSINESS


def test_who_was_taken_off_is_heard_no_more_but_its_old_words_are_read() -> None:
    wire = said(PositionRequest, PEOPLE[0], START.charter, slot=NOW_MS // 1000)
    assert heard(wire, START.charter) == "position_request"
    assert heard(wire, AFTER) == "is not a member"
    assert Verifier(AFTER, PEOPLE[3].id).reopen(wire).message.sender == PEOPLE[0].id


def test_a_suspended_key_is_heard_no_more() -> None:
    gone = START.charter.lived([PEOPLE[1].id])
    assert heard(said(Presence, PEOPLE[1], START.charter), gone) == "is not a member"
    assert heard(said(Presence, PEOPLE[2], START.charter), gone) == "presence"


def test_rules_of_the_old_charter_do_not_reach_the_new_one() -> None:
    other = successor(START.charter, rules=Rules(gate_s=60))
    assert other.terms not in {START.charter.terms, OUT.terms}
