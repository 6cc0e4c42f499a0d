"""What trading and storing saved: three bills of the same home over the same slots. Pure.

A bill is what contracts and the grid cost, minus the change of stored energy times the battery's discharge efficiency
times the terminal price: the mean of the cheapest quarter of the period's import prices, the same in all three.
"""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from coordinator.quantities import MICRO
from coordinator.slots import Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotOutcome:
    """One settled slot; money in the community's currency, energies in Wh."""

    no_battery: Decimal
    alone: Decimal
    traded: Decimal
    import_micro: int
    bought_wh: int
    sold_wh: int
    import_wh: int
    export_wh: int
    utility_wh: int
    """Bought from the grid at the tariff: what was neither metered as export nor bought from neighbours."""
    contracts: int
    contracts_void: int
    stored_wh: float | None
    """In the real battery at the slot's end; None where there is none or it was not seen."""
    shadow_wh: float
    """In the battery of the home without neighbours."""


EXACT_PRICES = 200
"""So many different prices are counted as they are; with changing ones a year would bring tens of thousands of them."""


def terminal_micro(prices: Counter[int]) -> Decimal:
    """Return the mean of the cheapest quarter of prices (at least one), in micro-units per kWh."""
    left = wanted = max(1, round(prices.total() / 4))
    total = 0
    for price, count in sorted(prices.items()):
        taken = min(count, left)
        total += price * taken
        left -= taken
    return Decimal(total) / wanted


@dataclass(slots=True, kw_only=True)
class Savings:
    """Running sums since the books began.

    Args:
        efficiency_discharge: AC Wh per stored Wh.
        start_wh: Stored energy at the beginning, of the real battery and of the shadow's.
        skipped_wh: What the real battery gained over slots that are in no bill, the agent being away: the home without
            neighbours did not live through them either.
        seen_key: The newest slot that is, or will be, in a bill.
        seen_wh: Stored energy in the real battery at its end.
    """

    efficiency_discharge: float
    start_wh: float | None = None
    stored_wh: float | None = None
    shadow_wh: float | None = None
    skipped_wh: float = 0.0
    seen_key: int | None = None
    seen_wh: float | None = None
    no_battery: Decimal = Decimal(0)
    alone: Decimal = Decimal(0)
    traded: Decimal = Decimal(0)
    slots: int = 0
    bought_wh: int = 0
    sold_wh: int = 0
    import_wh: int = 0
    export_wh: int = 0
    utility_wh: int = 0
    contracts: int = 0
    contracts_void: int = 0
    rounds: int = 0
    negotiations: int = 0
    prices: Counter[int] = field(default_factory=Counter)

    def add(self, outcome: SlotOutcome) -> None:
        self.no_battery += outcome.no_battery
        self.alone += outcome.alone
        self.traded += outcome.traded
        self.slots += 1
        price = outcome.import_micro
        self.prices[price if price in self.prices or len(self.prices) < EXACT_PRICES else round(price, -3)] += 1
        for name in ("bought_wh", "sold_wh", "import_wh", "export_wh", "utility_wh", "contracts", "contracts_void"):
            setattr(self, name, getattr(self, name) + getattr(outcome, name))
        if outcome.stored_wh is not None:
            self.stored_wh = outcome.stored_wh
        self.shadow_wh = outcome.shadow_wh

    def lived(self, slot: Slot, begin_wh: float | None, end_wh: float | None) -> None:
        """Take the stored energy at the ends of a slot that will be billed; what it did since the last one is skipped.

        Where it is not known, energy that came or went unseen is taken for the slot's own.
        """
        if self.seen_key not in {None, slot.key - slot.length_s} and begin_wh is not None and self.seen_wh is not None:
            self.skipped_wh += begin_wh - self.seen_wh
        self.seen_key = slot.key
        self.seen_wh = self.seen_wh if end_wh is None else end_wh

    def _left(self, stored_wh: float | None) -> Decimal:
        """Return the value of what is stored more than at the beginning."""
        if self.start_wh is None or stored_wh is None or not self.prices:
            return Decimal(0)
        gained_kwh = Decimal(str(round((stored_wh - self.start_wh) * self.efficiency_discharge, 3))) / 1000
        return gained_kwh * terminal_micro(self.prices) / MICRO

    @property
    def bill_no_battery(self) -> Decimal:
        return self.no_battery

    @property
    def bill_alone(self) -> Decimal:
        return self.alone - self._left(self.shadow_wh)

    @property
    def bill_traded(self) -> Decimal:
        return self.traded - self._left(None if self.stored_wh is None else self.stored_wh - self.skipped_wh)

    @property
    def rounds_mean(self) -> float:
        return self.rounds / self.negotiations if self.negotiations else 0.0

    def dump(self) -> dict[str, Any]:
        """Return plain JSON values, for a restart."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        plain |= {name: str(plain[name]) for name in ("no_battery", "alone", "traded")}
        return plain | {"prices": {str(price): count for price, count in self.prices.items()}}

    @classmethod
    def load(cls, plain: dict[str, Any]) -> "Savings":
        money = {name: Decimal(plain[name]) for name in ("no_battery", "alone", "traded")}
        prices = Counter({int(price): count for price, count in plain["prices"].items()})
        return cls(**{**plain, **money, "prices": prices})
