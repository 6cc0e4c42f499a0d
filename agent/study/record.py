"""What passed slot by slot in the life with trading: enough to write down every flow and every contract.

It lies in the work folder beside the sums of its part, and is read one part at a time.
"""

from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Any

import numpy as np

from agent.planning.problem import Floats
from agent.study.foresight import Expectation
from agent.study.lives import Ints
from agent.study.passing import Deal, Kind, Lived
from coordinator.slots import Slot

_KINDS: tuple[Kind, ...] = ("slot", "residual", "auction")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One part, arrays of shape (slots, homes).

    Args:
        net_wh: Metered import minus export.
        battery_w: + discharges.
        stored_wh: At the slot's end.
        expected_load_w: As forecast at the last local midnight.
        expected_pv_w: Likewise.
        deals: Shape (n, 6): slot within the part, seller, buyer, Wh, price in micro-units per kWh, place in `_KINDS`.
    """

    net_wh: Ints
    battery_w: Floats
    stored_wh: Floats
    expected_load_w: Floats
    expected_pv_w: Floats
    deals: Ints

    @classmethod
    def read(cls, path: Path) -> "Record":
        """Read the record beside a part's sums."""
        with np.load(path) as file:
            return cls(**{name: file[f"record_{name}"] for name in cls.__slots__})

    def trades(self) -> list[tuple[int, Deal]]:
        """Return every trade with its slot's place in the part."""
        return [
            (step, Deal(seller=seller, buyer=buyer, energy_wh=wh, price_micro=price, kind=_KINDS[kind]))
            for step, seller, buyer, wh, price, kind in self.deals.tolist()
        ]

    def traded_wh(self) -> Ints:
        """Return what each home bought from neighbours minus what it sold to them, shape (slots, homes)."""
        traded = np.zeros_like(self.net_wh)
        np.add.at(traded, (self.deals[:, 0], self.deals[:, 2]), self.deals[:, 3])
        np.add.at(traded, (self.deals[:, 0], self.deals[:, 1]), -self.deals[:, 3])
        return traded


class Recorder:
    """Writes a record, slot by slot."""

    def __init__(self, timezone: tzinfo, hours: float) -> None:
        self._timezone, self._hours = timezone, hours
        self._rows: list[tuple[Any, ...]] = []
        self._deals: list[tuple[int, ...]] = []
        self._issued: Expectation | None = None
        self._age = 0

    def add(self, lived: Lived, foreseen: Expectation) -> None:
        """Enter a slot.

        Args:
            foreseen: What the homes expected when they planned it; kept for the day where it was issued at midnight.
        """
        issued = self._of_midnight(lived.slot, foreseen)
        self._rows.append(
            (
                lived.net_wh,
                lived.battery_wh / self._hours,
                lived.stored_wh,
                issued.load_w[:, self._age],
                issued.pv_w[:, self._age],
            )
        )
        step = len(self._rows) - 1
        for deal in lived.deals:
            kind = _KINDS.index(deal.kind)
            self._deals.append((step, deal.seller, deal.buyer, deal.energy_wh, deal.price_micro, kind))

    def _of_midnight(self, slot: Slot, foreseen: Expectation) -> Expectation:
        """Return the forecast of the day; a day of 25 hours outlasts it, and then the newest takes over."""
        self._age += 1
        local = slot.start_at.astimezone(self._timezone)
        midnight = local.hour == 0 and local.minute < slot.length_s // 60
        if self._issued is None or midnight or self._age >= foreseen.load_w.shape[1]:
            self._issued, self._age = foreseen, 0
        return self._issued

    def arrays(self) -> dict[str, Any]:
        """Return what `Record.read` reads."""
        columns = [np.array(column) for column in zip(*self._rows, strict=True)]
        deals = np.array(self._deals, dtype=np.int64).reshape(-1, 6)
        return {f"record_{name}": array for name, array in zip(Record.__slots__, (*columns, deals), strict=True)}
