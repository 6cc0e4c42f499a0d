"""From bids to contracts: what one view agrees on balances; where views differ nobody sells more than it bid."""

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from agent.study.dealing import Trade, deal, net_wh, paid
from coordinator.charter import PriceRule, Rules
from coordinator.negotiation import Finished
from coordinator.pricing import TICK_MICRO
from coordinator.slots import Slot

FIRST = Slot(1_700_000_000 // 3600 * 3600, 3600)
HOMES = ("anna", "ben", "carl", "dora")
BIDS = st.fixed_dictionaries({home: st.lists(st.integers(-2000, 2000), min_size=3, max_size=3) for home in HOMES})


def seen(prices_micro: Sequence[int], bids_wh: Mapping[str, Sequence[int]]) -> Finished:
    return Finished(
        slot=FIRST,
        rounds=9,
        converged=True,
        prices_micro=tuple(prices_micro),
        bids_wh={home: tuple(bid) for home, bid in bids_wh.items()},
    )


def asked(price_micro: int) -> int:
    """Return what the marginal rule makes of a negotiated price in whole ticks."""
    return price_micro + TICK_MICRO


def dealt(
    views: Mapping[str, Finished], *, rule: PriceRule = "marginal", tariff: tuple[int, int] = (300, 60)
) -> list[Trade]:
    rows = [(1000 * tariff[0], 1000 * tariff[1])] * len(next(iter(views.values())).prices_micro)
    return deal(views, dict.fromkeys(views, rows), Rules.for_slot(3600, 24, price_rule=rule))


@given(BIDS)
def test_one_view_matches_the_short_side_whole_at_the_negotiated_price(bids: dict[str, list[int]]) -> None:
    prices = [100_000, 180_000, 299_000]
    trades = dealt(dict.fromkeys(HOMES, seen(prices, bids)))
    for index, column in enumerate(zip(*bids.values(), strict=True)):
        mine = [trade for trade in trades if trade.index == index]
        demand, supply = (sum(max(sign * wh, 0) for wh in column) for sign in (1, -1))
        assert sum(trade.energy_wh for trade in mine) == min(demand, supply)
        assert {trade.price_micro for trade in mine} <= {asked(prices[index])}


@given(BIDS, BIDS, st.sampled_from(["marginal", "midpoint", "sdr"]))
def test_homes_that_saw_different_bids_never_trade_beyond_their_own(
    ones: dict[str, list[int]], others: dict[str, list[int]], rule: PriceRule
) -> None:
    # everybody knows the own bid; of the others anna and ben saw what carl and dora did not
    views = {
        home: seen([180_000] * 3, {**(ones if home in ("anna", "ben") else others), home: ones[home]}) for home in HOMES
    }
    trades = dealt(views, rule=rule)
    assert sum(paid(trades, home) for home in HOMES) < 1e-9
    for home in HOMES:
        for net, bid in zip(net_wh(trades, home, 3), ones[home], strict=True):
            assert 0 <= net <= max(bid, 0) or 0 >= net >= min(bid, 0)


def test_a_seller_refuses_a_price_below_what_the_grid_pays_it() -> None:
    view = seen([50_000], {"anna": [100], "ben": [-100]})
    tariffs = {"anna": [(300_000, 20_000)], "ben": [(300_000, 60_000)]}
    rules = Rules.for_slot(3600, 24, price_rule="marginal")
    assert deal({"anna": view, "ben": view}, tariffs, rules) == []
    tariffs["ben"] = [(300_000, 50_500)]
    assert deal({"anna": view, "ben": view}, tariffs, rules) == [
        Trade(index=0, seller="ben", buyer="anna", energy_wh=100, price_micro=asked(50_000))
    ]


def test_a_buyer_whose_view_lags_by_one_price_step_is_served_and_by_more_is_not() -> None:
    bids = {"anna": [100], "ben": [-100]}
    step = Rules.for_slot(3600, 24).price_change_micro
    for lag, count in ((step, 1), (step + TICK_MICRO, 0)):
        views = {"anna": seen([180_000 - lag], bids), "ben": seen([180_000], bids)}
        assert len(dealt(views)) == count


def test_an_offer_over_what_the_seller_still_has_is_refused_whole() -> None:
    views = {
        "anna": seen([180_000], {"anna": [80], "ben": [-100]}),
        "ben": seen([180_000], {"ben": [-100]}),
        "carl": seen([180_000], {"carl": [70], "ben": [-100]}),
    }
    assert [(trade.buyer, trade.energy_wh) for trade in dealt(views)] == [("anna", 80)]


def test_money_and_energy_by_home() -> None:
    trades = [
        Trade(index=0, seller="ben", buyer="anna", energy_wh=100, price_micro=200_000),
        Trade(index=1, seller="anna", buyer="ben", energy_wh=50, price_micro=100_000),
    ]
    assert net_wh(trades, "anna", 2) == [100, -50]
    assert paid(trades, "anna") == 0.015
    assert paid(trades, "ben") == -0.015
    assert paid(trades, "carl") == 0
