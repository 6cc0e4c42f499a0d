"""Desks after a slot: the residual round and the bill, whatever the network, a crash or a liar does to them."""

import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from neighbourhood import START, Neighbourhood, ScriptedHome

from coordinator.charter import Rules
from coordinator.contracts import Contract, Status
from coordinator.household import MeterReading
from coordinator.messages import ADAPTER, EVERYBODY, Residual
from coordinator.sessions import Session
from coordinator.settlement import settle_slot
from coordinator.slots import Slot

RULES = Rules(horizon_slots=4)
SLOT = Slot.at(START, RULES.slot_s)
RESIDUAL = Session(SLOT.key, "residual")
OFFERS_AT, EXPIRY_AT, GATE_AT = (at(RULES) for at in (RESIDUAL.offers_at, RESIDUAL.expiry_at, RESIDUAL.gate_at))
SECOND = timedelta(seconds=1)
UNDECIDED = frozenset({Status.OFFERED, Status.BOUND, Status.ACCEPTED})


class Surprised(ScriptedHome):
    """A home whose meter always differs from its contracts, with a tariff of its own."""

    def __init__(self, rules: Rules, seed: int, surprise_wh: int | None = None) -> None:
        super().__init__(rules=rules, seed=seed)
        self._surprise_wh = surprise_wh
        self.tariff = (300_000 + 7_001 * seed, 60_000 - 3_001 * seed)

    def surprise_wh(self, slot: int) -> int:
        drawn = random.Random(f"surprise {self.seed} {slot}").randint(-600, 600)
        return drawn if self._surprise_wh is None else self._surprise_wh

    def tariff_micro(self, slot: Slot) -> tuple[int, int]:
        return self.tariff


class Alone(Surprised):
    """A home that trades nothing beforehand: what it meters is what the round is about."""

    def wish_wh(self, slot: int) -> int:
        return 0


class Wanting(Surprised):
    """Wants the same in every slot."""

    def __init__(self, rules: Rules, seed: int, surprise_wh: int, wish_wh: int) -> None:
        super().__init__(rules, seed, surprise_wh)
        self._wish_wh = wish_wh

    def wish_wh(self, slot: int) -> int:
        return self._wish_wh


def street(folder: Path, *surprises_wh: int, rules: Rules = RULES, **options: Any) -> Neighbourhood:
    def make(n: int, rules: Rules) -> Alone:
        return Alone(rules, n, surprises_wh[n])

    return Neighbourhood(folder, homes=len(surprises_wh), rules=rules, make_home=make, **options)


def surprised(folder: Path, homes: int, **options: Any) -> Neighbourhood:
    return Neighbourhood(folder, homes=homes, make_home=lambda n, rules: Surprised(rules, n), rules=RULES, **options)


def residual_contracts(made: Neighbourhood, slot: int = SLOT.key) -> dict[str, list[Contract]]:
    return {
        home: [c for c in desk.trader.book.contracts(slot) if c.trade == "residual"]
        for home, desk in made.desks.items()
    }


def said(made: Neighbourhood, kind: str) -> list[Any]:
    wires = dict.fromkeys(wire for _, _, wire in made.sent)
    messages = [ADAPTER.validate_json(wire.partition(b"\n")[0]) for wire in wires]
    return [message for message in messages if message.kind == kind]


def bill_without(made: Neighbourhood, home: str, slot: int) -> Decimal:
    """Return the bill as it would have been without the residual round."""
    bill, contracts = made.homes[home].bills[slot], made.homes[home].contracts[slot]
    net_wh = bill.imbalance_wh + bill.bought_wh - bill.sold_wh
    import_micro, export_micro = made.homes[home].tariff
    slots = [c for c in contracts if c.trade == "slot"]
    return settle_slot(home, slots, net_wh=net_wh, import_micro=import_micro, export_micro=export_micro).total


def assert_nobody_lost(made: Neighbourhood) -> None:
    for home, each in made.homes.items():
        for slot, bill in each.bills.items():
            assert bill.total <= bill_without(made, home, slot)


# A good network


def test_a_surplus_goes_to_the_neighbour_who_is_short_at_the_midpoint(tmp_path: Path) -> None:
    made = street(tmp_path, 400, -300)
    buyer, seller = (i.id for i in made.identities)
    made.run_slots(1)
    made.run(GATE_AT + 2 * SECOND)
    ((bought,), (sold,)) = residual_contracts(made).values()
    assert (bought.status, sold.status) == (Status.COUNTED, Status.COUNTED)
    assert (bought.energy_wh, bought.seller, bought.buyer) == (300, seller, buyer)
    assert bought.price_micro == (300_000 + 60_000 - 3_001 + 1) // 2  # half even
    bill = made.homes[buyer].bills[SLOT.key]
    assert (bill.bought_wh, bill.imbalance_wh) == (300, 100)
    assert made.homes[seller].bills[SLOT.key].imbalance_wh == 0
    assert_nobody_lost(made)


def test_the_round_runs_at_the_times_of_the_charter(tmp_path: Path) -> None:
    made = street(tmp_path, 400, -300)
    made.run_slots(1)
    made.run(OFFERS_AT)
    assert (len(said(made, "residual")), said(made, "offer")) == (2, [])
    made.run(OFFERS_AT + SECOND)
    (offer,) = said(made, "offer")
    assert offer.expires_ms == EXPIRY_AT.timestamp() * 1000
    made.run(GATE_AT)
    assert [p for p in said(made, "position") if p.trade == "residual"] == []
    assert all(home.bills == {} for home in made.homes.values())
    made.run(GATE_AT + 2 * SECOND)
    assert all(list(home.bills) == [SLOT.key] for home in made.homes.values())


def test_many_homes_with_contracts_before_and_after_agree_and_nobody_loses(tmp_path: Path) -> None:
    made = surprised(tmp_path, 6)
    made.run_slots(4)
    made.run_on(minutes=5)
    assert_nobody_lost(made)
    bills = [bill for home in made.homes.values() for bill in home.bills.values()]
    assert len(bills) == 4 * 6
    assert sum((bill.contracts for bill in bills), Decimal(0)) == 0
    assert sum(bill.bought_wh - bill.sold_wh for bill in bills) == 0
    gained = sum((bill_without(made, h, s) - b.total for h, e in made.homes.items() for s, b in e.bills.items()))
    assert gained > Decimal("0.2")
    made_after = [c for n in range(4) for cs in residual_contracts(made, SLOT.shifted(n).key).values() for c in cs]
    assert {c.status for c in made_after} == {Status.COUNTED}
    result = made.audit()
    assert result.contracts_residual == len(made_after) // 2 > 8
    assert result.contracts_counted > result.contracts_residual
    assert (result.ledger_mismatches, result.wh_sold_twice) == (0, 0)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(-3000, 3000), min_size=2, max_size=5))
def test_whatever_the_meters_show_money_sums_to_zero_and_nobody_loses(
    tmp_path_factory: pytest.TempPathFactory, surprises_wh: list[int]
) -> None:
    made = street(tmp_path_factory.mktemp("street"), *surprises_wh)
    for home in made.homes.values():
        home.at_home = False
    made.run_slots(1)
    made.run(GATE_AT + 2 * SECOND)
    bills = [home.bills[SLOT.key] for home in made.homes.values()]
    assert sum((bill.contracts for bill in bills), Decimal(0)) == 0
    assert_nobody_lost(made)
    left_wh = [bill.imbalance_wh for bill in bills]
    assert min(left_wh) >= 0 or max(left_wh) <= 0  # nothing goes to the grid that a neighbour had to buy from it
    assert made.audit().wh_sold_twice == 0


def test_a_pair_that_trades_before_and_after_a_slot_has_an_id_a_position_and_a_salt_for_each(tmp_path: Path) -> None:
    made = Neighbourhood(
        tmp_path, homes=2, make_home=lambda n, r: Wanting(r, n, (90, -70)[n], (500, -400)[n]), rules=RULES
    )
    made.run_slots(2)
    made.run_on(minutes=5)
    slot, (buyer, seller) = SLOT.shifted(1).key, (i.id for i in made.identities)
    leaves = [leaf for leaf in said(made, "leaf") if (leaf.slot, leaf.sender) == (slot, buyer)]
    assert [leaf.trade for leaf in leaves] == ["slot", "residual"]
    assert len({leaf.salt for leaf in leaves}) == 2
    before, after = made.homes[seller].contracts[slot]
    assert (before.trade, after.trade, after.energy_wh) == ("slot", "residual", 70)
    assert before.id != after.id
    assert made.homes[buyer].bills[slot].imbalance_wh == 20


def test_without_the_round_the_bill_comes_at_once_and_nothing_is_said(tmp_path: Path) -> None:
    made = street(tmp_path, 400, -300, rules=RULES.model_copy(update={"residual_round": False}))
    made.run_slots(1)
    assert all(list(home.bills) == [SLOT.key] for home in made.homes.values())
    made.run(GATE_AT + 2 * SECOND)
    assert said(made, "residual") == []
    assert made.audit().contracts_counted == 0


def test_the_next_negotiation_is_the_same_with_and_without_the_round(tmp_path: Path) -> None:
    results = []
    for on in (False, True):
        (tmp_path / str(on)).mkdir()
        rules = RULES.model_copy(update={"residual_round": on})
        made = Neighbourhood(
            tmp_path / str(on), homes=4, rules=rules, make_home=lambda n, rules: Surprised(rules, n), delay_s=(1, 1)
        )
        made.run_slots(4)
        results.append([(r.slot, r.prices_micro, r.rounds) for home in made.homes.values() for r in home.results])
    assert results[0] == results[1]
    assert len(results[0]) >= 4 * 4


# What comes late, twice, or not at all


def test_a_home_in_balance_takes_no_part_and_has_its_bill_at_once(tmp_path: Path) -> None:
    made = street(tmp_path, 400, -300, 0)
    made.run_slots(1)
    assert [list(home.bills) for home in made.homes.values()] == [[], [], [SLOT.key]]
    assert len(said(made, "residual")) == 0 or {m.energy_wh for m in said(made, "residual")} == {400, -300}


def test_a_meter_that_comes_too_late_has_its_bill_without_the_round(tmp_path: Path) -> None:
    made = street(tmp_path, 400, -300)
    late = made.identities[0].id
    desk = made.desks.pop(late)
    made.run_slots(1)
    made.desks[late] = desk
    made.run(OFFERS_AT)
    desk.metered(SLOT, MeterReading(import_wh=400, export_wh=0), made.now)
    desk.tick(made.now)
    assert made.homes[late].bills[SLOT.key].imbalance_wh == 400
    made.run(GATE_AT + 2 * SECOND)
    assert made.homes[made.identities[1].id].bills[SLOT.key].sold_wh == 0


@pytest.mark.parametrize("lost", ["residual", "offer", "accept"])
def test_what_is_lost_for_good_costs_the_gain_and_nothing_else(tmp_path: Path, lost: str) -> None:
    made = street(tmp_path, 400, -300)
    kind = f'"kind":"{lost}"'.encode()
    made.tamper = lambda sender, to, wire: None if kind in wire else wire
    made.run_slots(1)
    made.run(GATE_AT + timedelta(minutes=3))
    bills = [home.bills[SLOT.key] for home in made.homes.values()]
    assert [(bill.contracts, bill.imbalance_wh) for bill in bills] == [(0, 400), (0, -300)]
    result = made.audit()
    assert (result.contracts_counted, result.ledger_mismatches) == (0, 0)


@pytest.mark.parametrize(("surprise_wh", "expected"), [(50, []), (-50, [-50])])
def test_a_seller_in_doubt_trades_only_what_is_right_whether_or_not_its_contract_counts(
    tmp_path: Path, surprise_wh: int, expected: list[int]
) -> None:
    """If it counts, the home is 50 Wh short; if it is void, it has hundreds left over."""
    made = Neighbourhood(
        tmp_path, homes=2, make_home=lambda n, rules: Wanting(rules, n, surprise_wh, (500, -400)[n]), rules=RULES
    )
    seller = made.identities[1].id
    made.tamper = lambda sender, to, wire: None if to == seller and b'"kind":"leaf"' in wire else wire
    made.run_slots(2)
    slot = SLOT.shifted(1).key
    assert made.desks[seller].trader.book.doubtful_wh(Session(slot)) > 300
    assert [r.energy_wh for r in said(made, "residual") if (r.sender, r.slot) == (seller, slot)] == expected
    made.tamper = lambda sender, to, wire: wire
    made.run_on(minutes=10)
    assert made.homes[seller].bills[slot].sold_wh > 300
    assert_nobody_lost(made)


def test_residuals_of_other_times_are_not_matched_and_fill_no_memory(tmp_path: Path) -> None:
    made = street(tmp_path, 400, -300)
    after = made.desks[made.identities[0].id].trader._after
    header = {"community": made.charter.community_id, "sender": made.identities[1].id, "to": EVERYBODY}
    header |= {"inc": 1, "seq": 1, "sent_ms": 0, "expires_ms": 2**47}
    for slot in (0, 1, SLOT.key + 1, SLOT.key + 2 * RULES.slot_s, 2**37, SLOT.key - RULES.slot_s):
        message = Residual.model_validate({**header, "slot": slot, "energy_wh": 5, "price_micro": 5})
        after.receive(message, SLOT.end_at)
    assert after._heard == {}
    for n in range(50):
        slot = SLOT.key + n * RULES.slot_s
        message = Residual.model_validate({**header, "slot": slot, "energy_wh": 5, "price_micro": 5})
        after.receive(message, SLOT.end_at + timedelta(seconds=n * RULES.slot_s))
    assert len(after._heard) == 3


def test_the_first_word_of_a_home_is_the_one_that_is_matched(tmp_path: Path) -> None:
    made = street(tmp_path, 400, -300)
    buyer, seller = (i.id for i in made.identities)
    made.run_slots(1)
    made.run_on(minutes=1)
    header = {"community": made.charter.community_id, "sender": seller, "to": EVERYBODY, "inc": 1, "seq": 1}
    body = {"sent_ms": 0, "expires_ms": 2**47, "slot": SLOT.key, "energy_wh": -400, "price_micro": 1}
    made.desks[buyer].trader._after.receive(Residual.model_validate({**header, **body}), made.now)
    made.run(OFFERS_AT + SECOND)
    assert [offer.energy_wh for offer in said(made, "offer")] == [300]


# Crashes and faults


def test_a_seller_that_restarts_at_any_time_of_the_round_keeps_its_word(tmp_path: Path) -> None:
    for n, at in enumerate([SLOT.end_at + SECOND, OFFERS_AT - SECOND, OFFERS_AT + SECOND, EXPIRY_AT, GATE_AT + SECOND]):
        (tmp_path / str(n)).mkdir()
        made = street(tmp_path / str(n), 400, -300)
        buyer, seller = made.identities
        made.run_slots(1)
        made.run(at)
        made.stop(seller.id)
        made.start(seller)
        made.run(GATE_AT + timedelta(minutes=2))
        assert made.homes[seller.id].bills[SLOT.key].sold_wh == 300
        assert made.homes[buyer.id].bills[SLOT.key].bought_wh == 300
        assert made.audit().ledger_mismatches == 0


@pytest.mark.parametrize(
    ("at", "bought_wh"),
    [
        (SLOT.end_at + SECOND, 0),  # what the others said is forgotten: it offers nothing
        (OFFERS_AT + SECOND / 100, 300),  # its offer is out and is in its ledger
        (EXPIRY_AT, 300),
        (GATE_AT + SECOND, 300),
    ],
)
def test_a_buyer_that_restarts_finishes_what_was_open_and_never_offers_twice(
    tmp_path: Path, at: datetime, bought_wh: int
) -> None:
    made = street(tmp_path, 400, -300)
    buyer, seller = made.identities
    made.run_slots(1)
    made.run(at)
    made.stop(buyer.id)
    made.start(buyer)
    made.run(GATE_AT + timedelta(minutes=2))
    assert made.homes[buyer.id].bills[SLOT.key].bought_wh == bought_wh
    assert made.homes[seller.id].bills[SLOT.key].sold_wh == bought_wh
    assert len(said(made, "offer")) == (1 if bought_wh else 0)


def test_only_the_partner_of_a_dead_buyer_waits_until_it_is_back(tmp_path: Path) -> None:
    made = street(tmp_path, 300, -300, 200, -200)
    buyer = made.identities[0]
    made.run_slots(1)
    made.run(OFFERS_AT + 5 * SECOND)
    sellers = {c.seller for c in residual_contracts(made)[buyer.id]}
    assert sellers
    made.stop(buyer.id)
    made.run_slots(3)
    waiting = {home for home, each in made.homes.items() if SLOT.key not in each.bills}
    assert waiting == sellers | {buyer.id}
    assert all(len(made.homes[home].bills) >= 2 for home in sellers)  # later slots are settled all the same
    made.start(buyer)
    made.run_on(minutes=6)  # it asks every five what it lost; at first its partner may not have its position
    assert all(SLOT.key in each.bills for each in made.homes.values())
    assert_nobody_lost(made)
    result = made.audit()
    assert (result.ledger_mismatches, result.wh_sold_twice) == (0, 0)


def _life(made: Neighbourhood, slots: int, chance: random.Random) -> None:
    """Run slots in which homes crash at any time and are up again at once or at the next step."""
    for _ in range(slots):
        for _ in range(4):
            victim = chance.choice(made.identities)
            made.run_on(minutes=chance.uniform(0.1, 3.5))
            if victim.id in made.desks:
                made.stop(victim.id)
                if chance.random() < 0.5:
                    continue
            made.start(victim)
        for identity in made.identities:
            if identity.id not in made.desks:
                made.start(identity)
        made.run_slots(1)


@pytest.mark.parametrize("seed", range(6))
def test_loss_copies_delay_partitions_and_crashes_never_make_two_ledgers_disagree(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    made = surprised(tmp_path, 5, seed=seed, loss=0.2, duplicates=0.3, delay_s=(0.1, 30))
    apart = {chance.choice(made.identities).id}
    made.tamper = lambda sender, to, wire: None if (sender in apart) != (to in apart) else wire
    _life(made, 2, chance)
    apart.clear()
    _life(made, 4, chance)
    made.loss, made.delay_s = 0.0, (0.1, 0.5)
    made.run_slots(2)
    made.run_on(minutes=10)
    running = Slot.at(made.now, RULES.slot_s)
    for home, desk in made.desks.items():
        assert desk.trader._after._metered == {}, "after the network heals every slot settles"
        past = [c for c in desk.trader.book.contracts() if c.slot < running.key]
        assert all(c.status not in UNDECIDED for c in past)
        assert made.homes[home].bills
    assert_nobody_lost(made)
    positions: dict[tuple[str, int, str], str] = {}
    for message in said(made, "position"):
        assert positions.setdefault((message.sender, message.slot, message.trade), message.root) == message.root
    assert len({(r.sender, r.slot) for r in said(made, "residual")}) == len(said(made, "residual"))
    result = made.audit()
    assert result.contracts_residual > 0
    assert (result.ledger_mismatches, result.wh_sold_twice) == (0, 0)


# A member that lies


def _claim(made: Neighbourhood, liar: str, change: Callable[[int], int]) -> None:
    """Let a home announce something else than its meter shows; the meter and so the bill stay true."""
    after = made.desks[liar].trader._after
    announce = after._announce
    after._announce = lambda slot, net_wh, now: announce(slot, change(net_wh), now)  # type: ignore[method-assign]


def _bills(folder: Path, surprises_wh: Sequence[int], change: Callable[[int], int] | None) -> list[Decimal]:
    folder.mkdir()
    made = street(folder, *surprises_wh)
    if change is not None:
        _claim(made, made.identities[0].id, change)
    made.run_slots(1)
    made.run(GATE_AT + 2 * SECOND)
    assert_others_did_not_lose(made, made.identities[0].id)
    assert made.audit().ledger_mismatches == 0
    return [home.bills[SLOT.key].total for home in made.homes.values()]


def assert_others_did_not_lose(made: Neighbourhood, liar: str) -> None:
    for home, each in made.homes.items():
        assert home == liar or each.bills[SLOT.key].total <= bill_without(made, home, SLOT.key)


def test_a_home_that_sells_more_than_it_has_left_over_buys_the_difference_from_the_grid(tmp_path: Path) -> None:
    true, false = (
        _bills(tmp_path / name, [-100, 600], c) for name, c in (("true", None), ("false", lambda wh: wh * 5))
    )
    price, tariff = Decimal("0.1835"), Decimal("0.3")
    assert false[0] - true[0] == Decimal("0.4") * (tariff - price)
    assert false[1] < true[1]


def test_a_home_that_buys_more_than_it_is_short_of_sells_the_difference_to_the_grid(tmp_path: Path) -> None:
    true, false = (
        _bills(tmp_path / name, [100, -600], c) for name, c in (("true", None), ("false", lambda wh: wh * 5))
    )
    assert false[0] > true[0]
    assert false[1] < true[1]


def test_a_home_that_says_the_wrong_sign_hurts_only_itself(tmp_path: Path) -> None:
    true, false = (
        _bills(tmp_path / name, [-100, 300, 200], c) for name, c in (("true", None), ("false", lambda wh: -wh))
    )
    assert false[0] > true[0]


def test_a_seller_sells_no_more_than_it_has_left_over_and_nothing_below_its_export_price(tmp_path: Path) -> None:
    made = street(tmp_path, 400, -300)
    buyer, seller = (i.id for i in made.identities)
    made.tamper = lambda sender, to, wire: None if b'"kind":"residual"' in wire else wire
    made.run_slots(1)
    made.run(OFFERS_AT)
    desk, export_micro = made.desks[buyer], made.homes[seller].tariff[1]
    for energy_wh, price_micro in ((301, 200_000), (100, export_micro - 1), (300, export_micro)):
        offer = desk.trader.book.offer(RESIDUAL, seller=seller, energy_wh=energy_wh, price_micro=price_micro)
        desk._perform(offer, made.now)
        made.run(made.now + SECOND)
    made.run(GATE_AT + 2 * SECOND)
    statuses = [c.status for c in residual_contracts(made)[seller]]
    assert sorted(status.value for status in statuses) == ["counted", "rejected", "rejected"]
    assert made.homes[seller].bills[SLOT.key].sold_wh == 300
