"""Every transition of a contract, one by one, on both sides."""

from datetime import timedelta
from typing import Any

import pytest
from neighbourhood import START
from pair import Party, Wires
from sealed import RULES, SESSION, SLOT, Street

from coordinator.contract_book import CONTRACTS_MAX, LIVES_MAX
from coordinator.contracts import contract_id
from coordinator.errors import LocalProtocolError, RemoteProtocolError
from coordinator.messages import (
    ADAPTER,
    Accept,
    Lapse,
    Leaf,
    Meter,
    Offer,
    Position,
    PositionRequest,
    Reject,
)
from coordinator.sessions import Session

STREET = Street(3)
BUYER, SELLER, THIRD = STREET.ids
EXPIRY_AT = SLOT.start_at - timedelta(seconds=RULES.expiry_s)
GATE_AT = SLOT.start_at - timedelta(seconds=RULES.gate_s)
RETRY = timedelta(seconds=RULES.round_timeout_s)


def parties(sell_wh: int | None = 1000, floor_micro: int = 100_000) -> tuple[Party, Party]:
    buyer, seller = Party(STREET, BUYER), Party(STREET, SELLER)
    if sell_wh is not None:
        seller.mandate(sell_wh, floor_micro)
    return buyer, seller


def kinds(wires: Wires) -> list[str]:
    return [message(wire).kind for _, wire in wires]


def message(wire: bytes) -> Any:
    return ADAPTER.validate_json(wire.partition(b"\n")[0])


def bound(energy_wh: int = 100) -> tuple[Party, Party]:
    buyer, seller = parties()
    ((to, accept),) = seller.receive(buyer.offer(SELLER, energy_wh), START)
    assert to == BUYER
    assert buyer.receive(accept, START) == []
    return buyer, seller


def offer_of(buyer: str, number: int = 0, inc: int = 7, **changes: Any) -> Any:
    body = {
        "inc": inc,
        "contract_id": contract_id(buyer, inc, SESSION, SELLER, number),
        "slot": SLOT.key,
        "seller": SELLER,
        "energy_wh": 100,
        "price_micro": 180_000,
    }
    return STREET.seal(Offer, buyer, SELLER, **{**body, **changes})


# Offer and answer


def test_offer_and_accept_bind_both() -> None:
    buyer, seller = bound()
    assert (buyer.statuses, seller.statuses) == (["bound"], ["accepted"])
    assert (buyer.book.net_wh(SESSION), seller.book.net_wh(SESSION)) == (100, -100)
    assert buyer.book.partners(SESSION) == {SELLER}


def test_an_offer_alone_is_no_energy_to_plan_with() -> None:
    buyer, _ = parties()
    buyer.offer(SELLER)
    assert buyer.statuses == ["offered"]
    assert buyer.book.net_wh(SESSION) == 0


@pytest.mark.parametrize(
    ("energy_wh", "price_micro", "reason"),
    [(1001, 180_000, "sold out"), (100, 99_999, "price too low"), (1000, 100_000, None)],
)
def test_a_seller_says_yes_within_its_mandate_and_no_outside(
    energy_wh: int, price_micro: int, reason: str | None
) -> None:
    buyer, seller = parties()
    ((_, answer),) = seller.receive(buyer.offer(SELLER, energy_wh, price_micro), START)
    assert getattr(message(answer), "reason", None) == reason
    buyer.receive(answer, START)
    assert buyer.statuses == (["rejected"] if reason else ["bound"])
    assert seller.statuses == (["rejected"] if reason else ["accepted"])


def test_the_same_wh_is_not_promised_twice() -> None:
    buyer, seller = parties(sell_wh=150)
    other = Party(STREET, THIRD)
    assert kinds(seller.receive(buyer.offer(SELLER, 100), START)) == ["accept"]
    assert kinds(seller.receive(other.offer(SELLER, 51), START)) == ["reject"]
    assert kinds(seller.receive(other.offer(SELLER, 50), START)) == ["accept"]


def test_an_offer_that_comes_before_the_seller_decided_is_answered_when_it_comes_again() -> None:
    buyer, seller = parties(sell_wh=None)
    wire = buyer.offer(SELLER)
    assert (seller.receive(wire, START), seller.entries) == ([], [])
    seller.mandate(100)
    assert kinds(seller.receive(wire, START)) == ["accept"]


def test_an_answer_is_final_and_repeated_byte_for_byte() -> None:
    buyer, seller = parties(sell_wh=100)
    wire = buyer.offer(SELLER)
    first = seller.receive(wire, START)
    kept = len(seller.entries)
    assert seller.receive(wire, START + RETRY) == first
    seller.restart()
    assert seller.receive(wire, START + 2 * RETRY) == first
    assert len(seller.entries) == kept


def test_a_second_content_for_one_contract_gets_no_answer() -> None:
    _, seller = parties()
    seller.receive(offer_of(BUYER).wire, START)
    assert seller.receive(offer_of(BUYER, energy_wh=200).wire, START) == []
    assert [c.energy_wh for c in seller.contracts.values()] == [100]


def test_nobody_can_take_another_homes_contract_id() -> None:
    """Otherwise a third home that guesses the id makes the seller deaf to the buyer's real offer."""
    buyer, seller = parties()
    stolen = contract_id(BUYER, 7, SESSION, SELLER, 0)
    for contract in (stolen, "0f" * 16, contract_id(THIRD, 7, SESSION, SELLER, CONTRACTS_MAX)):
        forged = offer_of(THIRD, contract_id=contract)
        with pytest.raises(RemoteProtocolError, match="not the sender's own"):
            seller.book.receive(forged, START)
    assert kinds(seller.receive(buyer.offer(SELLER), START)) == ["accept"]


def test_a_buyer_s_offers_in_one_session_are_limited_whatever_incarnation_it_claims() -> None:
    """Each offer costs its seller two rows; and more than a leaf can carry ended the seller's loop."""
    _, seller = parties()
    for inc in range(CONTRACTS_MAX):
        assert kinds(seller.receive(offer_of(BUYER, inc=inc, energy_wh=1).wire, START)) == ["accept"]
    more = offer_of(BUYER, inc=CONTRACTS_MAX, energy_wh=1)
    with pytest.raises(RemoteProtocolError, match="too many offers"):
        seller.book.receive(more, START)
    assert kinds(seller.receive(offer_of(THIRD).wire, START)) == ["accept"]
    assert kinds(seller.close_gate(GATE_AT)) == ["position", "leaf", "leaf"]


def test_offers_for_another_seller_or_an_unknown_slot_promise_nothing() -> None:
    _, seller = parties()
    other_slot = SLOT.key + RULES.slot_s
    for verified in (
        offer_of(BUYER, seller=THIRD),
        offer_of(BUYER, slot=other_slot, contract_id=contract_id(BUYER, 7, Session(other_slot), SELLER, 0)),
        offer_of(BUYER, slot=2**37, contract_id=contract_id(BUYER, 7, Session(2**37), SELLER, 0)),
    ):
        assert seller.book.receive(verified, START) == []


def test_after_its_gate_a_seller_promises_nothing_whether_or_not_it_was_closed() -> None:
    _, seller = parties()
    verified = offer_of(BUYER)
    assert seller.book.receive(verified, GATE_AT) == []
    seller.close_gate(GATE_AT)
    assert seller.book.receive(verified, START) == []
    assert seller.contracts == {}


def test_only_the_seller_can_answer_and_only_this_offer() -> None:
    buyer, seller = parties()
    wire = buyer.offer(SELLER)
    ((_, accept),) = seller.receive(wire, START)
    said = message(accept)
    body = {"slot": SLOT.key, "contract_id": said.contract_id, "offer_hash": said.offer_hash}
    for forged in (
        STREET.seal(Accept, THIRD, BUYER, **body),
        STREET.seal(Accept, SELLER, BUYER, **{**body, "offer_hash": "0f" * 16}),
        STREET.seal(Accept, SELLER, BUYER, **{**body, "contract_id": "0f" * 16}),
        STREET.seal(Reject, THIRD, BUYER, **body, reason="no"),
    ):
        assert buyer.receive(forged.wire, START) == []
    assert buyer.statuses == ["offered"]
    buyer.receive(accept, START)
    buyer.receive(STREET.seal(Reject, SELLER, BUYER, **body, reason="changed my mind").wire, START)
    assert buyer.statuses == ["bound"]


def test_a_rejected_offer_stays_rejected() -> None:
    buyer, seller = parties(sell_wh=10)
    ((_, reject),) = seller.receive(buyer.offer(SELLER), START)
    buyer.receive(reject, START)
    said = message(reject)
    late = STREET.seal(Accept, SELLER, BUYER, slot=SLOT.key, contract_id=said.contract_id, offer_hash=said.offer_hash)
    assert buyer.receive(late.wire, START) == []
    buyer.close_gate(GATE_AT)
    assert buyer.statuses == ["rejected"]


def test_a_home_does_not_offer_to_itself_or_after_its_gate() -> None:
    buyer, _ = parties()
    with pytest.raises(LocalProtocolError):
        buyer.offer(BUYER)
    buyer.close_gate(GATE_AT)
    with pytest.raises(LocalProtocolError):
        buyer.offer(SELLER)


def test_ids_differ_by_number_seller_slot_and_incarnation() -> None:
    buyer, _ = parties()
    made = [message(buyer.offer(SELLER)).contract_id, message(buyer.offer(SELLER)).contract_id]
    made.append(message(buyer.offer(THIRD)).contract_id)
    reborn = Party(STREET, BUYER)
    reborn.incarnation = 8
    reborn.restart()
    made.append(message(reborn.offer(SELLER)).contract_id)
    assert len(set(made)) == 4


# Lapse


def test_an_offer_is_repeated_until_it_expires_then_lapses() -> None:
    buyer, _ = parties()
    wire = buyer.offer(SELLER)
    assert buyer.book.next_deadline() == START + RETRY
    assert buyer.tick(START + RETRY - timedelta(seconds=1)) == []
    assert buyer.tick(START + RETRY) == [(SELLER, wire)]
    assert buyer.tick(START + RETRY) == []
    assert kinds(buyer.tick(EXPIRY_AT)) == ["lapse"]
    assert buyer.statuses == ["lapsed"]
    assert buyer.book.next_deadline() is None


def test_expiry_is_a_deadline_even_right_after_a_retry() -> None:
    buyer, _ = parties()
    buyer.offer(SELLER, now=EXPIRY_AT - timedelta(seconds=1))
    assert buyer.book.next_deadline() == EXPIRY_AT


def test_a_lapse_before_the_gate_frees_the_seller() -> None:
    buyer, seller = parties(sell_wh=100)
    seller.receive(buyer.offer(SELLER), START)
    ((to, lapse),) = buyer.tick(EXPIRY_AT)
    assert to == SELLER
    seller.receive(lapse, EXPIRY_AT)
    assert seller.statuses == ["freed"]
    assert seller.book.net_wh(SESSION) == 0
    assert kinds(seller.receive(offer_of(THIRD, seller=SELLER, energy_wh=100).wire, START)) == ["accept"]


def test_a_late_accept_of_a_lapsed_offer_is_void_and_answered_with_the_same_lapse() -> None:
    buyer, seller = parties()
    ((_, accept),) = seller.receive(buyer.offer(SELLER), START)
    lapse = buyer.tick(EXPIRY_AT)
    kept = len(buyer.entries)
    assert buyer.receive(accept, EXPIRY_AT) == lapse
    assert (buyer.statuses, len(buyer.entries)) == (["lapsed"], kept)


def test_an_accept_after_the_gate_is_void_and_answered_with_a_lapse_once_signed() -> None:
    buyer, seller = parties()
    ((_, accept),) = seller.receive(buyer.offer(SELLER), START)
    buyer.close_gate(GATE_AT)
    assert buyer.statuses == ["void"]
    first = buyer.receive(accept, GATE_AT)
    assert kinds(first) == ["lapse"]
    assert buyer.receive(accept, GATE_AT) == first
    assert buyer.statuses == ["void"]


def test_only_the_buyer_can_let_its_offer_lapse() -> None:
    buyer, seller = parties()
    ((_, accept),) = seller.receive(buyer.offer(SELLER), START)
    said = message(accept)
    body = {"slot": SLOT.key, "contract_id": said.contract_id, "offer_hash": said.offer_hash}
    seller.receive(STREET.seal(Lapse, THIRD, SELLER, **body).wire, START)
    assert seller.statuses == ["accepted"]


# The gate


def delivered(wires: Wires, to: Party) -> list[bytes]:
    return [wire for receiver, wire in wires if receiver in ("*", to.home)]


def test_what_the_buyers_position_contains_counts_on_both_sides() -> None:
    buyer, seller = bound()
    assert kinds(seller.close_gate(GATE_AT)) == ["position", "leaf"]
    assert seller.statuses == ["accepted"]
    assert not seller.book.resolved(SESSION)
    for wire in delivered(buyer.close_gate(GATE_AT), seller):
        seller.receive(wire, GATE_AT)
    assert (buyer.statuses, seller.statuses) == (["counted"], ["counted"])
    assert buyer.book.resolved(SESSION)
    assert seller.book.resolved(SESSION)


def test_position_and_leaf_may_come_in_either_order() -> None:
    buyer, seller = bound()
    for wire in reversed(delivered(buyer.close_gate(GATE_AT), seller)):
        seller.receive(wire, GATE_AT)
    assert seller.statuses == ["counted"]


def test_what_the_buyers_position_lacks_is_void_for_the_seller() -> None:
    buyer, seller = parties()
    seller.receive(buyer.offer(SELLER), START)  # its accept is lost
    for wire in delivered(buyer.close_gate(GATE_AT), seller):
        seller.receive(wire, GATE_AT)
    assert (buyer.statuses, seller.statuses) == (["void"], ["void"])


def test_a_seller_whose_accept_and_lapse_were_lost_learns_it_from_the_position() -> None:
    buyer, seller = parties()
    seller.receive(buyer.offer(SELLER), START)
    assert kinds(buyer.tick(EXPIRY_AT)) == ["lapse"]  # lost as well
    seller.close_gate(GATE_AT)
    for wire in delivered(buyer.close_gate(GATE_AT), seller):
        seller.receive(wire, GATE_AT)
    assert (buyer.statuses, seller.statuses) == (["lapsed"], ["void"])


def test_after_the_gate_a_lapse_decides_nothing_any_more() -> None:
    buyer, seller = parties()
    seller.receive(buyer.offer(SELLER), START)
    ((_, lapse),) = buyer.tick(EXPIRY_AT)
    seller.close_gate(GATE_AT)
    assert seller.receive(lapse, GATE_AT) == []
    assert seller.statuses == ["accepted"]


def test_a_seller_without_word_asks_for_the_position_until_it_comes() -> None:
    buyer, seller = bound()
    buyer.close_gate(GATE_AT)
    seller.close_gate(GATE_AT)
    assert seller.tick(GATE_AT) == []
    for n in (1, 2):
        ((to, request),) = seller.tick(GATE_AT + n * RETRY)
        assert (to, message(request).kind) == (BUYER, "position_request")
    answers = buyer.receive(request, GATE_AT + 2 * RETRY)
    assert kinds(answers) == ["position", "leaf"]
    for _, wire in answers:
        seller.receive(wire, GATE_AT + 2 * RETRY)
    assert seller.statuses == ["counted"]
    assert seller.book.next_deadline() is None


def test_a_buyer_that_never_tells_its_position_is_asked_ever_less_often() -> None:
    _, seller = bound()
    seller.close_gate(GATE_AT)
    asked, at = 0, seller.book.next_deadline()
    while at is not None and at < GATE_AT + timedelta(days=1):
        asked += len(seller.tick(at))
        at = seller.book.next_deadline()
    assert 24 <= asked <= 60
    assert at is not None
    assert at - GATE_AT < timedelta(days=1, hours=1)


def test_a_position_of_another_incarnation_may_decide_too_but_not_any_number_of_them() -> None:
    """A buyer whose ledger was restored says its position anew; the leaf must fit the one of its own life."""
    buyer, seller = bound()
    for inc in range(100, 100 + LIVES_MAX + 2):
        other = STREET.seal(Position, BUYER, inc=inc, slot=SLOT.key, root="0f" * 16, sold_wh=0, bought_wh=0)
        seller.receive(other.wire, START)
    assert sum(entry.kind == "position" for entry in seller.entries) == LIVES_MAX
    buyer, seller = bound()
    older = STREET.seal(Position, BUYER, inc=100, slot=SLOT.key, root="0f" * 16, sold_wh=0, bought_wh=0)
    seller.receive(older.wire, START)
    for wire in delivered(buyer.close_gate(GATE_AT), seller):
        seller.receive(wire, GATE_AT)
    assert seller.statuses == ["counted"]


def test_a_leaf_that_is_not_in_the_position_decides_nothing() -> None:
    buyer, seller = bound()
    seller.close_gate(GATE_AT)
    position, leaf = delivered(buyer.close_gate(GATE_AT), seller)
    seller.receive(position, GATE_AT)
    honest = message(leaf)
    for change in ({"contract_ids": ()}, {"salt": "0f" * 16}, {"proof": ("l" + "0f" * 16,)}):
        body = {"slot": SLOT.key, "contract_ids": honest.contract_ids, "salt": honest.salt, "proof": honest.proof}
        seller.receive(STREET.seal(Leaf, BUYER, SELLER, now=GATE_AT, **{**body, **change}).wire, GATE_AT)
        assert seller.statuses == ["accepted"]
    seller.receive(leaf, GATE_AT)
    assert seller.statuses == ["counted"]


def test_the_first_position_is_the_one_that_counts() -> None:
    buyer, seller = bound()
    position, leaf = delivered(buyer.close_gate(GATE_AT), seller)
    seller.receive(position, GATE_AT)
    second = STREET.seal(Position, BUYER, now=GATE_AT, slot=SLOT.key, root="0f" * 16, sold_wh=0, bought_wh=0)
    assert seller.receive(second.wire, GATE_AT) == []
    seller.receive(leaf, GATE_AT)
    assert seller.statuses == ["counted"]


def test_positions_of_homes_without_a_contract_are_nobodys_business() -> None:
    _, seller = bound()
    stranger = STREET.seal(Position, THIRD, now=GATE_AT, slot=SLOT.key, root="0f" * 16, sold_wh=0, bought_wh=0)
    request = STREET.seal(PositionRequest, THIRD, SELLER, now=GATE_AT, slot=SLOT.key)
    kept = len(seller.entries)
    assert seller.receive(stranger.wire, GATE_AT) == []
    assert seller.receive(request.wire, GATE_AT) == []
    assert len(seller.entries) == kept


def test_the_gate_is_closed_once_and_says_what_was_traded() -> None:
    buyer, seller = bound(250)
    (_, bought), _ = buyer.close_gate(GATE_AT)
    (_, sold), _ = seller.close_gate(GATE_AT)
    assert (message(bought).bought_wh, message(bought).sold_wh) == (250, 0)
    assert (message(sold).bought_wh, message(sold).sold_wh) == (0, 250)
    assert buyer.close_gate(GATE_AT) == []


def test_a_buyer_whose_clock_is_ahead_does_not_make_the_seller_sell_twice() -> None:
    """Its position comes before the seller's gate: what counts already is sold all the same."""
    buyer, seller = parties(sell_wh=100)
    ((_, accept),) = seller.receive(buyer.offer(SELLER), START)
    buyer.receive(accept, START)
    early = EXPIRY_AT - timedelta(seconds=10)
    for wire in delivered(buyer.close_gate(early), seller):
        seller.receive(wire, early)
    assert seller.statuses == ["counted"]
    assert kinds(seller.receive(offer_of(THIRD).wire, early)) == ["reject"]
    (_, position), (_, leaf) = seller.close_gate(GATE_AT)
    assert message(position).sold_wh == 100
    assert message(leaf).contract_ids == (message(accept).contract_id,)


def test_an_offer_that_arrives_after_its_buyers_position_is_dead() -> None:
    """The leaf that left it out was already there; it would never be decided."""
    buyer, seller = bound()
    late, early = buyer.offer(SELLER), EXPIRY_AT - timedelta(seconds=10)
    for wire in delivered(buyer.close_gate(early), seller):
        seller.receive(wire, early)
    assert seller.receive(late, early) == []
    assert seller.statuses == ["counted"]


# Meters and memory


def test_a_partners_meter_is_kept_once_and_a_strangers_not_at_all() -> None:
    buyer, _ = bound()
    reading = {"slot": SLOT.key, "import_wh": 0, "export_wh": 100}
    kept = len(buyer.entries)
    for sender in (SELLER, SELLER, THIRD):
        assert buyer.receive(STREET.seal(Meter, sender, BUYER, **reading).wire, START) == []
    assert [entry.kind for entry in buyer.entries[kept:]] == ["meter"]


def test_decided_slots_leave_memory_and_undecided_ones_stay() -> None:
    buyer, seller = bound()
    wires = buyer.close_gate(GATE_AT)
    seller.close_gate(GATE_AT)
    for party in (buyer, seller):
        party.book.forget_before(SLOT.key + 1)
    assert (buyer.statuses, seller.statuses) == ([], ["accepted"])
    for wire in delivered(wires, seller):
        seller.receive(wire, GATE_AT)
    seller.book.forget_before(SLOT.key)
    assert seller.statuses == ["counted"]
    seller.book.forget_before(SLOT.key + 1)
    assert seller.statuses == []
    request = STREET.seal(PositionRequest, SELLER, BUYER, now=GATE_AT, slot=SLOT.key)
    assert buyer.receive(request.wire, GATE_AT) == []
    assert (buyer.book._sessions, seller.book._sessions) == ({}, {})


@pytest.mark.parametrize("stage", range(5))
def test_a_restart_at_any_stage_changes_nothing(stage: int) -> None:
    buyer, seller = parties()
    steps = [
        lambda: seller.receive(buyer.offer(SELLER), START),
        lambda: buyer.tick(EXPIRY_AT),
        lambda: seller.receive(buyer.offer(SELLER), START),
        lambda: seller.close_gate(GATE_AT),
        lambda: [seller.receive(wire, GATE_AT) for wire in delivered(buyer.close_gate(GATE_AT), seller)],
    ]
    for step in steps[: stage + 1]:
        step()
    for party in (buyer, seller):
        before = (party.contracts, party.book._sessions, party.book.net_wh(SESSION))
        party.restart()
        assert (party.contracts, party.book._sessions, party.book.net_wh(SESSION)) == before
