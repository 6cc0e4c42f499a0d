"""What a home does by itself: the port between the plant and whatever makes its days."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


class Profile(Protocol):
    """What the people and the sun do, whatever the battery does. Piecewise constant in time."""

    @property
    def pv_peak_w(self) -> float:
        """Most that the sun ever gives; 0 for a home without PV."""
        ...

    def load_w(self, at: datetime) -> float: ...

    def pv_w(self, at: datetime) -> float: ...

    def next_change(self, at: datetime) -> datetime:
        """Return the first moment after `at` at which a value may differ."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """Mean powers of one slot, as an importer of past data wants them. None is missing."""

    start_at: datetime
    load_w: float | None
    pv_w: float | None
