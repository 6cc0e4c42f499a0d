"""The prices of a negotiated horizon, slot by slot."""

from dataclasses import dataclass

import numpy as np

from agent.planning.problem import Floats
from agent.study.market import Market
from coordinator.quantities import MICRO


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotPrices:
    """Prices per kWh, shape (n,).

    Args:
        grid_sells: Mean of the homes' import prices; on an island the most that a kWh can be worth.
        grid_buys: Mean of their export prices; on an island nothing.
        contract: Mean price of the slot's contracts by energy; NaN where there are none.
        traded_wh: Energy of the slot's contracts.
    """

    grid_sells: Floats
    grid_buys: Floats
    contract: Floats
    traded_wh: Floats


def slot_prices(market: Market) -> SlotPrices:
    n = market.rules.horizon_slots
    energy_wh, paid = np.zeros(n), np.zeros(n)
    for trade in market.trades:
        energy_wh[trade.index] += trade.energy_wh
        paid[trade.index] += trade.energy_wh * trade.price_micro / MICRO
    tariffs = np.mean(list(market.tariffs.values()), axis=0) / MICRO
    contract = np.full(n, np.nan)
    np.divide(paid, energy_wh, out=contract, where=energy_wh > 0)
    return SlotPrices(
        grid_sells=tariffs[:, 0],
        grid_buys=tariffs[:, 1],
        contract=contract,
        traded_wh=energy_wh,
    )
