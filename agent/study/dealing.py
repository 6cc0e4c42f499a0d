"""From final bids to contracts without messages: what buyers would offer and sellers accept, slot by slot.

The same steps as `coordinator.trader`: every home matches the bids as it saw them, the buyer offers at the price its
own view and tariff give, the seller refuses below its floor and what exceeds its own bid. Where every home saw the same
bids, all offers fit; where messages were lost, some do not.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from coordinator.charter import Rules
from coordinator.matching import Match
from coordinator.negotiation import Finished
from coordinator.pricing import floor_price


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """One contract of the horizon; `index` counts its slots from 0."""

    index: int
    seller: str
    buyer: str
    energy_wh: int
    price_micro: int


Tariffs = Mapping[str, Sequence[tuple[int, int]]]
"""Import and export price of every home and slot of the horizon, in micro-units per kWh."""


def deal(views: Mapping[str, Finished], tariffs: Tariffs, rules: Rules) -> list[Trade]:
    """Return the contracts of the whole horizon.

    Args:
        views: By home. Homes that saw the same may share one object, which is then matched once.
    """
    trades = []
    for index in range(len(next(iter(tariffs.values())))):
        trades += _deal_slot(index, views, tariffs, rules)
    return trades


def _deal_slot(index: int, views: Mapping[str, Finished], tariffs: Tariffs, rules: Rules) -> list[Trade]:
    matched: dict[int, dict[str, list[Match]]] = {}
    open_wh = {home: max(0, -view.bids_wh[home][index]) for home, view in views.items()}
    trades = []
    for buyer, view in views.items():
        if view.bids_wh[buyer][index] <= 0:
            continue
        if id(view) not in matched:
            matched[id(view)] = _by_buyer(view.matched(index))
        price = _price(index, buyer, view, tariffs, rules)
        for pair in matched[id(view)].get(buyer, ()):
            floor = _floor(index, pair.seller, views[pair.seller], tariffs, rules)
            if price >= floor and pair.energy_wh <= open_wh[pair.seller]:
                open_wh[pair.seller] -= pair.energy_wh
                trades.append(
                    Trade(index=index, seller=pair.seller, buyer=buyer, energy_wh=pair.energy_wh, price_micro=price)
                )
    return trades


def _by_buyer(pairs: Sequence[Match]) -> dict[str, list[Match]]:
    found: dict[str, list[Match]] = {}
    for pair in pairs:
        found.setdefault(pair.buyer, []).append(pair)
    return found


def _price(index: int, home: str, view: Finished, tariffs: Tariffs, rules: Rules) -> int:
    return view.contract_price(rules.price_rule, tariffs[home][index], index)


def _floor(index: int, seller: str, view: Finished, tariffs: Tariffs, rules: Rules) -> int:
    price_micro = _price(index, seller, view, tariffs, rules)
    return floor_price(rules, price_micro=price_micro, export_micro=tariffs[seller][index][1])


def net_wh(trades: Iterable[Trade], home: str, slots: int) -> list[int]:
    """Return one home's net trade per slot, whole Wh, + bought."""
    net = [0] * slots
    for trade in trades:
        if home in (trade.buyer, trade.seller):
            net[trade.index] += trade.energy_wh if trade.buyer == home else -trade.energy_wh
    return net


def paid(trades: Iterable[Trade], home: str) -> float:
    """Return what one home pays for its contracts, less what it gets for them, in currency."""
    micro = 0
    for trade in trades:
        if home in (trade.buyer, trade.seller):
            micro += trade.energy_wh * trade.price_micro * (1 if trade.buyer == home else -1)
    return micro / 1e9
