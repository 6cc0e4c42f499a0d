"""A street's life on a virtual clock: what is known when, energy and money balance, and who does best."""

from collections.abc import Sequence
from decimal import Decimal
from functools import cache

import numpy as np
import pytest
from small_street import FIRST, street, with_another_future

from agent.study.books import homes_worse_off, terminal_prices
from agent.study.foresight import Kind, expectations
from agent.study.life import Strategy
from agent.study.life import live as live_through
from agent.study.lives import Lives
from agent.study.passing import Lived
from agent.study.street import Options, Street
from coordinator.charter import Rules
from coordinator.contracts import Contract, Status
from coordinator.settlement import settle_slot, tariff_cost

START = FIRST.shifted(24 * 8)
SLOTS = 30
STRATEGIES: tuple[Strategy, ...] = (
    "no_battery",
    "self_consumption",
    "alone",
    "auction",
    "traded",
    "central",
    "perfect",
)
TRADING: tuple[Strategy, ...] = ("auction", "traded", "central", "perfect")


def live(lives: Lives, strategy: Strategy, kind: Kind = "naive", slots: int = SLOTS) -> tuple[list[Lived], Street]:
    options = Options(rules=Rules.for_slot(3600, 24), terminal_per_kwh=terminal_prices(lives, START, slots))
    home = Street(lives, START, options)
    foreseen = expectations(lives, "perfect" if strategy == "perfect" else kind, START, slots, 24)
    return list(live_through(home, strategy, foreseen)), home


@cache
def lived(strategy: Strategy, kind: Kind = "naive") -> tuple[list[Lived], Street]:
    return live(street(), strategy, kind)


def bills(passed: Sequence[Lived], home: Street) -> list[Decimal]:
    books = home.open_books()
    for index, slot in enumerate(passed):
        books.add(slot, home.offset + index)
    return books.bills()


def total(strategy: Strategy, kind: Kind = "naive") -> float:
    return float(sum(bills(*lived(strategy, kind))))


@pytest.mark.parametrize("strategy", [s for s in STRATEGIES if s != "perfect"])
def test_nothing_is_decided_with_a_glimpse_of_the_future(strategy: Strategy) -> None:
    known = 9
    passed, _ = lived(strategy)
    other, _ = live(with_another_future(street(), START.shifted(known)), strategy, slots=known + 1)
    for mine, theirs in zip(passed[:known], other, strict=False):
        assert mine.net_wh.tolist() == theirs.net_wh.tolist()
        assert mine.deals == theirs.deals
    # what binds before the slot does not know the slot itself either
    assert [d for d in passed[known].deals if d.kind == "slot"] == [d for d in other[known].deals if d.kind == "slot"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_energy_is_conserved_and_batteries_stay_in_their_limits(strategy: Strategy) -> None:
    passed, home = lived(strategy)
    for index, slot in enumerate(passed):
        at = home.offset + index
        net_wh = home.load_w[:, at] - home.pv_w[:, at] - slot.battery_wh
        assert slot.net_wh == pytest.approx(net_wh, abs=0.5)
        assert (slot.stored_wh >= -1e-6).all()
        assert (slot.stored_wh <= home.fleet.capacity_wh + 1e-6).all()
        assert (np.abs(slot.battery_wh) <= home.fleet.discharge_max_w + 1e-6).all()


@pytest.mark.parametrize("strategy", TRADING)
def test_every_price_lies_within_both_tariffs_and_money_stays_among_the_homes(strategy: Strategy) -> None:
    passed, home = lived(strategy)
    deals = [(home.offset + index, deal) for index, slot in enumerate(passed) for deal in slot.deals]
    assert deals
    for at, deal in deals:
        assert deal.energy_wh > 0
        assert home.export_micro[deal.seller, at] <= deal.price_micro <= home.import_micro[deal.buyer, at]
    # the street's bill is what the grid charges for what no trade covers, minus what is left in the batteries
    books = home.open_books()
    grid = Decimal(0)
    for index, slot in enumerate(passed):
        books.add(slot, home.offset + index)
        for number, off_wh in enumerate(uncovered_wh(slot)):
            at = home.offset + index
            grid += tariff_cost(off_wh, int(home.import_micro[number, at]), int(home.export_micro[number, at]))
    left = (books.stored_wh - books.start_wh) * books.efficiency_discharge * books.terminal_per_kwh / 1000
    assert float(sum(books.bills())) == pytest.approx(float(grid) - left.sum(), abs=1e-5)


def uncovered_wh(slot: Lived) -> list[int]:
    rest: list[int] = slot.net_wh.tolist()
    for deal in slot.deals:
        rest[deal.buyer] -= deal.energy_wh
        rest[deal.seller] += deal.energy_wh
    return rest


def test_a_homes_books_agree_with_the_products_settlement() -> None:
    passed, home = lived("traded")
    books = home.open_books()
    settled = [Decimal(0)] * 4
    for index, slot in enumerate(passed):
        at = home.offset + index
        books.add(slot, at)
        contracts = [
            Contract(
                id=str(number),
                slot=slot.slot.key,
                seller=str(deal.seller),
                buyer=str(deal.buyer),
                energy_wh=deal.energy_wh,
                price_micro=deal.price_micro,
                status=Status.COUNTED,
                offer_hash="",
                expires_ms=0,
            )
            for number, deal in enumerate(slot.deals)
        ]
        for number in range(4):
            settled[number] += settle_slot(
                str(number),
                [c for c in contracts if str(number) in (c.seller, c.buyer)],
                net_wh=int(slot.net_wh[number]),
                import_micro=int(home.import_micro[number, at]),
                export_micro=int(home.export_micro[number, at]),
            ).total
    left = (books.stored_wh - books.start_wh) * books.efficiency_discharge * books.terminal_per_kwh / 1000
    mine = [float(bill) + value for bill, value in zip(books.bills(), left, strict=True)]
    assert mine == pytest.approx([float(bill) for bill in settled], abs=1e-5)


def test_more_knowledge_and_more_neighbours_never_cost_much() -> None:
    assert total("self_consumption") < total("no_battery")
    assert total("alone") < 1.01 * total("self_consumption")
    assert total("auction") < total("alone")
    assert total("traded") < total("auction")
    assert total("perfect") < total("traded") + 0.01


def test_with_a_true_forecast_trading_comes_close_to_the_one_optimiser() -> None:
    alone, traded, perfect = total("alone", "perfect"), total("traded", "perfect"), total("perfect")
    assert (alone - traded) / (alone - perfect) > 0.97


def test_the_same_twice_is_the_same() -> None:
    first, _ = live(street(), "traded", slots=4)
    second, _ = live(street(), "traded", slots=4)
    assert [(s.net_wh.tolist(), s.deals, s.rounds) for s in first] == [
        (s.net_wh.tolist(), s.deals, s.rounds) for s in second
    ]


def test_two_tariffs_are_planned_for_together_without_resale() -> None:
    passed, home = live(street(two_tariffs=True), "central", slots=6)
    assert sum(bills(passed, home)) < sum(bills(*live(street(two_tariffs=True), "alone", slots=6)))


def test_worse_off_is_judged_from_a_week_on_and_with_slack() -> None:
    alone = [Decimal(10), Decimal(10), Decimal(100)]
    traded = [Decimal("10.3"), Decimal("10.4"), Decimal("101.9")]
    assert homes_worse_off(alone, traded, 6.9) is None
    assert homes_worse_off(alone, traded, 7) == 1
