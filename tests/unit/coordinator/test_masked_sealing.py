"""Sealed messages of masked communities: read by the one they are for, from the one who sent them, in few sizes."""

import pytest
from sealed import Street

from coordinator.charter import Rules
from coordinator.errors import LocalProtocolError, RemoteProtocolError
from coordinator.identity import decode_base64
from coordinator.masked_sealing import SIZES, PairSeals
from coordinator.masked_trading import Privacy

STREET = Street(3, Rules(horizon_slots=4, masked=True), salt=5)
ANNA, BERT, CARL = STREET.ids


def seals(home: str) -> PairSeals:
    privacy = Privacy.of(STREET.charter, STREET.identity(home), 1)
    assert privacy is not None
    return privacy.seals


def test_the_receiver_reads_what_the_sender_sealed() -> None:
    wire = b'{"any":"line"}\nsignature'
    assert seals(BERT).open(seals(ANNA).seal(wire, BERT), ANNA) == wire


@pytest.mark.parametrize(("reader", "sender"), [(CARL, ANNA), (BERT, CARL), (BERT, "stranger"), (ANNA, BERT)])
def test_nobody_else_does_and_from_nobody_else(reader: str, sender: str) -> None:
    body = seals(ANNA).seal(b"line\nsignature", BERT)
    with pytest.raises(RemoteProtocolError, match="seal does not fit"):
        seals(reader).open(body, sender)


def test_a_changed_bit_or_a_cut_body_does_not_open() -> None:
    body = seals(ANNA).seal(b"line\nsignature", BERT)
    for broken in (body[:-12], body[:400] + ("A" if body[400] != "A" else "B") + body[401:], "AAAA", ""):
        with pytest.raises(RemoteProtocolError):
            seals(BERT).open(broken, ANNA)


def test_equal_words_are_never_sealed_alike_and_sizes_tell_only_the_class() -> None:
    assert seals(ANNA).seal(b"x\ny", BERT) != seals(ANNA).seal(b"x\ny", BERT)
    lengths = {len(decode_base64(seals(ANNA).seal(b"x" * n, BERT))) for n in range(1, SIZES[0], 25)}
    assert len(lengths) == 1


def test_a_message_larger_than_the_largest_class_is_our_own_mistake() -> None:
    with pytest.raises(LocalProtocolError, match="too large"):
        seals(ANNA).seal(b"x" * SIZES[-1], BERT)


def test_where_the_charter_does_not_mask_there_is_nothing_to_share() -> None:
    plain = Street(3, Rules(horizon_slots=4), salt=5)
    assert Privacy.of(plain.charter, plain.identity(plain.ids[0]), 1) is None
