"""The residual round as arithmetic: it balances to the Wh, stays within both tariffs, and nobody loses by it."""

from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.contracts import Contract, Status
from coordinator.quantities import money
from coordinator.residual import Remainder, remainder_wh, residual_price, residual_trades
from coordinator.settlement import settle_slot, tariff_cost

LIMIT_WH = 7500
TARIFF = st.tuples(st.integers(-500_000, 10**6), st.integers(-500_000, 10**6)).map(lambda t: (max(t), min(t)))
"""(import, export) in micro-units per kWh."""
STREET = st.lists(st.tuples(st.integers(-LIMIT_WH, LIMIT_WH), TARIFF), min_size=2, max_size=8)


def said(wh: int, tariff: tuple[int, int]) -> Remainder:
    return Remainder(energy_wh=wh, price_micro=tariff[0] if wh > 0 else tariff[1])


def contract(number: int, seller: str, buyer: str, energy_wh: int, price_micro: int) -> Contract:
    return Contract(
        id=str(number), slot=0, trade="residual", seller=seller, buyer=buyer, energy_wh=energy_wh,
        price_micro=price_micro, status=Status.COUNTED, offer_hash="", expires_ms=0,
    )  # fmt: skip


@given(STREET, st.integers(0, 10**7))
def test_money_sums_to_zero_and_nobodys_bill_is_worse_than_without_the_round(
    street: list[tuple[int, tuple[int, int]]], rotation: int
) -> None:
    homes = {f"home {n}": each for n, each in enumerate(street)}
    trades = residual_trades({name: said(wh, tariff) for name, (wh, tariff) in homes.items()}, rotation, LIMIT_WH)
    contracts = [contract(n, t.seller, t.buyer, t.energy_wh, t.price_micro) for n, t in enumerate(trades)]
    paid = Decimal(0)
    for name, (wh, (import_micro, export_micro)) in homes.items():
        mine = [c for c in contracts if name in (c.buyer, c.seller)]
        bill = settle_slot(name, mine, net_wh=wh, import_micro=import_micro, export_micro=export_micro)
        assert bill.total <= tariff_cost(wh, import_micro, export_micro)
        assert abs(bill.imbalance_wh) <= abs(wh)
        assert bill.imbalance_wh * wh >= 0
        paid += bill.contracts
    assert paid == 0


@given(STREET, st.integers(0, 10**7))
def test_as_much_is_matched_as_the_short_side_allows(street: list[tuple[int, tuple[int, int]]], rotation: int) -> None:
    tariff = (300_000, 60_000)
    wishes = {f"home {n}": wh for n, (wh, _) in enumerate(street)}
    trades = residual_trades({name: said(wh, tariff) for name, wh in wishes.items()}, rotation, LIMIT_WH)
    bought, sold = Counter[str](), Counter[str]()
    for trade in trades:
        bought[trade.buyer] += trade.energy_wh
        sold[trade.seller] += trade.energy_wh
    short_wh, left_wh = sum(w for w in wishes.values() if w > 0), -sum(w for w in wishes.values() if w < 0)
    assert bought.total() == sold.total() == min(short_wh, left_wh)


@pytest.mark.parametrize(
    ("import_micro", "export_micro", "price"),
    [(300_000, 60_000, 180_000), (300_001, 60_000, 180_000), (300_003, 60_000, 180_002), (80_000, 80_000, 80_000),
     (80_000, 80_001, None), (-10, -30, -20)],
)  # fmt: skip
def test_the_price_is_half_way_and_only_where_both_gain(
    import_micro: int, export_micro: int, price: int | None
) -> None:
    assert residual_price(import_micro, export_micro) == price


def test_a_pair_that_cannot_gain_does_not_trade_and_the_others_do() -> None:
    dear = Remainder(energy_wh=-100, price_micro=400_000)
    plain = Remainder(energy_wh=-100, price_micro=60_000)
    short = Remainder(energy_wh=200, price_micro=300_000)
    (trade,) = residual_trades({"anna": dear, "bert": plain, "carl": short}, 0, LIMIT_WH)
    assert (trade.seller, trade.buyer, trade.energy_wh, trade.price_micro) == ("bert", "carl", 100, 180_000)


def test_more_than_a_member_may_trade_is_not_believed() -> None:
    shorts = {"anna": Remainder(energy_wh=10**7, price_micro=1), "bert": Remainder(energy_wh=LIMIT_WH, price_micro=1)}
    trades = residual_trades(shorts | {"carl": Remainder(energy_wh=-1000, price_micro=0)}, 0, LIMIT_WH)
    assert sorted(trade.energy_wh for trade in trades) == [500, 500]


@pytest.mark.parametrize(
    ("net_wh", "traded_wh", "doubtful_wh", "expected"),
    [
        (500, 400, 0, 100),
        (300, 400, 0, -100),
        (-400, -400, 400, 0),  # counted: nothing left over; void: 400 to sell. Neither may be traded
        (-500, -400, 400, -100),
        (700, 0, 100, 600),
        (50, 0, 100, 0),
        (-50, 0, 0, -50),
    ],
)
def test_what_hangs_on_a_partners_word_is_not_traded_again(
    net_wh: int, traded_wh: int, doubtful_wh: int, expected: int
) -> None:
    assert remainder_wh(net_wh, traded_wh, doubtful_wh) == expected


@given(
    st.integers(-5000, 5000), st.integers(-5000, 5000), st.lists(st.integers(1, 2000), max_size=4), TARIFF, st.data()
)
def test_doubtful_sales_never_turn_the_round_into_a_loss(
    net_wh: int, traded_wh: int, doubtful: list[int], tariff: tuple[int, int], data: st.DataObject
) -> None:
    """Whatever part of them counts in the end, what was traded of the remainder was really there or really missing."""
    import_micro, export_micro = tariff
    wh = remainder_wh(net_wh, traded_wh, sum(doubtful))
    void = data.draw(st.lists(st.sampled_from(range(len(doubtful))), unique=True)) if doubtful else []
    rest_wh = net_wh - traded_wh - sum(doubtful[n] for n in void)
    price = data.draw(st.integers(export_micro, import_micro))
    without = tariff_cost(rest_wh, import_micro, export_micro)
    assert money(wh, price) + tariff_cost(rest_wh - wh, import_micro, export_micro) <= without
