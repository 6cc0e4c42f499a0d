"""Sealed messages: who is meant reads them, who carries them does not, and nobody can change or make one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.identity import Identity
from coordinator.mqtt_topics import direct_reader, direct_topic, pub_topic, speaker
from coordinator.sealing import SEALING_MAX_BYTES, Sealer

COMMUNITY = "00112233445566aa"
PEOPLE = [Identity.from_seed(bytes([n + 1]) * 32) for n in range(4)]
ANNA, BERT, CARL, EVE = PEOPLE
MEMBERS = (ANNA, BERT, CARL)
FOR_ALL = pub_topic(COMMUNITY, ANNA.id)
FOR_BERT = direct_topic(COMMUNITY, ANNA.id, BERT.id)


def sealer(me: Identity, members: tuple[Identity, ...] = MEMBERS, community: str = COMMUNITY) -> Sealer:
    return Sealer(me, community, {other.id: other.exchange_key for other in members if other is not me})


def test_what_is_for_all_is_read_by_all_and_what_is_for_one_by_that_one() -> None:
    for_all, for_one = sealer(ANNA).seal(FOR_ALL, b"a bid"), sealer(ANNA).seal(FOR_BERT, b"an offer")
    assert [sealer(each).unseal(FOR_ALL, for_all) for each in (BERT, CARL)] == [b"a bid", b"a bid"]
    assert [sealer(each).unseal(FOR_BERT, for_one) for each in (BERT, CARL)] == [b"an offer", None]


@given(st.binary(max_size=2000))
def test_a_carrier_finds_nothing_of_the_message_and_no_reader_in_what_it_carries(message: bytes) -> None:
    sealed = sealer(ANNA).seal(FOR_ALL, message)
    assert len(sealed) == 16 + 1 + 2 * 20 + len(message) + 16
    assert len(message) < 4 or message not in sealed
    assert not any(each.id.encode() in sealed or each.exchange_key in sealed for each in PEOPLE)


def test_who_is_no_member_reads_nothing_even_with_the_charter_in_hand() -> None:
    sealed = sealer(ANNA).seal(FOR_ALL, b"a bid")
    assert sealer(EVE, (*MEMBERS, EVE)).unseal(FOR_ALL, sealed) is None


def test_nobody_but_the_speaker_and_its_reader_can_make_what_the_reader_takes() -> None:
    """Not a stranger, not another member, not the sender for another topic or another community."""
    reader = sealer(BERT)
    assert reader.unseal(FOR_ALL, sealer(EVE, (*MEMBERS, EVE)).seal(FOR_ALL, b"forged")) is None
    assert reader.unseal(FOR_ALL, sealer(CARL).seal(FOR_ALL, b"forged")) is None
    assert reader.unseal(FOR_ALL, sealer(ANNA).seal(FOR_BERT, b"moved")) is None
    assert reader.unseal(FOR_ALL, sealer(ANNA, community="another").seal(FOR_ALL, b"moved")) is None
    assert reader.unseal("commonwatt/home/state", sealer(ANNA).seal(FOR_ALL, b"x")) is None


def test_no_flipped_bit_survives() -> None:
    """Of the reader's own part: what stands there for others is not its business, and no harm to it."""
    sealed, reader = sealer(ANNA).seal(FOR_BERT, b"7 kWh"), sealer(BERT)
    for at in range(8 * len(sealed)):
        changed = bytearray(sealed)
        changed[at // 8] ^= 1 << at % 8
        assert reader.unseal(FOR_BERT, bytes(changed)) is None


def test_a_message_that_was_cut_short_is_no_message_and_no_error() -> None:
    sealed, reader = sealer(ANNA).seal(FOR_BERT, b"7 kWh"), sealer(BERT)
    for length in range(len(sealed)):
        assert reader.unseal(FOR_BERT, sealed[:length]) is None


@given(st.binary(max_size=200))
def test_garbage_is_no_message_and_no_error(garbage: bytes) -> None:
    assert sealer(BERT).unseal(FOR_ALL, garbage) is None


def test_the_same_message_sealed_twice_looks_different_and_reads_the_same() -> None:
    first, second = (sealer(ANNA).seal(FOR_ALL, b"a bid") for _ in range(2))
    assert first[:16] != second[:16]
    assert first[-20:] != second[-20:]
    assert sealer(BERT).unseal(FOR_ALL, first) == sealer(BERT).unseal(FOR_ALL, second)


def test_a_full_community_costs_each_message_little_more_than_a_kilobyte() -> None:
    others = {f"{n:016d}": ANNA.exchange_key for n in range(63)}
    sealed = Sealer(BERT, COMMUNITY, others).seal(pub_topic(COMMUNITY, BERT.id), b"")
    assert len(sealed) == 16 + 1 + 63 * 20 + 16 < SEALING_MAX_BYTES


def test_an_exchange_key_that_leaves_nothing_to_chance_is_refused_and_named() -> None:
    with pytest.raises(ValueError, match=f"^{BERT.id}$"):
        Sealer(ANNA, COMMUNITY, {BERT.id: bytes(32)})


def test_a_topic_says_who_speaks_and_to_whom() -> None:
    assert (speaker(FOR_ALL), direct_reader(FOR_ALL)) == (ANNA.id, None)
    assert (speaker(FOR_BERT), direct_reader(FOR_BERT)) == (ANNA.id, BERT.id)
    assert [speaker(each) for each in ("cw/1/x", "cw/1/x/y", "a/b/c/d/e", "")] == [None] * 4
