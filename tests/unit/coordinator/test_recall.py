"""A ledger restored from a backup makes no honest home a liar, and what its neighbours hold comes back."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from neighbourhood import START, Neighbourhood
from sealed import RULES, SLOT, Street

from coordinator.codec import Verified
from coordinator.contract_book import ContractBook
from coordinator.contracts import Status
from coordinator.effects import Again, Note, Recite
from coordinator.errors import RemoteProtocolError
from coordinator.identity import Identity
from coordinator.ledger import Mark, local, own, peer
from coordinator.ledger_store import LedgerStore
from coordinator.messages import ADAPTER, Leaf, Lost, Position, PositionRequest, Recall, Recital
from coordinator.recall import PARTS_MAX, REBORN_AFTER_SLOTS, Recalls, parts_of, reborn_mark

AWAY = timedelta(seconds=REBORN_AFTER_SLOTS * RULES.slot_s + 60)
MEMORY = timedelta(hours=48)


def test_a_ledger_that_was_silent_for_two_slots_is_another_life_and_a_younger_one_is_not() -> None:
    newest_ms = int(START.timestamp() * 1000)
    assert reborn_mark(newest_ms, START + timedelta(minutes=29), RULES, MEMORY) is None
    mark = reborn_mark(newest_ms, START + AWAY, RULES, MEMORY)
    assert mark is not None
    assert mark.data["since"] <= START.timestamp() - RULES.slot_s
    assert mark.slot + RULES.slot_s > (START + AWAY).timestamp()


def test_a_new_life_has_a_new_incarnation_that_is_durable_with_its_mark(tmp_path: Path) -> None:
    owner = Identity.from_seed(bytes(32)).id
    mark = Mark(kind="reborn", slot=SLOT.key, data={"since": SLOT.key})
    with LedgerStore(tmp_path / "a.db", owner) as store:
        before = store.incarnation
        store.renew(local(mark, START))
        after = store.incarnation
    with LedgerStore(tmp_path / "a.db", owner) as store:
        assert before != after == store.incarnation
        assert store.marks("reborn") == [mark]


def test_a_backup_from_before_the_first_row_begins_another_life(tmp_path: Path) -> None:
    street = Neighbourhood(tmp_path, homes=2)
    home = street.identities[0]
    with LedgerStore(tmp_path / "empty.db", home.id) as store:
        before = store.incarnation
    street.stop(home.id)
    shutil.copy(tmp_path / "empty.db", tmp_path / f"{home.id}.db")
    street.start(home)
    street.run_on(5)
    street.stop(home.id)
    with LedgerStore(tmp_path / f"{home.id}.db", home.id) as store:
        assert store.incarnation != before
        assert [mark.kind for mark in store.marks("born")] == ["born"]


def test_a_clock_that_once_showed_a_far_year_does_not_end_a_home_s_trading(tmp_path: Path) -> None:
    street = Neighbourhood(tmp_path, homes=2)
    home = street.identities[0]
    street.stop(home.id)
    with LedgerStore(tmp_path / f"{home.id}.db", home.id) as store:
        far = Mark(kind="ready", slot=SLOT.key + 50 * 365 * 86_400, data={})
        store.append([local(far, START)])
    street.start(home)
    street.run_slots(1)
    assert street.homes[home.id].results


def restored(tmp_path: Path, victim_number: int = 0) -> tuple[Neighbourhood, Identity]:
    """A street in which one home's ledger comes back from a backup made two slots of trade earlier."""
    street = Neighbourhood(tmp_path, homes=4, seed=2)
    victim = street.identities[victim_number]
    street.run_slots(2)
    street.stop(victim.id)
    shutil.copy(tmp_path / f"{victim.id}.db", tmp_path / "backup")
    street.start(victim)
    street.run_slots(3)
    street.stop(victim.id)
    shutil.copy(tmp_path / "backup", tmp_path / f"{victim.id}.db")
    street.run(street.now + AWAY)
    return street, victim


@pytest.mark.parametrize("number", [0, 1])
def test_what_a_restored_ledger_lost_comes_back_from_the_neighbours(tmp_path: Path, number: int) -> None:
    street, victim = restored(tmp_path, number)
    others = [d for home, d in street.desks.items() if home != victim.id]
    counted = {
        c.id
        for desk in others
        for c in desk.trader.book.contracts()
        if c.status is Status.COUNTED and victim.id in (c.buyer, c.seller)
    }
    street.start(victim)
    book = street.desks[victim.id].trader.book
    assert not counted <= {c.id for c in book.contracts()}
    street.run_on(40)
    assert book.reborn is not None
    assert not book.reborn.unheard
    old = [c for c in book.contracts() if c.slot <= book.reborn.until]
    assert counted == {c.id for c in old if c.status is Status.COUNTED}
    result = street.audit()
    assert (result.ledger_mismatches, result.wh_sold_twice) == (0, 0)


def test_a_restored_home_trades_again_and_signs_no_two_contents_in_one_life(tmp_path: Path) -> None:
    street, victim = restored(tmp_path)
    street.start(victim)
    lives: set[int] = set()
    said: dict[tuple[object, ...], bytes] = {}
    street.run_slots(4)
    for sender, _, wire in street.sent:
        message = ADAPTER.validate_json(wire.partition(b"\n")[0])
        if sender == victim.id and message.kind == "position":
            lives.add(message.inc)
            assert said.setdefault((message.inc, message.slot, message.trade), wire) == wire
    assert len(lives) == 2
    fence = street.desks[victim.id].trader.book.reborn
    assert fence is not None
    assert any(c.slot > fence.until for c in street.desks[victim.id].trader.book.contracts())


def test_a_buyer_whose_ledger_lost_its_position_releases_the_seller_that_waits(tmp_path: Path) -> None:
    """Its position and leaves never arrived anywhere: nobody can know what was in them."""
    street = Neighbourhood(tmp_path, homes=2, seed=5)
    street.homes[street.identities[0].id].seed, street.homes[street.identities[1].id].seed = 0, 1
    for identity in street.identities:
        shutil.copy(tmp_path / f"{identity.id}.db", tmp_path / f"{identity.id}.empty")
    street.tamper = lambda sender, to, wire: None if b'"kind":"position"' in wire[:40] else wire
    street.run_slots(6)
    waiting = [c for d in street.desks.values() for c in d.trader.book.contracts() if c.status is Status.ACCEPTED]
    assert waiting
    buyer = next(i for i in street.identities if i.id == waiting[0].buyer)
    mine = [c for c in waiting if c.buyer == buyer.id]
    with LedgerStore(tmp_path / "old.db", buyer.id) as store:
        store.append([local(Mark(kind="old", slot=0, data={}), START)])
    street.stop(buyer.id)
    shutil.copy(tmp_path / "old.db", tmp_path / f"{buyer.id}.db")
    street.tamper = lambda sender, to, wire: wire
    street.run(street.now + AWAY)
    street.start(buyer)
    street.run_on(120)
    seller = street.desks[mine[0].seller].trader.book
    assert {c.status for c in seller.contracts() if c.id in {m.id for m in mine}} == {Status.VOID}
    result = street.audit()
    assert result.ledger_mismatches == 0


def test_a_recital_holds_what_the_two_said_to_each_other_and_nothing_else() -> None:
    street = Street(3)
    me, peer, third = street.ids
    from coordinator.messages import Lapse, Meter, Presence

    about = {"slot": SLOT.key, "contract_id": "0a" * 16, "offer_hash": "0b" * 16}
    wanted = [street.seal(Lapse, me, peer, **about), street.seal(Lapse, peer, me, **about)]
    others: list[Verified[object]] = [
        street.seal(Lapse, me, third, **about),
        street.seal(Lapse, third, me, **about),
        street.seal(Meter, peer, me, slot=SLOT.key, import_wh=1, export_wh=0),
        street.seal(Presence, peer),
    ]
    parts = parts_of([v.wire for v in [*wanted, *others]], peer)
    assert parts == [tuple(v.wire.decode() for v in wanted)]
    assert parts_of([], peer) == [()]
    many = parts_of([wanted[0].wire] * 60, peer)
    assert len(many) > 1
    assert sum(map(len, many)) == 60


def test_a_recital_that_nobody_asked_for_changes_nothing_and_an_endless_one_is_refused(tmp_path: Path) -> None:
    street, victim = restored(tmp_path)
    teller = street.identities[1]
    street.start(victim)
    desk = street.desks[victim.id]
    life = desk.trader.book.incarnation
    body = {"slot": SLOT.key, "asker_inc": life, "part": 1, "parts": PARTS_MAX + 1, "undecided": 0, "wires": ()}
    sealed = Street(1).header(teller.id, victim.id, street.now) | {"community": street.charter.terms}
    from coordinator.codec import encode

    recital = encode(Recital.model_validate({**sealed, **body}), teller)
    other = street.desks[street.identities[2].id]
    before = other.trader.book.contracts()
    unasked = encode(Recital.model_validate({**sealed, **body, "to": street.identities[2].id}), teller)
    assert other.receive(unasked.wire, street.now) is not None
    assert other.trader.book.contracts() == before
    assert desk.receive(recital.wire, street.now) is None
    assert desk.refused["recites more than there can be"] == 1
    with pytest.raises(RemoteProtocolError):
        desk._recalls.whole(recital.message)


def a_restored_book(street: Street) -> ContractBook:
    me, *others = street.ids
    book = ContractBook(me=me, rules=RULES, incarnation=8, peers=others)
    reborn = Mark(kind="reborn", slot=SLOT.key, data={"since": SLOT.key - 4 * RULES.slot_s})
    book.replay([local(reborn, START)])
    return book


def test_who_answers_a_neighbour_that_is_unheard_takes_nothing_more_from_its_earlier_lives() -> None:
    """Else it could learn, late, what it has just told the neighbour's new life not to know."""
    street = Street(2)
    me, neighbour = street.ids
    book = a_restored_book(street)
    recalls = Recalls(me=me, terms={street.charter.terms}, rules=RULES, book=book, memory=MEMORY)
    parts = {"slot": SLOT.key, "asker_inc": 8, "undecided": 0, "wires": ("of the earlier life",)}
    earlier = [street.seal(Recital, neighbour, me, inc=1, part=n, parts=2, **parts).message for n in (1, 2)]
    assert recalls.whole(earlier[0]) == []  # its second part is late
    asked = street.seal(Recall, neighbour, inc=2, slot=SLOT.key, until=SLOT.key).message
    note, answer = recalls.asked(asked, START)
    assert isinstance(note, Note)
    assert isinstance(answer, Recite)
    book.replay([local(note.mark, START)])
    assert recalls.whole(earlier[1]) == []
    assert recalls.heard(earlier[1]) == []
    now = {"slot": SLOT.key, "asker_inc": 8, "undecided": 0, "wires": ("of this life",)}
    before = {**now, "asker_inc": 7}  # an answer to what this home asked before it was restored again
    assert recalls.whole(street.seal(Recital, neighbour, me, inc=2, part=1, parts=1, **before).message) == []
    assert recalls.whole(street.seal(Recital, neighbour, me, inc=2, part=1, parts=1, **now).message) == ["of this life"]
    again = recalls.asked(asked, START + MEMORY / 24)
    assert [type(effect) for effect in again] == [Recite]


def test_of_two_own_leaves_the_one_that_came_back_is_said_again() -> None:
    """A buyer that was restored closed its gate anew before its seller told it what it had said: one of them holds."""
    street = Street(2)
    me, seller = street.ids
    about = {"slot": SLOT.key, "trade": "slot"}
    proof = {"contract_ids": (), "salt": "0a" * 16, "proof": (), **about}
    totals = {"root": "0b" * 16, "sold_wh": 0, "bought_wh": 0, **about}
    lives = {
        inc: (street.seal(Position, me, inc=inc, **totals), street.seal(Leaf, me, seller, inc=inc, **proof))
        for inc in (7, 8)
    }
    book = a_restored_book(street)
    book.replay([own(each, START) for each in lives[8]])
    assert book.overtaken() == set()
    book.replay([peer(each, START) for each in lives[7]])
    assert book.overtaken() == {lives[8][1].wire}
    asks = street.seal(PositionRequest, seller, me, **about)
    said = book.receive(asks, START)
    assert [effect.wire for effect in said if isinstance(effect, Again)] == [each.wire for each in lives[7]]


def test_a_word_that_a_leaf_is_lost_is_not_said_again_when_the_leaf_came_back() -> None:
    street = Street(2)
    me, seller = street.ids
    about = {"slot": SLOT.key, "trade": "slot"}
    lost = street.seal(Lost, me, seller, inc=8, **about)
    leaf = street.seal(Leaf, me, seller, inc=7, contract_ids=(), salt="0a" * 16, proof=(), **about)
    book = a_restored_book(street)
    book.replay([own(lost, START), peer(leaf, START)])
    assert book.overtaken() == {lost.wire}
