"""What trading asks of the home: the port between a trader and whoever plans, meters and keeps the books."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from coordinator.contracts import Contract
from coordinator.negotiation import Bidder, Finished
from coordinator.settlement import SlotBill
from coordinator.slots import Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """A home's readiness to negotiate: its answers to prices, and the prices it would open with from cold.

    Attributes:
        balances: Whether it shares its deviations in the slot; asked where they are masked.
    """

    bidder: Bidder
    opening_micro: Sequence[int]
    balances: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterReading:
    """What the grid meter counted in a slot, whole Wh."""

    import_wh: int
    export_wh: int

    @property
    def net_wh(self) -> int:
        return self.import_wh - self.export_wh


class Household(Protocol):
    """What trading asks of the home. Called inside the event loop: a few milliseconds at most."""

    def prepare(self, slot: Slot, now: datetime) -> Preparation | None:
        """Forecast and plan the horizon that starts at `slot`; None to sit this slot out."""
        ...

    def keep(self, slot: Slot, energy_wh: int, price_micro: int) -> int:
        """Return how much of a matched trade (+ buys) is no loss against having no trade; same sign, never more."""
        ...

    def tariff_micro(self, slot: Slot) -> tuple[int, int]:
        """Return the grid's import and export price of the slot."""
        ...

    def negotiated(self, result: Finished, price_micro: int) -> None: ...

    def gate_closed(self, slot: Slot, net_wh: int, now: datetime) -> None:
        """Take the slot's firm trades, + bought."""
        ...

    def settled(self, slot: Slot, meter: MeterReading, bill: SlotBill, contracts: Sequence[Contract]) -> None:
        """Take the slot's final bill and its contracts, whatever became of them."""
        ...
