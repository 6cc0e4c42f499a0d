"""The charter's word on masked bids, and what a member can say into a masked community."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from neighbourhood import START, Neighbourhood, make_charter
from pydantic import ValidationError
from sealed import Street

from agent.charter_words import charter_lines
from coordinator.charter import Charter, Rules
from coordinator.clock import unix_ms
from coordinator.codec import encode
from coordinator.identity import Identity, encode_base64
from coordinator.masked_trading import Privacy
from coordinator.messages import EVERYBODY, Ask, Deviation, Message, Presence, Sealed

MASKED = Rules(horizon_slots=4, masked=True)
STREET = Street(5, MASKED, salt=3)


def altered(charter: Charter, **changes: Any) -> Charter:
    return Charter.model_validate({name: getattr(charter, name) for name in Charter.model_fields} | changes)


def test_an_open_charter_is_written_as_it_always_was() -> None:
    plain = make_charter(STREET.members, Rules(masked=False))
    assert plain.rules.masked is None
    assert b"masked" not in plain.canonical
    assert b'"masked":true' in STREET.charter.canonical


def test_masked_bids_need_an_exchange_key_of_every_member() -> None:
    bare = STREET.charter.members[0].model_copy(update={"exchange_key": None})
    with pytest.raises(ValidationError, match="exchange_key of every member"):
        altered(STREET.charter, members=(bare, *STREET.charter.members[1:]))


def test_a_key_that_makes_no_secret_never_gets_into_a_charter() -> None:
    weak = STREET.charter.members[1].model_copy(update={"exchange_key": encode_base64(bytes(32))})
    with pytest.raises(ValidationError, match=f"{weak.name}.*makes no secret"):
        altered(STREET.charter, members=(STREET.charter.members[0], weak, *STREET.charter.members[2:]))


def test_a_price_rule_that_needs_every_bid_is_refused() -> None:
    with pytest.raises(ValidationError, match="price_rule sdr needs everybody's bids"):
        Rules(masked=True, price_rule="sdr")


def test_fewer_than_five_or_than_two_thirds_are_not_enough_unless_the_charter_says_so() -> None:
    assert [Street(homes, MASKED).charter.roster_min for homes in (3, 5, 6, 9, 17)] == [5, 5, 5, 7, 12]
    assert Street(9, Rules(horizon_slots=4, masked=True, masked_roster_min=9)).charter.roster_min == 9
    with pytest.raises(ValidationError, match="greater than or equal to 5"):
        Rules(masked=True, masked_roster_min=4)


def test_the_charter_says_in_words_what_masking_means_and_when_it_does_not_work_yet() -> None:
    assert any("only the sum is known" in line for line in charter_lines(STREET.charter))
    assert not any("no bid is masked yet" in line for line in charter_lines(STREET.charter))
    few = make_charter(STREET.members[:3], MASKED)
    assert "with 3 homes no bid is masked yet" in charter_lines(few)


# What a member can say

Say = Callable[[type[Message], str], bytes]


def said(street: Neighbourhood, sender: Identity, kind: type[Message], to: str = EVERYBODY, **body: Any) -> bytes:
    """Return a properly signed message."""
    now = street.now
    header = {
        "community": street.charter.terms,
        "sender": sender.id,
        "to": to,
        "inc": 1,
        "seq": 5,
        "sent_ms": unix_ms(now),
        "expires_ms": unix_ms(now + timedelta(minutes=1)),
    }
    return encode(kind.model_validate({**header, **body}), sender).wire


@pytest.fixture
def street(tmp_path: Path) -> Neighbourhood:
    return Neighbourhood(tmp_path, homes=5, rules=MASKED, seed=4)


def seal(street: Neighbourhood, sender: Identity, to: str, wire: bytes) -> bytes:
    privacy = Privacy.of(street.charter, sender, 1)
    assert privacy is not None
    body = privacy.seals.seal(wire, to)
    return said(street, sender, Sealed, to, body=body)


def test_a_sealed_message_counts_as_the_one_inside(street: Neighbourhood) -> None:
    anna, bert = street.identities[:2]
    wire = seal(street, anna, bert.id, said(street, anna, Presence, bert.id))
    verified = street.desks[bert.id].receive(wire, street.now)
    assert verified is not None
    assert isinstance(verified.message, Presence)


def test_nobody_can_seal_anothers_word_or_a_seal_in_a_seal_or_garbage(street: Neighbourhood) -> None:
    anna, bert, carl = street.identities[:3]
    desk = street.desks[bert.id]
    stolen = seal(street, anna, bert.id, said(street, carl, Presence, bert.id))
    nested = seal(street, anna, bert.id, seal(street, anna, bert.id, said(street, anna, Presence, bert.id)))
    garbage = said(street, anna, Sealed, bert.id, body="AAAA")
    for wire in (stolen, nested, garbage, seal(street, anna, bert.id, b"no message\nat all")):
        assert desk.receive(wire, street.now) is None
    assert desk.refused["seals what is not its own word"] == 2
    assert desk.refused["seal does not fit"] == 1


def test_a_deviation_in_the_open_is_refused(street: Neighbourhood) -> None:
    anna, bert = street.identities[:2]
    wire = said(street, anna, Deviation, slot=unix_ms(START) // 1000, power_w=1, give_w=0, take_w=0)
    assert street.desks[bert.id].receive(wire, street.now) is None


def test_who_does_not_negotiate_answers_a_question_with_nothing_in_time(street: Neighbourhood) -> None:
    anna, bert = street.identities[:2]
    slot = unix_ms(START) // 1000 + MASKED.slot_s
    street.run(START + timedelta(seconds=MASKED.slot_s - MASKED.offers_s))
    street.stop(bert.id)
    street.start(bert)
    question = said(street, anna, Ask, bert.id, slot=slot, price_micro=180_000)
    street.desks[bert.id].receive(seal(street, anna, bert.id, question), street.now)
    before = len(street.sent)
    street.desks[bert.id].tick(street.now)
    answers = [(to, wire) for who, to, wire in street.sent[before:] if who == bert.id and b'"kind":"sealed"' in wire]
    assert [to for to, _ in answers] == [anna.id]
