"""A community's life on a virtual clock, one strategy at a time: plan, trade, then the truth arrives, then the money.

At each slot the homes know the meter up to the slot before and their batteries' charge. The decisions are the product's
own: programs, negotiation, matching, prices and what a home keeps of a match; only messages, signatures and files are
left out.
"""

from collections.abc import Iterable, Iterator
from itertools import count
from typing import Literal, Protocol

import numpy as np

from agent.planning.problem import Floats
from agent.study.auction import Order, clear
from agent.study.books import contracts_and_rest
from agent.study.foresight import Expectation
from agent.study.lives import Ints
from agent.study.passing import Deal, Lived
from agent.study.strategies import Central, Homes, Planned, home_id
from agent.study.street import Street
from agent.study.within import Moment, wanted_w
from coordinator.matching import match
from coordinator.quantities import MICRO
from coordinator.residual import Remainder, residual_trades

Strategy = Literal["no_battery", "self_consumption", "alone", "auction", "traded", "central", "perfect"]


class _Planning(Protocol):
    def plan(self, t: int, stored_wh: Floats, expected: Expectation) -> Planned: ...


def live(street: Street, strategy: Strategy, expected: Iterable[Expectation]) -> Iterator[Lived]:
    """Yield a period's slots.

    Args:
        expected: What the homes expect at each slot; `perfect` only is what it is when this is the truth.
    """
    planning, stored_wh = _planning(street, strategy), street.start_wh
    for t, foreseen in zip(count(street.offset), expected, strict=False):
        net_w = street.load_w[:, t] - street.pv_w[:, t]
        if planning is None:
            planned = None
            wanted = net_w if strategy == "self_consumption" else np.zeros_like(net_w)
        else:
            planned = planning.plan(t, stored_wh, foreseen)
            wanted = _answer(street, strategy, t, stored_wh, planned, foreseen)
        battery_w, stored_wh = street.fleet.run(stored_wh, wanted, street.hours)
        net_wh = np.rint((net_w - battery_w) * street.hours).astype(np.int64)
        deals = planned.deals if planned else ()
        yield Lived(
            slot=street.slot(t),
            net_wh=net_wh,
            battery_wh=battery_w * street.hours,
            stored_wh=stored_wh,
            deals=(*deals, *_afterwards(street, strategy, t, net_wh, planned)),
            rounds=planned.rounds if planned else 0,
        )


def _planning(street: Street, strategy: Strategy) -> _Planning | None:
    if strategy in ("no_battery", "self_consumption"):
        return None
    if strategy in ("central", "perfect"):
        return Central(street)
    return Homes(street, trading=strategy == "traded")


def _answer(
    street: Street, strategy: Strategy, t: int, stored_wh: Floats, planned: Planned, foreseen: Expectation
) -> Floats:
    """Return what the batteries do about the slot's true load and sun [W]."""
    moment = Moment(
        planned_w=planned.battery_w,
        grid_w=planned.grid_w,
        deviation_w=street.load_w[:, t] - street.pv_w[:, t] - (foreseen.load_w[:, 0] - foreseen.pv_w[:, 0]),
        value_per_kwh=planned.value_per_kwh,
        import_per_kwh=street.import_micro[:, t] / MICRO,
        export_per_kwh=street.export_micro[:, t] / MICRO,
    )
    options = street.options
    shared = strategy not in ("alone", "auction")
    return wanted_w(moment, street.fleet, stored_wh, street.hours, options.wear_per_kwh, shared=shared)


def _afterwards(street: Street, strategy: Strategy, t: int, net_wh: Ints, planned: Planned | None) -> list[Deal]:
    """Return what is traded once the meters are read."""
    _, off_wh = contracts_and_rest(planned.deals if planned else (), net_wh)
    off = {home_id(i): wh for i, wh in enumerate(off_wh.tolist()) if wh}
    if strategy == "auction":
        return _auction(street, t, off)
    if strategy in ("central", "perfect") or (strategy == "traded" and street.options.rules.residual_round):
        return _residual(street, t, off)
    return []


def _grid_price(street: Street, t: int, home: str, energy_wh: int) -> int:
    """Return what the grid takes for what a home is short of (+), or pays for what it has left over (-)."""
    return int((street.import_micro if energy_wh > 0 else street.export_micro)[int(home), t])


def _residual(street: Street, t: int, off_wh: dict[str, int]) -> list[Deal]:
    remainders = {
        home: Remainder(energy_wh=wh, price_micro=_grid_price(street, t, home, wh)) for home, wh in off_wh.items()
    }
    return [
        Deal(
            seller=int(trade.seller),
            buyer=int(trade.buyer),
            energy_wh=trade.energy_wh,
            price_micro=trade.price_micro,
            kind="residual",
        )
        for trade in residual_trades(remainders, street.number(t), street.options.rules.power_limit_wh)
    ]


def _auction(street: Street, t: int, off_wh: dict[str, int]) -> list[Deal]:
    orders = {home: Order(energy_wh=wh, limit_micro=_grid_price(street, t, home, wh)) for home, wh in off_wh.items()}
    cleared = clear(orders, street.number(t))
    if cleared.price_micro is None:
        return []
    return [
        Deal(
            seller=int(pair.seller),
            buyer=int(pair.buyer),
            energy_wh=pair.energy_wh,
            price_micro=cleared.price_micro,
            kind="auction",
        )
        for pair in match(cleared.trades_wh, street.number(t))
    ]
