"""Notices when the wall clock jumps: slots are named by it, so a plan of before says nothing of now. Pure."""

from dataclasses import dataclass
from datetime import datetime

JUMP_S = 5.0
"""A clock that is set right by less than this has drifted; by more, it was wrong (safety case, S9)."""


@dataclass(slots=True)
class ClockWatch:
    """Compares the wall clock with the one that never jumps."""

    _last: tuple[datetime, float] | None = None

    def jumped(self, now: datetime, monotonic_s: float) -> bool:
        """Return whether the wall clock jumped since the last call."""
        last, self._last = self._last, (now, monotonic_s)
        if last is None:
            return False
        return abs((now - last[0]).total_seconds() - (monotonic_s - last[1])) > JUMP_S
