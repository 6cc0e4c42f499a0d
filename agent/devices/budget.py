"""How often a register may be written: flash wears out, and a loop that writes it kills the device. Pure."""

from collections import deque

from agent.devices.rules import STORED_WRITES_PER_DAY
from agent.devices.schema import Profile

DAY_S = 86_400.0


class WriteBudget:
    """Counts the writes of each register over the last day.

    Volatile registers without a stated budget are free; stored ones, and those of which nobody knows, bear
    `STORED_WRITES_PER_DAY` unless the profile states more.
    """

    def __init__(self, profile: Profile) -> None:
        self._points = profile.points
        control = profile.control.battery_w if profile.control else None
        self._stated = control.write_budget_per_day if control else None
        self._writes: dict[str, deque[float]] = {}

    def spent(self, name: str, now_s: float) -> bool:
        """Return whether a register has been written as often as it bears."""
        writes = self._writes.get(name, deque())
        while writes and writes[0] <= now_s - DAY_S:
            writes.popleft()
        most = self._most(name)
        return most is not None and len(writes) >= most

    def written(self, name: str, now_s: float) -> None:
        """Note a write."""
        if self._most(name) is not None:
            self._writes.setdefault(name, deque()).append(now_s)

    def _most(self, name: str) -> int | None:
        match self._points[name].memory:
            case "stored":
                return STORED_WRITES_PER_DAY
            case "volatile":
                return self._stated
            case _:
                return self._stated or STORED_WRITES_PER_DAY
