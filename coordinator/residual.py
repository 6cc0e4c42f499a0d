"""The residual round: after a slot, neighbours trade what their meters show beyond their contracts. Pure.

Forecasts err, and the errors of neighbours partly cancel: one home has left over what another is short of. Without this
round the first sells to the grid for little and the second buys from it for more. In it every home says how its meter
differs from its contracts and what the grid would take or pay for it; the long side is scaled down pro rata, and each
pair trades at the midpoint of the buyer's import and the seller's export price.

A home that lies hurts only itself. Contracts are settled against its own meter, so one that sells more than it has left
over buys the difference at its own import price, and one that buys more than it is short of sells the difference at its
own export price: both worse than the truth. A false price moves a pair's price at most to the other's own limit, where
the other is as well off as without the round. Energy that is claimed and then not sold costs the others the gain of the
round, which is nothing they had before; the charter's largest trade caps the claim.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from coordinator.matching import match
from coordinator.quantities import round_ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Remainder:
    """What a home is short of (+) or has left over (-), Wh, and the grid's price for it, micro-units per kWh."""

    energy_wh: int
    price_micro: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualTrade:
    """A pair that the residual round brings together; `energy_wh` > 0."""

    seller: str
    buyer: str
    energy_wh: int
    price_micro: int


def remainder_wh(net_wh: int, traded_wh: int, doubtful_wh: int = 0) -> int:
    """Return what a home can trade without loss, whatever becomes of sales whose buyer's last word is missing.

    Args:
        net_wh: Metered import minus export.
        traded_wh: Contracts bought minus sold, the doubtful ones included.
        doubtful_wh: Sold, and still to be counted or void.
    """
    if_counted_wh = net_wh - traded_wh
    if_void_wh = if_counted_wh - doubtful_wh
    return max(if_void_wh, 0) or min(if_counted_wh, 0)


def residual_price(import_micro: int, export_micro: int) -> int | None:
    """Return the midpoint of the buyer's import and the seller's export price, half even; None if nobody gains."""
    return round_ratio(import_micro + export_micro, 2) if export_micro <= import_micro else None


def residual_trades(remainders: Mapping[str, Remainder], rotation: int, limit_wh: int) -> list[ResidualTrade]:
    """Match what homes are short of with what others have left over.

    Args:
        remainders: By home id.
        rotation: The slot's number, as in `match`.
        limit_wh: Largest trade of a member; more is not believed.
    """
    wishes_wh = {home: max(-limit_wh, min(limit_wh, r.energy_wh)) for home, r in remainders.items()}
    trades = []
    for pair in match(wishes_wh, rotation):
        price_micro = residual_price(remainders[pair.buyer].price_micro, remainders[pair.seller].price_micro)
        if price_micro is not None:
            trades.append(
                ResidualTrade(seller=pair.seller, buyer=pair.buyer, energy_wh=pair.energy_wh, price_micro=price_micro)
            )
    return trades
