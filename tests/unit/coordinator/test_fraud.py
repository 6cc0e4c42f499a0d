"""Two messages prove to anybody with the charter that somebody signed two contents for one key; nothing else does."""

from typing import Any

import pytest
from sealed import SLOT, Street

from coordinator.codec import Verified, encode
from coordinator.errors import RemoteProtocolError
from coordinator.fraud import WORDS, check, contradiction, proof
from coordinator.identity import Identity
from coordinator.merkle import leaf_hash, root_and_proofs
from coordinator.messages import (
    Accept,
    Bid,
    Deviation,
    Fraud,
    Lapse,
    Leaf,
    Meter,
    Offer,
    Position,
    Ready,
    Reject,
    Residual,
    Settle,
)

STREET = Street(3)
LIAR, OTHER, THIRD = STREET.ids
ID, HASH, SALT = "0a" * 16, "0b" * 16, "0c" * 16
BOUGHT: dict[str, Any] = {
    "contract_id": ID,
    "slot": SLOT.key,
    "seller": OTHER,
    "energy_wh": 100,
    "price_micro": 180_000,
}
STATED: dict[str, Any] = {"slot": SLOT.key, "number": 1, "prev": HASH, "contract_ids": (ID,), "balance_nano": 5}


def said(kind: type, sender: str = LIAR, to: str = "*", **body: Any) -> Verified[Any]:
    return STREET.seal(kind, sender, to, **{"slot": SLOT.key, **body})


PAIRS = {
    "offer": (said(Offer, to=OTHER, **BOUGHT), said(Offer, to=OTHER, **BOUGHT | {"energy_wh": 90})),
    "answer": (
        said(Accept, to=OTHER, contract_id=ID, offer_hash=HASH),
        said(Reject, to=OTHER, contract_id=ID, offer_hash=HASH, reason="sold out"),
    ),
    "lapse": (
        said(Lapse, to=OTHER, contract_id=ID, offer_hash=HASH),
        said(Lapse, to=OTHER, contract_id=ID, offer_hash=SALT),
    ),
    "position": (
        said(Position, root=HASH, sold_wh=0, bought_wh=0),
        said(Position, root=SALT, sold_wh=0, bought_wh=0),
    ),
    "leaf": (
        said(Leaf, to=OTHER, contract_ids=(ID,), salt=SALT, proof=()),
        said(Leaf, to=OTHER, contract_ids=(), salt=SALT, proof=()),
    ),
    "unproved": (
        said(Position, root=HASH, sold_wh=0, bought_wh=0),
        said(Leaf, to=OTHER, contract_ids=(ID,), salt=SALT, proof=()),
    ),
    "ready": (said(Ready, prices=(1,)), said(Ready, prices=(2,))),
    "bid": (
        said(Bid, round=3, price_hash=HASH, energy_wh=(1,)),
        said(Bid, round=3, price_hash=HASH, energy_wh=(2,)),
    ),
    "residual": (said(Residual, energy_wh=5, price_micro=1), said(Residual, energy_wh=6, price_micro=1)),
    "settle": (said(Settle, to=OTHER, **STATED), said(Settle, to=OTHER, **STATED | {"balance_nano": 6})),
}


def fraud_of(first: bytes, second: bytes, accused: str = LIAR) -> Fraud:
    made: Fraud = said(Fraud, sender=OTHER, accused=accused, first=first.decode(), second=second.decode()).message
    return made


def test_the_table_names_all_that_can_be_proved() -> None:
    assert PAIRS.keys() == WORDS.keys()


@pytest.mark.parametrize("what", sorted(WORDS))
def test_two_contents_for_one_key_are_proved_to_a_third_home_by_the_wires_and_the_charter_alone(what: str) -> None:
    found = proof(*PAIRS[what])
    assert found is not None
    assert (found.accused, found.what) == (LIAR, what)
    assert check(fraud_of(*found.wires), STREET.verifier(THIRD), {STREET.charter.terms}) == found
    assert proof(*reversed(PAIRS[what])) == found


@pytest.mark.parametrize("what", sorted(WORDS))
def test_neither_the_same_words_again_nor_another_life_or_key_or_home_proves_anything(what: str) -> None:
    first, second = PAIRS[what]
    assert contradiction(first, first) is None
    again = first.message.model_copy(update={"seq": 99, "sent_ms": first.message.sent_ms + 5})
    assert contradiction(first, encode(again, STREET.identity(LIAR))) is None
    other_life = second.message.model_copy(update={"inc": 8})
    assert contradiction(first, encode(other_life, STREET.identity(LIAR))) is None
    of_another = second.message.model_copy(update={"sender": OTHER})
    assert contradiction(first, encode(of_another, STREET.identity(OTHER))) is None
    changed = {"contract_id": SALT} if "contract_id" in type(second.message).model_fields else {"slot": 0, "number": 2}
    fields = type(second.message).model_fields
    elsewhere = second.message.model_copy(update={k: v for k, v in changed.items() if k in fields})
    assert contradiction(first, encode(elsewhere, STREET.identity(LIAR))) is None


def test_a_position_and_the_leaf_it_contains_are_no_contradiction() -> None:
    leaf = said(Leaf, to=OTHER, contract_ids=(ID,), salt=SALT, proof=())
    root, (path,) = root_and_proofs([leaf_hash(OTHER, (ID,), SALT)])
    assert path == ()
    position = said(Position, root=root, sold_wh=0, bought_wh=100)
    assert contradiction(position, leaf) is None
    assert contradiction(said(Position, root=root, sold_wh=0, bought_wh=0, trade="residual"), leaf) is None


def test_what_an_honest_home_may_say_otherwise_later_proves_nothing() -> None:
    numbers = {"power_w": 1, "give_w": 0, "take_w": 0}
    pairs = [
        (said(Meter, to=OTHER, import_wh=1, export_wh=0), said(Meter, to=OTHER, import_wh=2, export_wh=0)),
        (said(Deviation, **numbers), said(Deviation, **numbers | {"power_w": 2})),
    ]
    assert [contradiction(*pair) for pair in pairs] == [None, None]


def test_an_accusation_without_a_proof_is_refused() -> None:
    first, second = (each.wire for each in PAIRS["bid"])
    verifier, terms = STREET.verifier(THIRD), {STREET.charter.terms}
    twice, of_another = fraud_of(first, first), fraud_of(first, second, accused=THIRD)
    for accusation in (twice, of_another):
        with pytest.raises(RemoteProtocolError, match="without a proof"):
            check(accusation, verifier, terms)
    forged = second[:-8] + b"AAAAAA=="
    with pytest.raises(RemoteProtocolError, match="signature"):
        check(fraud_of(first, forged), verifier, terms)
    with pytest.raises(RemoteProtocolError, match="another community"):
        check(fraud_of(first, second), verifier, {"0" * 16})
    stranger = Identity.from_seed(b"stranger".ljust(32))
    words = PAIRS["bid"][1].message.model_copy(update={"sender": stranger.id})
    with pytest.raises(RemoteProtocolError, match="not a member"):
        check(fraud_of(first, encode(words, stranger).wire), verifier, terms)
