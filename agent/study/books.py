"""Bills of a period from what was lived, as `docs/architecture.md` defines them. Exact until the last line."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from decimal import Decimal

import numpy as np

from agent.planning.problem import Floats, terminal_price
from agent.study.lives import Ints, Lives
from agent.study.passing import Deal, Lived
from coordinator.quantities import MICRO
from coordinator.slots import Slot

_WH_MICRO = Decimal(1000 * MICRO)


def terminal_prices(lives: Lives, first: Slot, slots: int) -> list[float]:
    """Return the price per kWh of energy left at the end, per home: the period's own, in every plan and every bill."""
    at = lives.index(first)
    return [terminal_price(life.import_micro[at : at + slots] / MICRO) for life in lives.homes]


@dataclass(slots=True, kw_only=True)
class Books:
    """Running sums of one strategy, arrays of shape (homes,); money in Wh times micro-units per kWh.

    Args:
        start_wh: Energy in the batteries when the period begins.
        efficiency_discharge: Of the batteries.
        terminal_per_kwh: Price of what is left in them at the end.

    Attributes:
        import_wh: Bought from the grid: not covered by trades.
        export_wh: Sold to the grid.
        bought_wh: From neighbours.
        sold_wh: To neighbours.
    """

    import_micro: Ints
    export_micro: Ints
    start_wh: Floats
    efficiency_discharge: Floats
    terminal_per_kwh: Floats
    stored_wh: Floats = field(init=False)
    paid: Ints = field(init=False)
    import_wh: Ints = field(init=False)
    export_wh: Ints = field(init=False)
    bought_wh: Ints = field(init=False)
    sold_wh: Ints = field(init=False)
    discharged_wh: Floats = field(init=False)
    slots: int = 0
    rounds: int = 0

    def __post_init__(self) -> None:
        self.stored_wh = self.start_wh
        homes = self.start_wh.shape[0]
        zeros = np.zeros((5, homes), dtype=np.int64)
        self.paid, self.import_wh, self.export_wh, self.bought_wh, self.sold_wh = zeros
        self.discharged_wh = np.zeros(homes)

    def add(self, lived: Lived, at: int) -> None:
        """Enter a slot; `at` is its place in the tariffs' arrays."""
        owed, off_wh = contracts_and_rest(lived.deals, lived.net_wh)
        tariff = np.where(off_wh > 0, self.import_micro[:, at], self.export_micro[:, at])
        self.paid += owed + off_wh * tariff
        self.import_wh += np.maximum(off_wh, 0)
        self.export_wh += np.maximum(-off_wh, 0)
        for deal in lived.deals:
            self.bought_wh[deal.buyer] += deal.energy_wh
            self.sold_wh[deal.seller] += deal.energy_wh
        self.discharged_wh += np.maximum(lived.battery_wh, 0.0)
        self.stored_wh = lived.stored_wh
        self.slots += 1
        self.rounds += lived.rounds

    def bills(self) -> list[Decimal]:
        """Return each home's bill: contracts, imbalance at the own tariff, minus the value of more energy stored."""
        left = (self.stored_wh - self.start_wh) * self.efficiency_discharge * self.terminal_per_kwh / 1000
        return [
            Decimal(paid) / _WH_MICRO - Decimal(str(round(value, 6)))
            for paid, value in zip(self.paid.tolist(), left.tolist(), strict=True)
        ]


def month_of(slot: Slot, timezone: tzinfo) -> str:
    """Return the local month in which a slot begins, as "2016-08"."""
    return f"{slot.start_at.astimezone(timezone):%Y-%m}"


def monthly_bills(closings: Mapping[str, Sequence[Decimal]]) -> dict[str, list[Decimal]]:
    """Return each home's bill by month from what the books showed at the end of each month, oldest first."""
    found: dict[str, list[Decimal]] = {}
    before: Sequence[Decimal] | None = None
    for month, bills in closings.items():
        found[month] = [now - then for now, then in zip(bills, before or [Decimal(0)] * len(bills), strict=True)]
        before = bills
    return found


def contracts_and_rest(deals: Iterable[Deal], net_wh: Ints) -> tuple[Ints, Ints]:
    """Return what each home owes for its trades, and the metered energy that no trade covers."""
    owed, off_wh = np.zeros_like(net_wh), net_wh.copy()
    for deal in deals:
        amount = deal.energy_wh * deal.price_micro
        owed[deal.buyer] += amount
        owed[deal.seller] -= amount
        off_wh[deal.buyer] -= deal.energy_wh
        off_wh[deal.seller] += deal.energy_wh
    return owed, off_wh


def homes_worse_off(alone: list[Decimal], traded: list[Decimal], days: float) -> int | None:
    """Return how many homes pay more than alone by more than max(2 %, 0.05 per day); None below seven days."""
    if days < 7:
        return None
    return sum(
        t - a > max(Decimal("0.02") * abs(a), Decimal("0.05") * Decimal(str(days)))
        for a, t in zip(alone, traded, strict=True)
    )
