"""The market that others run: every slot by itself, one uniform price, after every home has planned alone.

It is what trading is compared with, never a part of a home. Buyers name their import price, sellers their export price;
the auction trades the most that leaves nobody outside its own limit, dearest need and cheapest surplus first. Everybody
pays and gets the same price: the middle of all prices at which exactly this volume would trade.

    price
      | buyers' limits, falling
      |-----.
      |     '----.
      |..........|........... uniform price
      |      .---'
      |------'    sellers' limits, rising
      +----------+------------ energy
              volume
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from coordinator.matching import scale_down
from coordinator.quantities import round_ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a home would trade in one slot, at its limit or better.

    Args:
        energy_wh: + wants to buy, - wants to sell.
        limit_micro: The highest price a buyer pays, the lowest a seller takes, in micro-units per kWh.
    """

    energy_wh: int
    limit_micro: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearing:
    """The result of one slot.

    Args:
        price_micro: The same for all; None when nothing trades.
        trades_wh: Net trade of each home that trades, + bought; sums to zero.
    """

    price_micro: int | None
    trades_wh: Mapping[str, int]


def clear(orders: Mapping[str, Order], rotation: int = 0) -> Clearing:
    """Clear one slot at a uniform price.

    Where the last step of a side is only partly needed, it is shared pro rata in whole Wh.

    Args:
        rotation: Turns the luck of rounding from slot to slot, as `coordinator.matching` does.
    """
    buyers = {home: order for home, order in orders.items() if order.energy_wh > 0}
    sellers = {home: order for home, order in orders.items() if order.energy_wh < 0}
    volume_wh = _volume(buyers.values(), sellers.values())
    if volume_wh == 0:
        return Clearing(price_micro=None, trades_wh={})
    bought, last_bid, next_bid = _fill(buyers, volume_wh, rotation, falling=True)
    sold, last_ask, next_ask = _fill(sellers, volume_wh, rotation, falling=False)
    low = last_ask if next_bid is None else max(last_ask, next_bid)
    high = last_bid if next_ask is None else min(last_bid, next_ask)
    return Clearing(
        price_micro=round_ratio(low + high, 2),
        trades_wh={**bought, **{home: -energy_wh for home, energy_wh in sold.items()}},
    )


def _volume(buyers: Iterable[Order], sellers: Iterable[Order]) -> int:
    """Return the most energy that can change hands at one price."""
    demand, supply = list(buyers), list(sellers)
    return max(
        (
            min(
                sum(order.energy_wh for order in demand if order.limit_micro >= price),
                -sum(order.energy_wh for order in supply if order.limit_micro <= price),
            )
            for price in {order.limit_micro for order in (*demand, *supply)}
        ),
        default=0,
    )


def _fill(
    orders: Mapping[str, Order], volume_wh: int, rotation: int, *, falling: bool
) -> tuple[dict[str, int], int, int | None]:
    """Serve orders step by step until `volume_wh` is reached.

    Returns:
        Energy by home, the limit of the last one served, and the best limit with something left unserved.
    """
    filled: dict[str, int] = {}
    left_wh, last = volume_wh, 0
    for limit in sorted({order.limit_micro for order in orders.values()}, reverse=falling):
        if left_wh == 0:
            return filled, last, limit
        step = {home: abs(order.energy_wh) for home, order in orders.items() if order.limit_micro == limit}
        served_wh = min(left_wh, sum(step.values()))
        filled |= scale_down(step, served_wh, rotation)
        left_wh, last = left_wh - served_wh, limit
        if served_wh < sum(step.values()):
            return filled, last, limit
    return filled, last, None
