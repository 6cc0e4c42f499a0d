"""The price a buyer offers: by the charter's rule, and never outside its own tariff."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.charter import PriceRule
from coordinator.pricing import TICK_MICRO, contract_price

RULES = st.sampled_from(["marginal", "midpoint", "sdr"])
BIDS = st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(-(10**6), 10**6), max_size=8)
PRICES = st.integers(-(10**9), 10**9)


def price(rule: PriceRule, bids: dict[str, int], *, marginal: int = 0, tariff: tuple[int, int] = (300, 60)) -> int:
    return contract_price(
        rule,
        marginal_micro=marginal,
        bids_wh=bids,
        import_micro=1000 * tariff[0],
        export_micro=1000 * tariff[1],
    )


@given(RULES, BIDS, PRICES, PRICES, PRICES)
def test_no_rule_leaves_the_buyers_own_tariff(
    rule: PriceRule, bids: dict[str, int], marginal: int, one: int, other: int
) -> None:
    low, high = sorted((one, other))
    got = contract_price(rule, marginal_micro=marginal, bids_wh=bids, import_micro=high, export_micro=low)
    assert low <= got <= high


@pytest.mark.parametrize(("marginal", "paid"), [(180_000, 180_500), (58_000, 60_000), (300_001, 300_000)])
def test_marginal_is_the_next_ticks_price_cut_to_the_tariff(marginal: int, paid: int) -> None:
    assert price("marginal", {}, marginal=marginal) == paid


@given(PRICES)
def test_a_marginal_price_is_a_tick_or_two_above_so_that_no_marginal_seller_refuses(marginal: int) -> None:
    got = contract_price("marginal", marginal_micro=marginal, bids_wh={}, import_micro=10**10, export_micro=-(10**10))
    assert got % TICK_MICRO == 0
    assert TICK_MICRO <= got - marginal < 2 * TICK_MICRO


def test_midpoint_is_half_way_and_looks_at_nothing_else() -> None:
    assert price("midpoint", {"a": 5, "b": -9}, marginal=1) == 180_000
    odd = contract_price("midpoint", marginal_micro=0, bids_wh={}, import_micro=5, export_micro=0)
    assert odd == 2


@pytest.mark.parametrize(
    ("supply", "demand", "paid"),
    [
        (0, 100, 300_000),  # nothing to buy: the grid's price
        (100, 100, 60_000),  # enough for all: what the grid pays
        (250, 100, 60_000),
        (50, 100, 100_000),  # 300 * 60 / (240 * 0.5 + 60)
        (25, 100, 150_000),  # 300 * 60 / (240 * 0.25 + 60)
        (0, 0, 60_000),
    ],
)
def test_sdr_falls_from_import_to_export_price(supply: int, demand: int, paid: int) -> None:
    assert price("sdr", {"seller": -supply, "buyer": demand}) == paid


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(1, 1000))
def test_under_sdr_more_supply_is_never_dearer(supply: int, more: int, demand: int) -> None:
    bids = [{"s": -wh, "b": demand} for wh in (supply, supply + more)]
    assert price("sdr", bids[1]) <= price("sdr", bids[0])


def test_sdr_of_a_tariff_that_pays_nothing_for_export() -> None:
    assert price("sdr", {"b": 100}, tariff=(0, 0)) == 0
    assert price("sdr", {"s": -1, "b": 100}, tariff=(300, 0)) == 0
    assert price("sdr", {"b": 100}, tariff=(300, 0)) == 0
