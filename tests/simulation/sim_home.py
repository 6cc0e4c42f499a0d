"""The household of a simulated home: what it wants is a script, so that no solver runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random

from coordinator.charter import Rules
from coordinator.contracts import Contract
from coordinator.household import MeterReading, Preparation
from coordinator.negotiation import Finished
from coordinator.settlement import SlotBill
from coordinator.slots import Slot

SCRIPT = 400
"""Wishes of so many slots; then they begin again."""


@dataclass(kw_only=True)
class ScriptedHome:
    """In each slot it needs (+) or has too much (-) of a fixed energy, Wh, and a meter that differs from it."""

    rules: Rules
    tariff: tuple[int, int]
    wishes_wh: Sequence[int]
    surprises_wh: Sequence[int]
    takes_part: bool = True
    kept_wh: dict[int, int] = field(default_factory=dict)
    gates: dict[int, int] = field(default_factory=dict)

    @classmethod
    def drawn(cls, draw: Random, rules: Rules) -> "ScriptedHome":
        wishes = [draw.choice([0, 1, 1, 1]) * draw.randint(-900, 900) for _ in range(SCRIPT)]
        surprises = [draw.choice([0, 1, 1]) * draw.randint(-200, 200) for _ in range(SCRIPT)]
        tariff = (draw.choice([300_000, 320_000, 420_000]), draw.choice([60_000, 80_000, 185_000]))
        return cls(rules=rules, tariff=tariff, wishes_wh=wishes, surprises_wh=surprises)

    def _number(self, slot: int) -> int:
        return slot // self.rules.slot_s % SCRIPT

    def prepare(self, slot: Slot, now: datetime) -> Preparation | None:
        if not self.takes_part:
            return None
        self._wish_wh = self.wishes_wh[self._number(slot.key)]
        return Preparation(bidder=self, opening_micro=[sum(self.tariff) // 2] * self.rules.horizon_slots)

    def bid(self, prices_micro: Sequence[int], anchor_wh: Sequence[float], rho_micro: int | None = None) -> list[int]:
        return [self._wish_wh] * self.rules.horizon_slots

    def keep(self, slot: Slot, energy_wh: int, price_micro: int) -> int:
        dropped = self._number(slot.key) % 4 == 0
        self.kept_wh[slot.key] = energy_wh // 2 if dropped else energy_wh
        return self.kept_wh[slot.key]

    def tariff_micro(self, slot: Slot) -> tuple[int, int]:
        return self.tariff

    def negotiated(self, result: Finished, price_micro: int) -> None:
        pass

    def gate_closed(self, slot: Slot, net_wh: int, now: datetime) -> None:
        self.gates[slot.key] = net_wh

    def settled(self, slot: Slot, meter: MeterReading, bill: SlotBill, contracts: Sequence[Contract]) -> None:
        pass

    def reading(self, slot: int) -> MeterReading:
        """Return what the meter counted: what was traded, as the home's battery would see to, and a surprise."""
        net_wh = self.gates.get(slot, 0) + self.surprises_wh[self._number(slot)]
        return MeterReading(import_wh=max(net_wh, 0), export_wh=max(-net_wh, 0))
