"""Homes that say different things to different homes are found, proved to all and left alone; honest ones never."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from neighbourhood import START, Neighbourhood
from sealed import SLOT, Street
from test_recall import restored

from coordinator.charter import Follows
from coordinator.codec import MAX_BYTES, Verifier, encode
from coordinator.desk import Desk
from coordinator.effects import Whisper
from coordinator.identity import Identity
from coordinator.ledger import own
from coordinator.ledger_store import LedgerStore
from coordinator.messages import ADAPTER, Bid, Fraud, Heads, Position, Ready, Residual
from coordinator.witness import Witness

Twist = Callable[[dict[str, Any]], dict[str, Any]]

LIES: dict[str, Twist] = {
    "bid": lambda said: {**said, "energy_wh": [wh + 1 for wh in said["energy_wh"]]},
    "ready": lambda said: {**said, "prices": [price + 1 for price in said["prices"]]},
    "position": lambda said: {**said, "root": "0f" * 16},
    "residual": lambda said: {**said, "energy_wh": said["energy_wh"] + 1},
}


def twisted(identity: Identity, wire: bytes, twist: Twist) -> bytes:
    """Return what this home would say instead, well signed."""
    said = twist(json.loads(wire.partition(b"\n")[0]))
    return encode(ADAPTER.validate_json(json.dumps(said)), identity).wire


def lie_to(street: Neighbourhood, liar: Identity, victim: str, kind: str, twist: Twist) -> None:
    """From now on the liar tells one home something else."""

    def tamper(sender: str, to: str, wire: bytes) -> bytes:
        hit = sender == liar.id and to == victim and f'"kind":"{kind}"'.encode() in wire[:40]
        return twisted(liar, wire, twist) if hit else wire

    street.tamper = tamper


def proved(street: Neighbourhood) -> dict[str, set[str]]:
    """Return by home against whom it holds a proof."""
    return {home: {accused for accused, _ in desk.witness.proofs} for home, desk in street.desks.items()}


@pytest.mark.parametrize("kind", ["bid", "position", "residual"])
def test_who_tells_one_home_something_else_than_the_others_is_proved_to_all(tmp_path: Path, kind: str) -> None:
    street = Neighbourhood(tmp_path, homes=4, seed=2)
    liar, victim = street.identities[0], street.identities[1].id
    lie_to(street, liar, victim, kind, LIES[kind])
    street.run_slots(3)
    assert all(accused == {liar.id} for accused in proved(street).values())


def test_nobody_trades_with_a_proved_liar_until_its_owner_says_so_and_a_restart_forgets_nothing(tmp_path: Path) -> None:
    street = Neighbourhood(tmp_path, homes=3, seed=2)
    liar, victim, third = street.identities
    lie_to(street, liar, victim.id, "bid", LIES["bid"])
    street.run_slots(2)
    lie_to(street, liar, victim.id, "bid", lambda said: said)
    since = street.now + timedelta(minutes=15)
    street.stop(victim.id)
    street.start(victim)
    street.run_slots(4)

    def partners(home: str) -> set[str]:
        contracts = [c for c in street.desks[home].trader.book.contracts() if c.slot >= since.timestamp()]
        return {c.seller if c.buyer == home else c.buyer for c in contracts}

    assert liar.id not in partners(victim.id) | partners(third.id)
    assert street.desks[victim.id].refused["signed two contents for one key: no trade with it"] > 0
    street.stop(victim.id)
    assert not street_desk(street, victim, forgiven={liar.id}).witness.shunned
    assert street_desk(street, victim).witness.shunned == {liar.id}


def street_desk(street: Neighbourhood, identity: Identity, **more: Any) -> Desk:
    """Return the desk of a home that starts again, with other options."""
    with LedgerStore(street.folder / f"{identity.id}.db", identity.id) as store:
        return Desk(
            charter=street.charter,
            identity=identity,
            store=store,
            household=street.homes[identity.id],
            send=lambda to, wire, firm: None,
            now=street.now,
            **more,
        )


def test_a_home_that_missed_the_proof_gets_it_from_whoever_sees_its_heads(tmp_path: Path) -> None:
    street = Neighbourhood(tmp_path, homes=4, seed=2)
    liar, victim, late = (identity.id for identity in street.identities[:3])
    lie_to(street, street.identities[0], victim, "ready", LIES["ready"])
    truthful = street.tamper

    def lose(sender: str, to: str, wire: bytes) -> bytes | None:
        unheard = to == late and any(kind in wire[:40] for kind in (b'"fraud"', b'"hearsay"'))
        return None if unheard else truthful(sender, to, wire)

    street.tamper = lose
    street.run_slots(2)
    assert proved(street)[victim] == {liar}
    assert not proved(street)[late]
    street.tamper = lambda sender, to, wire: wire
    street.run_slots(1)
    assert proved(street)[late] == {liar}


def test_a_restored_ledger_makes_nobody_a_liar(tmp_path: Path) -> None:
    street, victim = restored(tmp_path)
    street.start(victim)
    street.run_slots(3)
    assert not any(proved(street).values())


STREET = Street(30)


def witness(me: str) -> Witness:
    return Witness(
        charter=STREET.charter,
        me=me,
        verifier=STREET.verifier(me),
        secret=lambda what: "0d" * 16,
        memory=timedelta(hours=48),
    )


def test_the_heads_of_thirty_homes_with_thirty_rounds_fit_into_a_message_and_find_one_different_bid() -> None:
    homes = STREET.ids
    mine, others = witness(homes[0]), witness(homes[1])
    for home in homes[2:]:
        said = [STREET.seal(Ready, home, slot=SLOT.key, prices=(1,))]
        said.append(STREET.seal(Position, home, slot=SLOT.key, root="0f" * 16, sold_wh=0, bought_wh=0))
        said.append(STREET.seal(Residual, home, slot=SLOT.key, energy_wh=5, price_micro=1))
        for each in said:
            assert mine.hear(each, START) == others.hear(each, START) == []
        for number in range(1, 31):
            bid = {"slot": SLOT.key, "round": number, "price_hash": "0a" * 16}
            other_wh = 2 if (home, number) == (homes[9], 17) else 1
            mine.hear(STREET.seal(Bid, home, **bid, energy_wh=(1,)), START)
            others.hear(STREET.seal(Bid, home, **bid, energy_wh=(other_wh,)), START)
    (heads,) = mine.tick(SLOT.start_at)
    assert isinstance(heads, Whisper)
    wire = STREET.seal(Heads, homes[0], **heads.body)
    assert len(wire.wire) < MAX_BYTES
    assert len(heads.body["seen"]) == 28
    (hearsay,) = others.hear(wire, START)
    assert isinstance(hearsay, Whisper)
    (accusation,) = mine.hear(STREET.seal(hearsay.kind, homes[1], homes[0], **hearsay.body), START)
    assert accusation.kind is Fraud  # type: ignore[union-attr]
    assert accusation.body["accused"] == homes[9]  # type: ignore[union-attr]


def test_a_change_of_the_charter_ends_what_follows_from_an_older_proof() -> None:
    liar, other = STREET.ids[:2]
    here = witness(other)
    here.hear(STREET.seal(Ready, liar, slot=SLOT.key, prices=(1,)), START)
    (accusation,) = here.hear(STREET.seal(Ready, liar, slot=SLOT.key, prices=(2,)), START)
    told = own(STREET.seal(Fraud, other, **accusation.body), START)  # type: ignore[union-attr]
    here.replay([told])
    assert here.shunned == {liar}
    follows = Follows(community=STREET.charter.community_id, epoch=1, prev=STREET.charter.hash, effective_ms=1)
    changed = STREET.charter.model_copy(update={"follows": follows}).lived((), (STREET.charter,))
    later = Witness(
        charter=changed,
        me=other,
        verifier=Verifier(changed, other),
        secret=lambda what: "0d" * 16,
        memory=timedelta(hours=48),
    )
    later.replay([told])
    assert [found.accused for found in later.proofs.values()] == [liar]
    assert not later.shunned
    assert not later.current()
    moved = witness(other)
    moved._all_terms = {"0" * 16}
    moved.replay([told])  # the ledger of a home that went over to another community
    assert not moved.proofs


def test_a_flood_of_words_of_one_sender_fills_no_memory_and_hides_nobody_else() -> None:
    here = witness(STREET.ids[0])
    flooder, other = STREET.ids[1:3]
    for number in range(1, 400):
        bid = {"slot": SLOT.key, "round": number, "price_hash": "0a" * 16, "energy_wh": (10**6,) * 60}
        here.hear(STREET.seal(Bid, flooder, **bid), START)
        far = {"slot": SLOT.key + 900 * (10 + number), "round": 1, "price_hash": "0a" * 16, "energy_wh": (1,)}
        here.hear(STREET.seal(Bid, flooder, **far), START)
    kept = [each for heard in here._heard.values() for each in heard.words.values()]
    assert sum(len(each.wire) for each in kept) < 70_000
    here.hear(STREET.seal(Ready, other, slot=SLOT.key, prices=(1,)), START)
    assert here.hear(STREET.seal(Ready, other, slot=SLOT.key, prices=(2,)), START)
