"""Who trades with whom: balanced to the Wh, fair to the Wh, the same on every home."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.matching import Match, match, scale_down

HOMES = st.text("abcdefghij234567", min_size=3, max_size=3)
BIDS = st.dictionaries(HOMES, st.integers(-(10**6), 10**6), max_size=14)
SMALL = st.dictionaries(HOMES, st.integers(-5, 5), max_size=14)


def traded(matches: list[Match]) -> tuple[Counter[str], Counter[str]]:
    bought, sold = Counter[str](), Counter[str]()
    for m in matches:
        bought[m.buyer] += m.energy_wh
        sold[m.seller] += m.energy_wh
    return bought, sold


@given(BIDS | SMALL, st.integers(-(10**6), 10**6), st.dictionaries(HOMES, st.integers(0, 10**4), max_size=14))
def test_it_balances_to_the_wh_and_nobody_trades_more_than_it_bid(
    bids: dict[str, int], rotation: int, moves: dict[str, int]
) -> None:
    matches = match(bids, rotation, moves)
    bought, sold = traded(matches)
    supply = -sum(e for e in bids.values() if e < 0)
    demand = sum(e for e in bids.values() if e > 0)
    assert bought.total() == sold.total() == min(supply, demand)
    assert all(m.energy_wh > 0 and m.buyer != m.seller for m in matches)
    assert all(bought[home] <= max(bids[home], 0) for home in bought)
    assert all(sold[home] <= max(-bids[home], 0) for home in sold)


@given(BIDS | SMALL, st.integers(0, 10**6))
def test_the_short_side_gets_all_and_the_long_side_its_share_to_the_wh(bids: dict[str, int], rotation: int) -> None:
    bought, sold = traded(match(bids, rotation))
    buys = {home: e for home, e in bids.items() if e > 0}
    sells = {home: -e for home, e in bids.items() if e < 0}
    total = min(sum(buys.values()), sum(sells.values()))
    for wishes, got in ((buys, bought), (sells, sold)):
        wished = sum(wishes.values())
        for home, wish in wishes.items():
            assert abs(got[home] * wished - wish * total) < wished  # within 1 Wh of the exact share
            assert wished > total or got[home] == wish


@given(BIDS | SMALL, st.integers(0, 10**6), st.randoms(use_true_random=False))
def test_the_order_in_which_bids_came_does_not_matter(bids: dict[str, int], rotation: int, r: random.Random) -> None:
    shuffled = list(bids.items())
    r.shuffle(shuffled)
    assert match(dict(shuffled), rotation) == match(bids, rotation)


@given(BIDS | SMALL, st.integers(0, 10**6))
def test_a_pair_meets_at_most_once_and_there_are_few_pairs(bids: dict[str, int], rotation: int) -> None:
    pairs = [(m.seller, m.buyer) for m in match(bids, rotation)]
    assert len(set(pairs)) == len(pairs)
    assert len(pairs) < max(len(bids), 1)


@given(st.dictionaries(HOMES, st.integers(1, 10**6), max_size=14), st.integers(0, 10**7), st.integers(0, 10**6))
def test_scaling_down_shares_out_all_there_is(wishes: dict[str, int], total: int, rotation: int) -> None:
    shares = scale_down(wishes, total, rotation)
    assert sum(shares.values()) == min(total, sum(wishes.values()))
    assert all(0 < shares[home] <= wishes[home] for home in shares)


@pytest.mark.parametrize(
    "bids", [{}, {"a": 0, "b": 0}, {"a": 5, "b": 7}, {"a": -5, "b": -7}, {"a": 5}, {"a": 0, "b": -3}]
)
def test_without_two_sides_nobody_trades(bids: dict[str, int]) -> None:
    assert match(bids, 0) == []


def test_an_example_by_hand() -> None:
    bids = {"anna": -300, "bert": 100, "carl": 300, "dora": -50, "emil": 0}
    # 350 Wh for wishes of 100 and 300: 87.5 and 262.5; the odd Wh goes to the first of the rotated order
    assert match(bids, 0) == [
        Match(seller="anna", buyer="bert", energy_wh=88),
        Match(seller="anna", buyer="carl", energy_wh=212),
        Match(seller="dora", buyer="carl", energy_wh=50),
    ]
    assert match(bids, 1) == [
        Match(seller="dora", buyer="carl", energy_wh=50),
        Match(seller="anna", buyer="carl", energy_wh=213),
        Match(seller="anna", buyer="bert", energy_wh=87),
    ]


@pytest.mark.parametrize(("moved_wh", "bought_wh"), [(1000, 20), (25, 20), (20, 20), (10, 45), (0, 60)])
def test_whose_bid_still_moved_gives_way_first_by_up_to_four_times_as_far(moved_wh: int, bought_wh: int) -> None:
    bids = {"sun": -120, "firm": 100, "moved": 100}
    bought, _ = traded(match(bids, 0, {"moved": moved_wh, "sun": 7}))
    assert bought == {"firm": 120 - bought_wh, "moved": bought_wh}


def test_where_all_moved_alike_the_long_side_is_served_pro_rata() -> None:
    bids = {"sun": -150, "anna": 100, "bert": 200}
    assert match(bids, 0, {"anna": 50, "bert": 100}) == match(bids, 0)


def test_luck_goes_round() -> None:
    """Of three equal buyers and 100 Wh one gets the odd Wh, another one in the next slot."""
    bids = {"seller": -100, "anna": 50, "bert": 50, "carl": 50}
    lucky = Counter(m.buyer for slot in range(6) for m in match(bids, slot) if m.energy_wh == 34)
    assert lucky == {"anna": 2, "bert": 2, "carl": 2}
