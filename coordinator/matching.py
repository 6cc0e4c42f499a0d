"""Who trades with whom: a pure function of the final bids that every home computes alike.

Advisory only: a different view costs efficiency, never safety, because nothing binds but a countersigned contract.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One pair of the matching; `energy_wh` > 0."""

    seller: str
    buyer: str
    energy_wh: int


def _rotated(ids: Sequence[str], rotation: int) -> list[str]:
    ordered = sorted(ids)
    if not ordered:
        return []
    shift = rotation % len(ordered)
    return ordered[shift:] + ordered[:shift]


def scale_down(wishes_wh: Mapping[str, int], total_wh: int, rotation: int) -> dict[str, int]:
    """Share `total_wh` among positive wishes pro rata, in whole Wh, nobody above its wish.

    What rounding leaves over goes to the largest remainders; ties go by the rotated order of the ids.

    Args:
        wishes_wh: Positive Wh by home.
        total_wh: At most the sum of the wishes.
        rotation: Any integer all homes agree on (the slot's number), so that luck goes round.
    """
    wished_wh = sum(wishes_wh.values())
    if wished_wh <= total_wh:
        return dict(wishes_wh)
    order = _rotated(list(wishes_wh), rotation)
    shares = {home: wishes_wh[home] * total_wh // wished_wh for home in order}
    left_wh = total_wh - sum(shares.values())
    by_remainder = sorted(order, key=lambda home: -(wishes_wh[home] * total_wh % wished_wh))
    for home in by_remainder[:left_wh]:
        shares[home] += 1
    return {home: share for home, share in shares.items() if share}


def match(bids_wh: Mapping[str, int], rotation: int) -> list[Match]:
    """Pair sellers with buyers.

    Args:
        bids_wh: Final bid of each home for the slot, whole Wh, + buys, - sells.
        rotation: The slot's number; turns the order of the ids so that nobody is always first.

    Returns:
        Pairs whose sums balance to the Wh; the long side is scaled down, nobody trades more than it bid.
    """
    buys = {home: energy_wh for home, energy_wh in bids_wh.items() if energy_wh > 0}
    sells = {home: -energy_wh for home, energy_wh in bids_wh.items() if energy_wh < 0}
    total_wh = min(sum(buys.values()), sum(sells.values()))
    if total_wh == 0:
        return []
    buys = scale_down(buys, total_wh, rotation)
    sells = scale_down(sells, total_wh, rotation)
    matches = []
    buyers = iter(_rotated(list(buys), rotation))
    buyer, need_wh = "", 0
    for seller in _rotated(list(sells), rotation):
        left_wh = sells[seller]
        while left_wh:
            if not need_wh:
                buyer = next(buyers)
                need_wh = buys[buyer]
            energy_wh = min(left_wh, need_wh)
            matches.append(Match(seller=seller, buyer=buyer, energy_wh=energy_wh))
            left_wh -= energy_wh
            need_wh -= energy_wh
    return matches
