"""The price of a contract by the charter's rule, in whole micro-units per kWh."""

from collections.abc import Mapping
from typing import assert_never

from coordinator.charter import PriceRule, Rules
from coordinator.quantities import round_ratio

TICK_MICRO = 500
"""The negotiated price is rounded up to the second next tick. Where it settles it is the limit of some home, give or
take what rounds and whole Wh leave open, and a seller whose limit it missed by a hair would have to refuse. A buyer
never pays more than its own limit for it.
"""


def contract_price(
    rule: PriceRule, *, marginal_micro: int, bids_wh: Mapping[str, int], import_micro: int, export_micro: int
) -> int:
    """Return the price a buyer offers for the slot, within its own tariff.

    Args:
        rule: `marginal`: the negotiated price, a tick and its part of one above.
            `midpoint`: half way between the buyer's export and import price.
            `sdr`: falls from import to export price as supply over demand rises (Liu et al., "Energy-sharing model with
            price-based demand response for microgrids of peer-to-peer prosumers", IEEE Trans. Power Syst. 2017).
        marginal_micro: The negotiated price of the slot.
        bids_wh: The final bids of all homes; only `sdr` looks at them.
        import_micro: The buyer's grid tariff; a home never buys above it.
        export_micro: The buyer's own feed-in price.
    """
    match rule:
        case "marginal":
            price_micro = (-(-marginal_micro // TICK_MICRO) + 1) * TICK_MICRO
        case "midpoint":
            price_micro = round_ratio(import_micro + export_micro, 2)
        case "sdr":
            supply_wh = -sum(e for e in bids_wh.values() if e < 0)
            demand_wh = sum(e for e in bids_wh.values() if e > 0)
            if supply_wh >= demand_wh:
                price_micro = export_micro
            else:
                numerator = import_micro * export_micro * demand_wh
                denominator = (import_micro - export_micro) * supply_wh + export_micro * demand_wh
                price_micro = round_ratio(numerator, denominator) if denominator else export_micro
        case _:
            assert_never(rule)
    return max(export_micro, min(import_micro, price_micro))


def floor_price(rules: Rules, *, price_micro: int, export_micro: int) -> int:
    """Return the least a seller takes, in micro-units per kWh; below its own feed-in price that is nothing.

    Under `marginal`, a buyer whose view of the negotiated price lags by one step is still served.

    Args:
        price_micro: What the seller itself reckons the contract's price to be.
        export_micro: The seller's own feed-in price.
    """
    if rules.price_rule != "marginal":
        return export_micro
    return max(export_micro, price_micro - rules.price_change_micro)
