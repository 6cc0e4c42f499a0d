"""Whole numbers and exact money: both sides of a contract compute the same."""

from decimal import ROUND_HALF_EVEN, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.quantities import cents, from_micro, money, round_ratio, to_micro


@pytest.mark.parametrize(
    ("numerator", "denominator", "expected"),
    [(1, 2, 0), (3, 2, 2), (5, 2, 2), (-1, 2, 0), (-3, 2, -2), (-5, 2, -2), (3, -2, -2), (-5, -2, 2), (7, 3, 2),
     (8, 3, 3), (-7, 3, -2), (-8, 3, -3), (0, 5, 0), (6, 3, 2)],
)  # fmt: skip
def test_ratio_rounds_half_to_even_on_both_sides_of_zero(numerator: int, denominator: int, expected: int) -> None:
    assert round_ratio(numerator, denominator) == expected


@given(st.integers(-(10**30), 10**30), st.integers(-(10**12), 10**12).filter(bool))
def test_ratio_of_any_integers_is_rounded_as_exact_decimals_are(numerator: int, denominator: int) -> None:
    with localcontext() as context:
        context.prec = 80
        exact = (Decimal(numerator) / denominator).to_integral_value(ROUND_HALF_EVEN)
    assert round_ratio(numerator, denominator) == int(exact)


@given(st.integers(-(10**20), 10**20), st.integers(1, 10**9))
def test_halves_go_to_the_even_neighbour(whole: int, half: int) -> None:
    """Random ratios hardly ever hit a half; here every one does."""
    rounded = round_ratio((2 * whole + 1) * half, 2 * half)
    assert rounded % 2 == 0
    assert rounded in (whole, whole + 1)


def test_ratio_to_nothing_is_an_error() -> None:
    with pytest.raises(ZeroDivisionError):
        round_ratio(1, 0)


@given(st.integers(-(10**12), 10**12))
def test_a_price_survives_the_way_to_currency_and_back(price_micro: int) -> None:
    assert to_micro(from_micro(price_micro)) == price_micro
    assert to_micro(str(from_micro(price_micro))) == price_micro


@pytest.mark.parametrize(
    ("price", "micro"),
    [
        (0.28, 280_000),
        ("0.0000005", 0),
        ("0.0000015", 2),
        (Decimal("-0.0000025"), -2),
        (0.1 + 0.2, 300_000),
        (1, 10**6),
    ],
)
def test_prices_are_rounded_half_even_to_a_millionth(price: Decimal | float | str, micro: int) -> None:
    assert to_micro(price) == micro


@given(st.lists(st.tuples(st.integers(-(10**7), 10**7), st.integers(-(10**9), 10**9)), max_size=20))
def test_money_of_parts_adds_up_to_the_last_decimal(parts: list[tuple[int, int]]) -> None:
    total = sum((money(energy_wh, price) for energy_wh, price in parts), Decimal(0))
    assert total * 10**9 == sum(energy_wh * price for energy_wh, price in parts)


def test_money_is_exact_where_floats_are_not() -> None:
    assert money(333, 280_001) == Decimal("0.093240333")
    assert str(money(1000, 100_000) + money(1000, 200_000)) == "0.3"


@pytest.mark.parametrize(
    ("amount", "shown"), [("0.125", "0.12"), ("0.135", "0.14"), ("-0.125", "-0.12"), ("2", "2.00")]
)
def test_cents_are_for_printing_and_half_even(amount: str, shown: str) -> None:
    assert str(cents(Decimal(amount))) == shown
