"""A desk through its slots: who joins when, what a restart owes, and what a member's strangest words can do."""

import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from neighbourhood import EXPORT_MICRO, IMPORT_MICRO, START, Neighbourhood, ScriptedHome

from coordinator.charter import Rules
from coordinator.clock import unix_ms
from coordinator.codec import encode
from coordinator.contracts import Status, contract_id
from coordinator.household import MeterReading
from coordinator.messages import ADAPTER, Bid, Leaf, Message, Meter, Offer, Position, Presence, Prices, Ready
from coordinator.sessions import Session
from coordinator.slots import Slot

RULES = Rules(horizon_slots=8, ready_s=540, rounds_s=480, offers_s=240, expiry_s=120, gate_s=90, round_timeout_s=45)
SLOT = Slot.at(START, RULES.slot_s).shifted(1)
SECOND = timedelta(seconds=1)


def before(slot: Slot, seconds: int) -> datetime:
    return slot.start_at - timedelta(seconds=seconds)


READY_AT, ROUNDS_AT, OFFERS_AT = (before(SLOT, s) for s in (RULES.ready_s, RULES.rounds_s, RULES.offers_s))
GATE_AT = before(SLOT, RULES.gate_s)


def street(folder: Path, homes: int = 3, **options: Any) -> Neighbourhood:
    return Neighbourhood(folder, homes=homes, rules=options.pop("rules", RULES), seed=options.pop("seed", 2), **options)


def said(made: Neighbourhood, home: str, kind: str) -> list[Any]:
    """Return what `home` said of this kind, without repetitions."""
    wires = dict.fromkeys(wire for sender, _, wire in made.sent if sender == home)
    messages = [ADAPTER.validate_json(wire.partition(b"\n")[0]) for wire in wires]
    return [message for message in messages if message.kind == kind]


class Trades(ScriptedHome):
    """Wants the same in every slot."""

    def __init__(self, rules: Rules, wish_wh: int, kept: float = 1.0) -> None:
        super().__init__(rules=rules, seed=0)
        self._wish_wh, self._kept = wish_wh, kept
        self.openings: list[Sequence[int]] = []
        self.floor_micro = EXPORT_MICRO

    def wish_wh(self, slot: int) -> int:
        return self._wish_wh

    def keep(self, slot: Slot, energy_wh: int, price_micro: int) -> int:
        return int(energy_wh * self._kept)

    def tariff_micro(self, slot: Slot) -> tuple[int, int]:
        return IMPORT_MICRO, self.floor_micro


def trading(folder: Path, *wishes: int, kept: float = 1.0, **options: Any) -> Neighbourhood:
    return street(folder, len(wishes), make_home=lambda n, rules: Trades(rules, wishes[n], kept), **options)


# Joining


def test_a_home_that_was_down_at_ready_time_still_joins_before_the_rounds(tmp_path: Path) -> None:
    made = street(tmp_path)
    late = made.identities[0]
    made.stop(late.id)
    made.run(READY_AT + 20 * SECOND)
    made.start(late)
    made.run(OFFERS_AT + SECOND)
    assert [m.slot for m in said(made, late.id, "ready")] == [SLOT.key]
    assert all(late.id in home.results[0].bids_wh for home in made.homes.values())


@pytest.mark.parametrize("up_at", [ROUNDS_AT, OFFERS_AT, GATE_AT + SECOND])
def test_a_home_that_was_down_when_the_rounds_began_joins_the_next_slot(tmp_path: Path, up_at: datetime) -> None:
    made = street(tmp_path)
    late = made.identities[0]
    made.stop(late.id)
    made.run(up_at)
    made.start(late)
    made.run(SLOT.end_at)
    assert [m.slot for m in said(made, late.id, "ready")] == [SLOT.key + RULES.slot_s]
    assert [result.slot for result in made.homes[late.id].results] == [SLOT.shifted(1)]
    others = [home for name, home in made.homes.items() if name != late.id]
    assert all(home.results[0].slot == SLOT and late.id not in home.results[0].bids_wh for home in others)


def test_a_home_bids_in_no_slot_that_it_announced_before_a_restart(tmp_path: Path) -> None:
    """It could sign two bids for one round."""
    made = street(tmp_path, delay_s=(2.0, 2.0))
    home = made.identities[0]
    for at in (READY_AT + SECOND, ROUNDS_AT + 3 * SECOND):
        made.run(at)
        made.stop(home.id)
        made.start(home)
    made.run(SLOT.start_at)
    assert [m.slot for m in said(made, home.id, "ready")] == [SLOT.key]
    assert said(made, home.id, "bid") == []
    assert made.homes[home.id].results == []


def test_a_home_that_sits_out_says_nothing_and_is_asked_again_next_slot(tmp_path: Path) -> None:
    made = street(tmp_path)
    away = made.identities[0].id
    made.homes[away].at_home = False
    made.run(SLOT.start_at)
    assert said(made, away, "ready") == []
    made.homes[away].at_home = True
    made.run(SLOT.end_at)
    assert [m.slot for m in said(made, away, "ready")] == [SLOT.key + RULES.slot_s]


def test_the_next_negotiation_opens_where_the_last_one_ended(tmp_path: Path) -> None:
    made = street(tmp_path)
    made.run(SLOT.end_at)
    home = made.identities[0].id
    first, second = said(made, home, "ready")
    last = made.homes[home].results[0]
    cold = (IMPORT_MICRO + EXPORT_MICRO) // 2
    assert first.prices == (cold,) * 8
    within = [max(EXPORT_MICRO, min(IMPORT_MICRO, price)) for price in last.prices_micro]
    assert within != [cold] * 8
    assert second.prices == (*within[1:], cold)


def test_what_a_liar_did_to_the_prices_ends_with_the_slot(tmp_path: Path) -> None:
    made = trading(tmp_path, 500, -400, 300)
    honest, _, liar = (made.homes[i.id] for i in made.identities)
    liar.bid = lambda prices, anchor, rho: [7500] * 8
    made.run(SLOT.start_at)
    assert min(honest.results[0].prices_micro) > 10 * IMPORT_MICRO
    made.run(SLOT.end_at)
    second = said(made, made.identities[0].id, "ready")[1]
    assert max(second.prices) == IMPORT_MICRO


# Restart


def test_a_restart_closes_the_gate_of_a_slot_it_was_in(tmp_path: Path) -> None:
    made = trading(tmp_path, 500, -400)
    buyer, seller = made.identities
    made.run(OFFERS_AT + 10 * SECOND)
    made.stop(buyer.id)
    made.run(GATE_AT + 20 * SECOND)
    assert said(made, buyer.id, "position") == []
    made.start(buyer)
    made.run(GATE_AT + 30 * SECOND)
    (position,) = said(made, buyer.id, "position")
    assert position.bought_wh == made.homes[buyer.id].gates[SLOT.key] > 300
    statuses = [c.status for i in (buyer, seller) for c in made.desks[i.id].trader.book.contracts(SLOT.key)]
    assert statuses == [Status.COUNTED, Status.COUNTED]


def test_a_gate_is_closed_once_over_any_number_of_restarts(tmp_path: Path) -> None:
    made = trading(tmp_path, 500, -400)
    for _, identity in itertools.product(range(3), made.identities):
        made.run(made.now + timedelta(minutes=5))
        made.stop(identity.id)
        made.start(identity)
    for identity in made.identities:
        slots = [position.slot for position in said(made, identity.id, "position")]
        assert slots
        assert len(set(slots)) == len(slots)


@pytest.mark.parametrize("restart", [False, True])
def test_a_meter_that_speaks_twice_is_billed_once(tmp_path: Path, restart: bool) -> None:
    made = trading(tmp_path, 500, -400)
    buyer = made.identities[0]
    bills: list[tuple[int, Decimal]] = []
    made.homes[buyer.id].settled = lambda slot, meter, bill, contracts: bills.append((slot.key, bill.total))
    made.run(SLOT.end_at)
    for reading in (MeterReading(import_wh=600, export_wh=0), MeterReading(import_wh=999, export_wh=0)):
        made.desks[buyer.id].metered(SLOT, reading, made.now)
        made.desks[buyer.id].metered(SLOT, reading, made.now)
        for _ in range(3):
            if restart:
                made.stop(buyer.id)
                made.start(buyer)
            made.run_on(minutes=2)
    assert [key for key, _ in bills] == [SLOT.key]


def test_a_bill_waits_for_its_contracts_and_survives_a_restart(tmp_path: Path) -> None:
    made = trading(tmp_path, 500, -400)
    seller = made.identities[1]
    made.tamper = lambda sender, to, wire: None if b'"kind":"leaf"' in wire else wire
    made.run(SLOT.end_at)
    made.desks[seller.id].metered(SLOT, MeterReading(import_wh=0, export_wh=400), made.now)
    made.desks[seller.id].tick(made.now)
    assert made.homes[seller.id].bills == {}
    made.stop(seller.id)
    made.start(seller)
    made.tamper = lambda sender, to, wire: wire
    made.run_on(minutes=5)
    bill = made.homes[seller.id].bills[SLOT.key]
    assert bill.sold_wh > 300
    assert bill.imbalance_wh == bill.sold_wh - 400


# Offers


def test_a_buyer_offers_only_what_its_home_wants_to_keep(tmp_path: Path) -> None:
    made = trading(tmp_path, 500, -200, -200, kept=0.5)
    made.run(OFFERS_AT + 10 * SECOND)
    buyer = made.identities[0]
    bids = made.homes[buyer.id].results[0].binding_bids_wh
    matched = min(bids[buyer.id], -sum(wh for wh in bids.values() if wh < 0))
    offers = said(made, buyer.id, "offer")
    assert len(offers) == 2
    assert sum(offer.energy_wh for offer in offers) == matched // 2


def test_nobody_offers_or_sells_what_its_home_does_not_want_to_keep(tmp_path: Path) -> None:
    made = trading(tmp_path, 500, -400, kept=0.0)
    made.run(SLOT.start_at)
    assert [len(said(made, i.id, "offer")) for i in made.identities] == [0, 0]
    assert all(desk.trader.book.contracts() == [] for desk in made.desks.values())
    assert said(made, made.identities[0].id, "position")  # an empty one


@pytest.mark.parametrize("rule", ["marginal", "midpoint", "sdr"])
def test_a_seller_never_sells_below_its_own_feed_in_price(tmp_path: Path, rule: str) -> None:
    made = trading(tmp_path, 500, -400, rules=RULES.model_copy(update={"price_rule": rule}))
    buyer, seller = made.identities
    made.homes[seller.id].floor_micro = IMPORT_MICRO - 1
    made.homes[buyer.id].bid = lambda prices, anchor, rho: [400] * 8
    made.homes[seller.id].bid = lambda prices, anchor, rho: [-400] * 8
    made.run(OFFERS_AT + 10 * SECOND)
    (offer,) = said(made, buyer.id, "offer")
    assert offer.price_micro < IMPORT_MICRO - 1
    assert [reject.reason for reject in said(made, seller.id, "reject")] == ["price too low"]


# A member that lies


def _extremes(made: Neighbourhood, liar: Any, victim: str) -> list[bytes]:
    """Return messages at the limits of every field, all properly signed."""
    now = made.now
    bodies: list[tuple[type[Message], dict[str, Any]]] = [(Presence, {})]
    for slot in (0, 1, SLOT.key, SLOT.key + 1, 2**37):
        ids = {"contract_id": contract_id(liar.id, 2**53, Session(slot), victim, 0), "seller": victim}
        for wh, price in itertools.product((1, 10**7), (-(10**9), 0, 10**9)):
            bodies.append((Offer, {**ids, "slot": slot, "energy_wh": wh, "price_micro": price}))
        for value, number in itertools.product((-(10**9), 10**9), (1, 2, 1000)):
            bodies += [
                (Ready, {"slot": slot, "prices": (value,) * 8}),
                (Prices, {"slot": slot, "round": number, "prices": (value,) * 8, "rho_micro": 10**9}),
            ]
        for value, number in itertools.product((-(10**7), -7501, 7500, 10**7), (1, 2, 3, 1000)):
            common = {"slot": slot, "round": number, "price_hash": "f" * 32}
            bodies.append((Bid, {**common, "energy_wh": (value,) * 8}))
        bodies += [
            (Position, {"slot": slot, "root": "0" * 32, "sold_wh": 10**8, "bought_wh": 10**8}),
            (Leaf, {"slot": slot, "contract_ids": ("0" * 32,) * 64, "salt": "0" * 32, "proof": ()}),
            (Meter, {"slot": slot, "import_wh": 10**8, "export_wh": 10**8}),
        ]
    wires = []
    for expires_ms, (kind, body) in itertools.product((unix_ms(now) + 60_000, 2**47), bodies):
        header = {"community": made.charter.community_id, "sender": liar.id, "to": "*", "inc": 2**53, "seq": 2**53}
        message: Any = kind.model_validate({**header, "sent_ms": 0, "expires_ms": expires_ms, **body})
        wires.append(encode(message, liar).wire)
    return wires


def test_no_member_can_end_another_homes_loop_whatever_it_signs(tmp_path: Path) -> None:
    made = trading(tmp_path, 500, -400, 300)
    liar = made.identities[2]
    made.stop(liar.id)
    for at in (READY_AT - SECOND, READY_AT + SECOND, ROUNDS_AT + SECOND, OFFERS_AT + SECOND, GATE_AT + SECOND):
        made.run(at)
        for home, desk in made.desks.items():
            for wire in _extremes(made, liar, home):
                desk._limit._buckets.clear()  # the rate limit would save the desk from most of it
                desk.receive(wire, made.now)
                desk.tick(made.now)
                assert desk.next_deadline(made.now) > made.now - SECOND
    made.run(SLOT.end_at + timedelta(minutes=20))
    later = [desk.trader.book.contracts(SLOT.shifted(1).key) for desk in made.desks.values()]
    assert [[c.status for c in contracts] for contracts in later] == [[Status.COUNTED]] * 2
    result = made.audit()
    assert (result.ledger_mismatches, result.wh_sold_twice) == (0, 0)


def test_a_liars_impossible_bids_leave_the_others_prices_alone(tmp_path: Path) -> None:
    results = []
    for name, lies in (("honest", False), ("lying", True)):
        (tmp_path / name).mkdir()
        made = trading(tmp_path / name, 500, -400, 300)
        liar = made.identities[2].id
        made.homes[liar].at_home = False
        if lies:
            made.homes[liar].at_home = True
            made.homes[liar].bid = lambda prices, anchor, rho: [0] * 8

            def exaggerate(sender: str, to: str, wire: bytes, made: Neighbourhood = made) -> bytes:
                message = ADAPTER.validate_json(wire.partition(b"\n")[0])
                if sender != made.identities[2].id or not isinstance(message, Bid):
                    return wire
                return encode(message.model_copy(update={"energy_wh": (10**7,) * 8}), made.identities[2]).wire

            made.tamper = exaggerate
        made.run(OFFERS_AT + SECOND)
        results.append(made.homes[made.identities[0].id].results[0].prices_micro)
    assert results[1] == pytest.approx(results[0], abs=20_000)
