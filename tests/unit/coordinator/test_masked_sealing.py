"""Sealed messages: read by the one they are for, from the one who sent them, and by nobody else."""

import pytest
from sealed import Street

from coordinator.charter import Rules
from coordinator.errors import LocalProtocolError, RemoteProtocolError
from coordinator.identity import decode_base64
from coordinator.masked_trading import Privacy
from coordinator.masked_sealing import SIZES, Seals, envelope_of

STREET = Street(3, Rules(horizon_slots=4, masked=True), salt=5)
ANNA, BERT, CARL = STREET.ids


def seals(home: str) -> Seals:
    privacy = Privacy.of(STREET.charter, STREET.identity(home), 1)
    assert privacy is not None
    return privacy.seals


def test_the_receiver_reads_what_the_sender_sealed() -> None:
    wire = b'{"any":"line"}\nsignature'
    envelope = envelope_of(ANNA, BERT, 1, 7)
    assert seals(BERT).open(seals(ANNA).seal(wire, BERT, envelope), ANNA, envelope) == wire


@pytest.mark.parametrize(
    ("reader", "sender", "envelope"),
    [
        (CARL, ANNA, envelope_of(ANNA, BERT, 1, 7)),
        (BERT, CARL, envelope_of(ANNA, BERT, 1, 7)),
        (BERT, ANNA, envelope_of(ANNA, BERT, 1, 8)),
        (BERT, ANNA, envelope_of(ANNA, BERT, 2, 7)),
        (BERT, "stranger", envelope_of(ANNA, BERT, 1, 7)),
    ],
)
def test_nobody_else_and_in_no_other_envelope(reader: str, sender: str, envelope: str) -> None:
    body = seals(ANNA).seal(b"line\nsignature", BERT, envelope_of(ANNA, BERT, 1, 7))
    with pytest.raises(RemoteProtocolError, match="seal does not fit"):
        seals(reader).open(body, sender, envelope)


def test_a_changed_bit_or_a_cut_body_does_not_open() -> None:
    envelope = envelope_of(ANNA, BERT, 1, 7)
    body = seals(ANNA).seal(b"line\nsignature", BERT, envelope)
    for broken in ("B" + body[1:], body[:-8], "AAAA", ""):
        if broken != body:
            with pytest.raises(RemoteProtocolError):
                seals(BERT).open(broken, ANNA, envelope)


def test_what_is_said_back_has_another_key() -> None:
    envelope = envelope_of(ANNA, BERT, 1, 7)
    assert seals(ANNA).seal(b"x\ny", BERT, envelope) != seals(BERT).seal(b"x\ny", ANNA, envelope)


def test_sizes_tell_only_the_class() -> None:
    lengths = {len(decode_base64(seals(ANNA).seal(b"x" * n, BERT, "e"))) for n in range(1, SIZES[0], 25)}
    assert lengths == {SIZES[0] + 16}


def test_a_message_larger_than_the_largest_class_is_our_own_mistake() -> None:
    with pytest.raises(LocalProtocolError, match="too large"):
        seals(ANNA).seal(b"x" * SIZES[-1], BERT, "e")


def test_where_the_charter_does_not_mask_there_is_nothing_to_share() -> None:
    plain = Street(3, Rules(horizon_slots=4), salt=5)
    assert Privacy.of(plain.charter, plain.identity(plain.ids[0]), 1) is None
