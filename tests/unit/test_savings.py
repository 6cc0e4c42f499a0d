"""Bills: what was paid, minus what is left in the battery at one price for all strategies."""

import json
from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.savings import Savings, SlotOutcome, terminal_micro


def outcome(**changes: object) -> SlotOutcome:
    plain: dict[str, object] = {
        "no_battery": Decimal("0.30"), "alone": Decimal("0.20"), "traded": Decimal("0.10"), "import_micro": 300_000,
        "bought_wh": 5, "sold_wh": 6, "import_wh": 7, "export_wh": 8, "utility_wh": 9, "contracts": 1,
        "contracts_void": 2, "stored_wh": 4000.0, "shadow_wh": 4500.0,
    }  # fmt: skip
    return SlotOutcome(**{**plain, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("prices", "terminal"),
    [
        ({150_000: 2, 280_000: 4, 420_000: 2}, 150_000),
        ({150_000: 1, 280_000: 5, 420_000: 2}, 215_000),
        ({300_000: 1}, 300_000),
        ({300_000: 1, 100_000: 2}, 100_000),
        ({-50_000: 1, 100_000: 7}, 25_000),
        ({100_000: 1, 100_001: 11}, Decimal("100000.6666666666666666666667")),
    ],
)
def test_the_terminal_price_is_the_mean_of_the_cheapest_quarter(prices: dict[int, int], terminal: Decimal) -> None:
    assert terminal_micro(Counter(prices)) == terminal


@given(st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=200))
def test_the_terminal_price_of_many_slots_is_that_of_the_sorted_list(prices: list[int]) -> None:
    cheapest = sorted(prices)[: max(1, round(len(prices) / 4))]
    assert terminal_micro(Counter(prices)) == Decimal(sum(cheapest)) / len(cheapest)


def test_energy_left_in_the_battery_is_credited_and_energy_taken_is_charged() -> None:
    books = Savings(efficiency_discharge=0.9, start_wh=5000.0)
    books.add(outcome(stored_wh=6000.0, shadow_wh=4000.0))
    assert books.bill_no_battery == Decimal("0.30")
    assert books.bill_traded == Decimal("0.10") - Decimal("0.27")  # 1 kWh more * 0.9 * 0.30
    assert books.bill_alone == Decimal("0.20") + Decimal("0.27")


def test_a_home_without_a_battery_has_nothing_left() -> None:
    books = Savings(efficiency_discharge=1.0)
    books.add(outcome(stored_wh=None))
    assert (books.bill_traded, books.bill_alone) == (Decimal("0.10"), Decimal("0.20"))


def test_a_battery_that_was_not_seen_keeps_what_it_last_showed() -> None:
    books = Savings(efficiency_discharge=1.0, start_wh=4000.0)
    books.add(outcome(stored_wh=5000.0))
    books.add(outcome(stored_wh=None))
    assert books.stored_wh == 5000.0
    assert books.bill_traded == Decimal("0.20") - Decimal("0.30")


def test_slots_add_up() -> None:
    books = Savings(efficiency_discharge=1.0)
    for _ in range(3):
        books.add(outcome())
    sums = (books.bought_wh, books.sold_wh, books.import_wh, books.export_wh, books.utility_wh)
    assert sums == (15, 18, 21, 24, 27)
    assert (books.slots, books.contracts, books.contracts_void) == (3, 3, 6)
    assert (books.no_battery, books.alone, books.traded) == (Decimal("0.90"), Decimal("0.60"), Decimal("0.30"))


def test_books_without_a_slot_are_all_zero() -> None:
    books = Savings(efficiency_discharge=0.95, start_wh=5000.0)
    assert (books.bill_no_battery, books.bill_alone, books.bill_traded, books.rounds_mean) == (0, 0, 0, 0.0)


@given(
    st.lists(
        st.tuples(st.decimals(-100, 100, places=9), st.integers(-(10**6), 10**6), st.none() | st.floats(0, 10**5)),
        max_size=8,
    )
)
def test_books_survive_a_restart_to_the_last_decimal(slots: list[tuple[Decimal, int, float | None]]) -> None:
    books = Savings(efficiency_discharge=0.9487, start_wh=1234.5)
    for amount, price, stored_wh in slots:
        books.add(outcome(alone=amount, traded=-amount, import_micro=price, stored_wh=stored_wh))
    again = Savings.load(json.loads(json.dumps(books.dump())))
    assert again == books
    for each in (books, again):
        each.add(outcome())
    assert (again.bill_alone, again.bill_traded) == (books.bill_alone, books.bill_traded)


def test_a_year_of_changing_prices_stays_small_and_its_terminal_price_exact_to_a_tenth_of_a_cent() -> None:
    """The books are written at each slot's end."""
    books = Savings(efficiency_discharge=0.9)
    prices = [100_000 + 37 * n % 300_000 for n in range(20_000)]
    for price in prices:
        books.add(outcome(import_micro=price))
    assert len(json.dumps(books.dump())) < 12_000
    exact = terminal_micro(Counter(prices))
    assert abs(terminal_micro(books.prices) - exact) < 100
