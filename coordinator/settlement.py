"""Money after the slot: contracts at their prices, the rest at each home's own tariff. Exact, no rounding."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from coordinator.contracts import Contract, Status
from coordinator.quantities import money


def tariff_cost(net_wh: int, import_micro: int, export_micro: int) -> Decimal:
    """Return what the grid charges for a slot's net energy (+ imported): one tariff on the result of the slot."""
    return money(net_wh, import_micro if net_wh > 0 else export_micro)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotBill:
    """One home's money for one slot; positive costs. Energies in Wh."""

    bought_wh: int
    sold_wh: int
    contracts: Decimal
    imbalance_wh: int
    imbalance: Decimal

    @property
    def total(self) -> Decimal:
        return self.contracts + self.imbalance


def settle_slot(
    me: str, contracts: Iterable[Contract], *, net_wh: int, import_micro: int, export_micro: int
) -> SlotBill:
    """Settle one slot of one home.

    Args:
        me: The home's id.
        contracts: The slot's contracts; only counted ones matter.
        net_wh: Metered import minus export of the slot.
        import_micro: The home's own grid tariff in micro-units per kWh.
        export_micro: The home's own feed-in price.
    """
    bought_wh = sold_wh = 0
    paid = Decimal(0)
    for contract in contracts:
        if contract.status is not Status.COUNTED:
            continue
        amount = money(contract.energy_wh, contract.price_micro)
        if contract.buyer == me:
            bought_wh += contract.energy_wh
            paid += amount
        else:
            sold_wh += contract.energy_wh
            paid -= amount
    imbalance_wh = net_wh - (bought_wh - sold_wh)
    return SlotBill(
        bought_wh=bought_wh,
        sold_wh=sold_wh,
        contracts=paid,
        imbalance_wh=imbalance_wh,
        imbalance=tariff_cost(imbalance_wh, import_micro, export_micro),
    )
