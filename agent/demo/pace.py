"""How fast a demo may run: as fast as asked, or as fast as the machine keeps up with. Pure.

Links, polls and leases of a demo stay at wall speed while slots fly by. When the event loop stalls for longer than a
device waits for its answer, readings are lost, batteries are released, and the demo shows a neighbourhood that does
worse than it would: a slower demo is the better one.
"""

from dataclasses import dataclass, field

STALL_S = 0.25
"""A loop that wakes up this late is overloaded: half of what a Modbus link waits for an answer."""
CALM_S = 0.1
"""A loop that is never later than this has time left."""
SLOWER, FASTER = 0.75, 1.1
SLOWER_AFTER_S, FASTER_AFTER_S = 2.0, 8.0
"""Wall seconds that a pace is given before it is judged again."""
SLOWEST = 1 / 8
"""Of the speed asked for: below that the machine needs fewer homes, not more time."""


@dataclass(slots=True, kw_only=True)
class Pacemaker:
    """Finds the speed.

    Args:
        most: The speed asked for.
    """

    most: float
    speed: float = field(init=False)
    _since_s: float | None = None
    _latest_s: float = 0.0

    def __post_init__(self) -> None:
        self.speed = self.most

    def late(self, by_s: float, wall_s: float) -> float | None:
        """Take how late the loop woke up at `wall_s`; return a new speed, or None to go on as before."""
        if self._since_s is None:
            self._since_s = wall_s
        self._latest_s = max(self._latest_s, by_s)
        lasted_s = wall_s - self._since_s
        wanted = self.speed
        if by_s > STALL_S and lasted_s > SLOWER_AFTER_S:
            wanted = max(self.speed * SLOWER, self.most * SLOWEST)
        elif lasted_s > FASTER_AFTER_S:
            if self._latest_s < CALM_S:
                wanted = min(self.speed * FASTER, self.most)
            self._since_s, self._latest_s = wall_s, 0.0
        if wanted == self.speed:
            return None
        self.speed, self._since_s, self._latest_s = wanted, wall_s, 0.0
        return wanted
