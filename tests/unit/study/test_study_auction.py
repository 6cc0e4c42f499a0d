"""The uniform-price auction: everybody within the own limit, everything balanced, nothing worth trading left over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.study.auction import Clearing, Order, clear

ORDERS = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=2),
    st.builds(Order, energy_wh=st.integers(-3000, 3000), limit_micro=st.integers(0, 9).map(lambda n: n * 50_000)),
    max_size=10,
)


def book(**orders: tuple[int, int]) -> dict[str, Order]:
    return {home: Order(energy_wh=energy_wh, limit_micro=1000 * limit) for home, (energy_wh, limit) in orders.items()}


def test_one_pair_trades_the_smaller_wish_in_the_middle() -> None:
    got = clear(book(anna=(500, 300), ben=(-200, 60)))
    assert got.trades_wh == {"anna": 200, "ben": -200}
    # anna is left wanting: any price up to hers is one at which this volume trades, and only hers keeps it at that
    assert got.price_micro == 300_000


@pytest.mark.parametrize(
    ("orders", "price", "trades"),
    [
        ({"a": (100, 300), "s": (-100, 60)}, 180, {"a": 100, "s": -100}),
        ({"a": (100, 300), "s": (-400, 60)}, 60, {"a": 100, "s": -100}),
        ({"a": (100, 50), "s": (-100, 60)}, None, {}),
        ({"a": (100, 300), "b": (100, 200), "s": (-100, 60)}, 250, {"a": 100, "s": -100}),
        ({"a": (100, 300), "s": (-100, 60), "t": (-100, 90)}, 75, {"a": 100, "s": -100}),
        ({"a": (100, 300), "b": (100, 70), "s": (-100, 60), "t": (-100, 90)}, 80, {"a": 100, "s": -100}),
        ({"a": (30, 300), "b": (90, 300), "s": (-40, 60)}, 300, {"a": 10, "b": 30, "s": -40}),
        ({}, None, {}),
        ({"a": (0, 300), "s": (-5, 60)}, None, {}),
    ],
)
def test_books(orders: dict[str, tuple[int, int]], price: int | None, trades: dict[str, int]) -> None:
    expected = Clearing(price_micro=None if price is None else 1000 * price, trades_wh=trades)
    assert clear(book(**orders)) == expected


@given(ORDERS, st.integers(0, 50))
def test_trades_balance_and_stay_within_wish_and_limit(orders: dict[str, Order], rotation: int) -> None:
    got = clear(orders, rotation)
    assert sum(got.trades_wh.values()) == 0
    assert (got.price_micro is None) == (not got.trades_wh)
    for home, energy_wh in got.trades_wh.items():
        order = orders[home]
        assert 0 < energy_wh <= order.energy_wh or 0 > energy_wh >= order.energy_wh
        assert got.price_micro is not None
        assert order.limit_micro >= got.price_micro if energy_wh > 0 else order.limit_micro <= got.price_micro


@given(ORDERS, st.integers(0, 50))
def test_no_buyer_and_seller_are_left_who_would_gain(orders: dict[str, Order], rotation: int) -> None:
    left = {home: order.energy_wh - clear(orders, rotation).trades_wh.get(home, 0) for home, order in orders.items()}
    highest = max((orders[home].limit_micro for home, wh in left.items() if wh > 0), default=-1)
    lowest = min((orders[home].limit_micro for home, wh in left.items() if wh < 0), default=10**9)
    assert highest < lowest
