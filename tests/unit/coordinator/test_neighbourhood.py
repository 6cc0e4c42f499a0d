"""Desks of several homes together: what must hold whatever the network does."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from neighbourhood import START, Neighbourhood

from coordinator.contracts import Status
from coordinator.messages import ADAPTER


def test_on_a_good_network_every_contract_counts_and_all_ledgers_agree(tmp_path: Path) -> None:
    street = Neighbourhood(tmp_path, homes=6)
    street.run_slots(8)
    result = street.audit()
    assert result.contracts_counted > 10
    assert result.contracts_void == 0
    assert (result.ledger_mismatches, result.wh_sold_twice) == (0, 0)


@pytest.mark.parametrize("seed", range(6))
def test_loss_duplication_and_delay_never_make_two_ledgers_disagree(tmp_path: Path, seed: int) -> None:
    street = Neighbourhood(tmp_path, homes=5, seed=seed, loss=0.25, duplicates=0.3, delay_s=(0.1, 60))
    street.run_slots(6)
    street.come_to_rest()
    result = street.audit()
    assert result.contracts_counted > 0
    assert (result.ledger_mismatches, result.wh_sold_twice) == (0, 0)


def test_what_one_home_pays_another_receives(tmp_path: Path) -> None:
    street = Neighbourhood(tmp_path, homes=6)
    street.run_slots(6)
    bills = [bill for home in street.homes.values() for bill in home.bills.values()]
    assert sum((bill.contracts for bill in bills), Decimal(0)) == 0
    assert sum(bill.bought_wh - bill.sold_wh for bill in bills) == 0
    assert sum(bill.bought_wh for bill in bills) > 1000


def test_a_home_that_crashes_in_every_slot_never_signs_two_contents_for_one_key(tmp_path: Path) -> None:
    street = Neighbourhood(tmp_path, homes=4, seed=3, delay_s=(0.1, 5))
    victim = street.identities[0]
    for step in range(40):
        street.run(START + timedelta(seconds=97 * (step + 1)))
        street.stop(victim.id)
        street.start(victim)
    said: dict[tuple[object, ...], bytes] = {}
    for sender, _, wire in street.sent:
        if sender != victim.id:
            continue
        message = ADAPTER.validate_json(wire.partition(b"\n")[0])
        match message.kind:
            case "bid":
                key: tuple[object, ...] = ("bid", message.slot, message.round)
            case "offer" | "lapse":
                key = (message.kind, message.contract_id)
            case "accept" | "reject":
                key = ("answer", message.contract_id)
            case "position":
                key = ("position", message.slot)
            case _:
                continue
        assert said.setdefault(key, wire) == wire
    assert any(key[0] == "position" for key in said)
    street.run(street.now + timedelta(hours=1))
    result = street.audit()
    assert (result.ledger_mismatches, result.wh_sold_twice) == (0, 0)


def test_a_lost_accept_is_repeated_when_the_offer_comes_again(tmp_path: Path) -> None:
    street = Neighbourhood(tmp_path, homes=2, seed=5)
    street.homes[street.identities[0].id].seed, street.homes[street.identities[1].id].seed = 0, 1
    dropped: list[bytes] = []

    def lose_first_accept(sender: str, to: str, wire: bytes) -> bytes | None:
        if b'"kind":"accept"' in wire and wire not in dropped:
            dropped.append(wire)
            return None
        return wire

    street.tamper = lose_first_accept
    street.run_slots(12)
    assert dropped
    result = street.audit()
    assert (result.contracts_void, result.ledger_mismatches) == (0, 0)


def test_an_offer_whose_accept_never_arrives_lapses_and_is_void_on_both_sides(tmp_path: Path) -> None:
    street = Neighbourhood(tmp_path, homes=3, seed=5)
    street.tamper = lambda sender, to, wire: None if b'"kind":"accept"' in wire else wire
    street.run_slots(8)
    contracts = [c for desk in street.desks.values() for c in desk.trader.book.contracts()]
    assert {c.status for c in contracts} <= {Status.LAPSED, Status.FREED, Status.VOID, Status.OFFERED, Status.ACCEPTED}
    assert any(c.status is Status.LAPSED for c in contracts)
    result = street.audit()
    assert (result.contracts_counted, result.ledger_mismatches) == (0, 0)


def test_a_lost_position_is_asked_for_until_it_comes(tmp_path: Path) -> None:
    street = Neighbourhood(tmp_path, homes=3, seed=2)
    until = START + timedelta(minutes=40)
    street.tamper = lambda sender, to, wire: (
        None if street.now < until and (b'"kind":"position"' in wire or b'"kind":"leaf"' in wire) else wire
    )
    street.run_slots(6)
    street.run(street.now + timedelta(minutes=2))
    result = street.audit()
    assert result.contracts_counted > 3
    assert (result.contracts_void, result.ledger_mismatches) == (0, 0)


def test_a_home_that_sits_out_does_not_stop_the_others(tmp_path: Path) -> None:
    street = Neighbourhood(tmp_path, homes=5)
    absent = street.identities[2].id
    street.stop(absent)
    street.run_slots(4)
    assert all(home.results for name, home in street.homes.items() if name != absent)
    assert street.audit().contracts_counted > 3


def test_every_home_finds_the_same_result(tmp_path: Path) -> None:
    street = Neighbourhood(tmp_path, homes=6)
    street.run_slots(3)
    results = [[(r.slot, r.rounds, r.prices_micro, r.bids_wh) for r in home.results] for home in street.homes.values()]
    assert all(result == results[0] for result in results)
    assert all(r.converged for home in street.homes.values() for r in home.results)
