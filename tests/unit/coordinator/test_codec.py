"""Signed lines: one way to write each, nothing unsigned behind the verifier, one error for whatever is wrong."""

import json
import random
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from neighbourhood import START
from sealed import HOUR, SLOT, Street

from coordinator.codec import MAX_AHEAD_MS, MAX_BYTES, Verified, Verifier, digest, encode, message_id
from coordinator.errors import LocalProtocolError, RemoteProtocolError
from coordinator.identity import Identity, encode_base64
from coordinator.ledger import own, peer
from coordinator.ledger_store import LedgerStore
from coordinator.messages import (
    ADAPTER,
    Abandon,
    Accept,
    Ask,
    Bid,
    Deviation,
    DeviationShare,
    Dispute,
    Fraud,
    Heads,
    Hearsay,
    Lapse,
    Leaf,
    Lost,
    Meter,
    Offer,
    Position,
    PositionRequest,
    Presence,
    PriceRequest,
    Prices,
    Quote,
    Ready,
    Recall,
    Recital,
    Reject,
    Residual,
    Roster,
    Sealed,
    Seen,
    Settle,
    Settled,
    Share,
    Told,
)

STREET = Street(3)
ANNA, BERT, CARL = STREET.ids
VERIFIER = STREET.verifier(BERT)
HASH, VECTOR = "0f" * 16, (1, -2, 3, 4)
BODIES: list[tuple[Any, dict[str, Any]]] = [
    (Presence, {}),
    (Ready, {"slot": SLOT.key, "prices": VECTOR}),
    (Bid, {"slot": SLOT.key, "round": 1, "price_hash": HASH, "energy_wh": VECTOR}),
    (PriceRequest, {"slot": SLOT.key, "round": 1, "price_hash": HASH}),
    (Prices, {"slot": SLOT.key, "round": 1, "prices": VECTOR, "rho_micro": 120}),
    (Offer, {"contract_id": HASH, "slot": SLOT.key, "seller": BERT, "energy_wh": 5, "price_micro": 180_000}),
    (Accept, {"slot": SLOT.key, "contract_id": HASH, "offer_hash": HASH}),
    (Reject, {"slot": SLOT.key, "contract_id": HASH, "offer_hash": HASH, "reason": "sold out"}),
    (Lapse, {"slot": SLOT.key, "contract_id": HASH, "offer_hash": HASH}),
    (Position, {"slot": SLOT.key, "root": HASH, "sold_wh": 0, "bought_wh": 5}),
    (Leaf, {"slot": SLOT.key, "contract_ids": (HASH,), "salt": HASH, "proof": ("l" + HASH, "r" + HASH)}),
    (PositionRequest, {"slot": SLOT.key}),
    (Meter, {"slot": SLOT.key, "import_wh": 1, "export_wh": 0}),
    (Residual, {"slot": SLOT.key, "energy_wh": -5, "price_micro": -80_000}),
    (Recall, {"slot": SLOT.key, "until": SLOT.key}),
    (
        Recital,
        {"slot": SLOT.key, "asker_inc": 7, "part": 1, "parts": 2, "undecided": 0, "wires": ("a line", "another")},
    ),
    (Lost, {"slot": SLOT.key}),
    (Deviation, {"slot": SLOT.key, "power_w": -120, "give_w": 0, "take_w": 3000}),
    (
        Heads,
        {
            "slot": SLOT.key,
            "salt": HASH,
            "seen": (Seen(slot=SLOT.key, home=CARL, said="0f0f----"),),
            "proven": (CARL,),
        },
    ),
    (Hearsay, {"slot": SLOT.key, "wires": ("a line",)}),
    (Fraud, {"slot": SLOT.key, "accused": CARL, "first": "a line", "second": "another"}),
    (Settle, {"slot": SLOT.key, "number": 1, "prev": HASH, "contract_ids": (HASH,), "balance_nano": -(10**20)}),
    (Settled, {"slot": SLOT.key, "statement": "a line"}),
    (Told, {"slot": SLOT.key, "number": 3, "newest": "0a" * 16, "whole": 2, "wires": ("a line",)}),
    (
        Dispute,
        {"slot": SLOT.key, "number": 1, "statement_hash": HASH, "reason": "another sum", "contract_ids": (HASH,)},
    ),
    (Roster, {"slot": SLOT.key, "roster": HASH, "price_hash": HASH, "warm": True, "balances": False}),
    (Share, {"slot": SLOT.key, "round": 1, "question": HASH, "numbers": "AAAAAAAAAAE="}),
    (Abandon, {"slot": SLOT.key, "prices": (180_000,)}),
    (DeviationShare, {"slot": SLOT.key, "roster": HASH, "tick": 3, "numbers": "AAAAAAAAAAE="}),
    (Ask, {"slot": SLOT.key, "price_micro": 180_000}),
    (Quote, {"slot": SLOT.key, "energy_wh": 0, "price_micro": -5}),
    (Sealed, {"body": "AAAAAAAAAAE="}),
]
OFFER = STREET.seal(Offer, ANNA, BERT, **BODIES[5][1])
LINE = OFFER.wire.partition(b"\n")[0]


def signed(line: bytes, home: str = ANNA) -> bytes:
    return line + b"\n" + encode_base64(STREET.identity(home).sign(line)).encode()


def altered(**changes: Any) -> bytes:
    """Return the offer with other values, properly signed."""
    return signed(json.dumps({**json.loads(LINE), **changes}, separators=(",", ":")).encode())


def refused(wire: bytes, now: datetime = START, verifier: Verifier = VERIFIER) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        verifier.verify(wire, now)
    return caught.value.reason


@pytest.mark.parametrize(("kind", "body"), BODIES, ids=lambda value: getattr(value, "__name__", ""))
def test_every_kind_arrives_as_it_was_sent(kind: Any, body: dict[str, Any]) -> None:
    sent = STREET.seal(kind, ANNA, BERT, **body)
    got = VERIFIER.verify(sent.wire, START)
    assert type(got.message) is kind
    assert got.message == sent.message
    assert got.wire == sent.wire


def test_every_kind_of_message_is_tested_here() -> None:
    assert {kind.model_fields["kind"].default for kind, _ in BODIES} == set(
        ADAPTER.json_schema()["discriminator"]["mapping"]
    )


@pytest.mark.parametrize(
    "line",
    [
        LINE.replace(b'"energy_wh":5', b'"energy_wh":5.0'),
        LINE.replace(b'"energy_wh":5', b'"energy_wh":5e0'),
        LINE.replace(b'"energy_wh":5', b'"energy_wh":"5"'),
        LINE.replace(b'"energy_wh":5', b'"energy_wh":true'),
        LINE.replace(b'"energy_wh":5', b'"energy_wh":NaN'),
        LINE.replace(b'"energy_wh":5', b'"energy_wh":Infinity'),
        LINE.replace(b'"energy_wh":5', b'"energy_wh":05'),
        LINE.replace(b'"energy_wh":5', b'"energy_wh":-5'),
        LINE.replace(b'"energy_wh":5', b'"energy_wh":10000001'),
        LINE.replace(b'"energy_wh":5', b'"energy_wh":5,"energy_wh":6'),
        LINE.replace(b'"energy_wh":5', b'"energy_wh":6,"energy_wh":5'),
        LINE.replace(b'"energy_wh":5', b'"energy_wh": 5'),
        LINE.replace(b'"energy_wh":5,"price_micro":180000', b'"price_micro":180000,"energy_wh":5'),
        LINE.replace(b'"energy_wh":5,', b""),
        LINE.replace(b'"trade":"slot"', b'"trade":"slot","note":1'),
        LINE.replace(b',"trade":"slot"', b""),
        LINE.replace(b'"trade":"slot"', b'"trade":"s\\u006cot"'),
        LINE.replace(b'"trade":"slot"', b'"trade":"gift"'),
        LINE.replace(b'"kind":"offer"', b'"kind":"order"'),
        LINE.replace(HASH.encode(), HASH.upper().encode()),
        LINE.replace(b'"seq":1', b'"seq":9007199254740993'),
        LINE + b" ",
        LINE + b"{}",
        LINE[:-1],
    ],
)
def test_what_another_parser_could_read_otherwise_is_refused_though_signed(line: bytes) -> None:
    assert line != LINE
    assert refused(signed(line)) in {"not written in the one canonical way", "not a message of this protocol"}


def test_a_second_sender_in_the_line_does_not_speak_for_another_home() -> None:
    line = LINE[:-1] + b',"sender":"' + CARL.encode() + b'"}'
    assert refused(signed(line)) == "not written in the one canonical way"


def test_deep_nesting_is_refused_not_followed() -> None:
    deep = LINE.replace(b'"energy_wh":5', b'"energy_wh":' + b"[" * 6000 + b"]" * 6000)
    assert refused(signed(deep)) == "not a message of this protocol"


def test_who_signed_is_the_sender_and_nobody_else() -> None:
    assert refused(signed(LINE, home=CARL)) == "signature does not fit"
    for signature in (b"", b"!!!", encode_base64(b"short").encode(), OFFER.wire.partition(b"\n")[2] + b"\n"):
        assert refused(LINE + b"\n" + signature) in {"signature is not base64", "signature does not fit"}


def test_a_stranger_and_another_community_are_not_heard() -> None:
    other, stranger = Street(3, salt=9), Identity.from_seed(b"s" * 32)
    assert refused(other.seal(Presence, other.ids[0]).wire) == "belongs to another community"
    presence: Any = Presence.model_validate(STREET.header(stranger.id))
    assert refused(encode(presence, stranger).wire) == "is not a member"


def test_what_is_for_somebody_else_is_not_read() -> None:
    wire = STREET.seal(PositionRequest, ANNA, CARL, slot=SLOT.key).wire
    assert refused(wire) == "was meant for somebody else"
    assert STREET.verifier(CARL).verify(wire, START).message.sender == ANNA


def test_a_message_lives_from_its_date_to_its_expiry() -> None:
    wire = OFFER.wire
    last, ahead = START + HOUR, timedelta(milliseconds=MAX_AHEAD_MS)
    assert VERIFIER.verify(wire, last - timedelta(milliseconds=1)).wire == wire
    assert refused(wire, last) == "offer has expired"
    assert VERIFIER.verify(wire, START - ahead).wire == wire
    assert "from the future" in refused(wire, START - ahead - timedelta(milliseconds=1))


def test_times_beyond_the_calendar_never_reach_the_code_behind() -> None:
    for field in ("sent_ms", "expires_ms"):
        assert refused(altered(**{field: 2**53})) == "not a message of this protocol"
    assert refused(altered(slot=2**40)) == "not a message of this protocol"
    latest = VERIFIER.verify(altered(slot=2**37, expires_ms=2**47), START).message
    assert datetime.fromtimestamp(latest.slot, START.tzinfo) > START
    assert datetime.fromtimestamp(latest.expires_ms / 1000, START.tzinfo) > START


def test_what_is_too_large_is_neither_read_nor_sent() -> None:
    assert "over the limit" in refused(LINE + b"\n" + b"A" * MAX_BYTES)
    big: Any = Leaf.model_validate({**STREET.header(ANNA, BERT), **BODIES[10][1]})
    fat = big.model_copy(update={"contract_ids": tuple([HASH] * 500)})
    with pytest.raises(LocalProtocolError, match="over the limit"):
        encode(fat, STREET.identity(ANNA))


def test_the_largest_bid_of_a_day_of_five_minutes_fits() -> None:
    vector = (-(10**7),) * 288
    wire = STREET.seal(Bid, ANNA, **{**BODIES[2][1], "energy_wh": vector}).wire
    assert VERIFIER.verify(wire, START).message.energy_wh == vector


def test_the_rate_is_asked_before_the_dear_signature_for_each_link_apart() -> None:
    asked: list[tuple[str, str]] = []
    verifier = STREET.verifier(BERT, lambda source, now: bool(asked.append(source)))
    for link in ("", "carl"):
        with pytest.raises(RemoteProtocolError, match="sends too much"):
            verifier.verify(LINE + b"\nno signature", START, link)
    assert asked == [(ANNA, ""), (ANNA, "carl")]


def test_a_home_signs_only_for_itself() -> None:
    with pytest.raises(LocalProtocolError, match="cannot sign for"):
        encode(OFFER.message, STREET.identity(BERT))


def test_nobody_but_the_verifier_makes_verified_messages() -> None:
    for token in (None, object(), "token"):
        with pytest.raises(LocalProtocolError):
            Verified(OFFER.message, OFFER.wire, token)
    with pytest.raises(LocalProtocolError):
        Verified.narrow(OFFER, Leaf)
    assert Verified.narrow(OFFER, Offer) is OFFER


@pytest.mark.parametrize("seed", range(4))
def test_five_thousand_mutations_raise_only_the_protocols_error(seed: int) -> None:
    r = random.Random(seed)
    wires = [STREET.seal(kind, ANNA, BERT, **body).wire for kind, body in BODIES]
    tokens = [
        b'"',
        b"{",
        b"}",
        b"[",
        b"]",
        b"\n",
        b",",
        b":",
        b"\\",
        b"\x00",
        b"\xff",
        b"-",
        b"9" * 30,
        b"\\ud800",
        b"",
    ]
    reasons = set()
    for _ in range(5000):
        wire = bytearray(r.choice(wires))
        for _ in range(r.randint(1, 3)):
            at, until = r.randrange(len(wire)), r.randrange(1, 12)
            wire[at : at + r.randrange(until)] = r.choice([*tokens, r.randbytes(r.randint(0, 6))])
        mutated = bytes(wire)
        if r.random() < 0.5:  # signed by a member, so that the parser is reached
            mutated = signed(mutated.partition(b"\n")[0])
        try:
            got = VERIFIER.verify(mutated, START)
        except RemoteProtocolError as error:
            reasons.add(error.reason)
        else:
            assert got.message.model_dump_json().encode() == mutated.partition(b"\n")[0]
    assert len(reasons) >= 4, "the mutations reach several of the checks"


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_any_bytes_raise_only_the_protocols_error(wire: bytes) -> None:
    for candidate in (wire, LINE + wire, LINE + b"\n" + wire, LINE[:120] + wire):
        if candidate != OFFER.wire:
            refused(candidate)


def test_the_id_is_that_of_the_signed_line() -> None:
    assert message_id(OFFER.wire) == digest(LINE) == message_id(LINE + b"\nother signature")
    assert len({message_id(signed(LINE.replace(b'"seq":1', b'"seq":%d' % n))) for n in range(1, 50)}) == 49


def test_what_the_ledger_gives_back_is_verified_again(tmp_path: Any) -> None:
    mine = STREET.seal(Accept, BERT, ANNA, **BODIES[6][1])
    with LedgerStore(tmp_path / "ledger.db", BERT) as store:
        store.append([peer(OFFER, START), own(mine, START)])
        got = [entry.content for entry in store.entries(VERIFIER)]
        assert [(type(g), g.message, g.wire) for g in got if isinstance(g, Verified)] == [
            (Verified, OFFER.message, OFFER.wire),
            (Verified, mine.message, mine.wire),
        ]
        changed = OFFER.wire.replace(b'"energy_wh":5', b'"energy_wh":6')
        store._db.execute("UPDATE rows SET wire = ? WHERE number = 1", (changed,))
        with pytest.raises(RemoteProtocolError, match="signature does not fit"):
            list(store.entries(VERIFIER))


def test_replay_takes_what_has_expired_and_refuses_what_is_no_message() -> None:
    old = STREET.seal(Presence, ANNA, now=START - 10 * HOUR, life=HOUR).wire
    assert refused(old) == "presence has expired"
    assert VERIFIER.reopen(old).message.sender == ANNA
    stranger = Identity.from_seed(b"s" * 32)
    presence: Any = Presence.model_validate(STREET.header(stranger.id))
    for wire in (b"", b"{}", LINE, encode(presence, stranger).wire):
        with pytest.raises(RemoteProtocolError):
            VERIFIER.reopen(wire)
