"""How fast a demo may run: as fast as asked, or as fast as the machine keeps up with. Pure.

Links, polls and leases of a demo stay at wall speed while slots fly by. When the event loop stalls for longer than a
device waits for its answer, readings are lost, batteries are released, and the demo shows a neighbourhood that does
worse than it would: a slower demo is the better one.
"""

from dataclasses import dataclass, field

BUSY_SHARE = 0.85
"""A loop that spends more of its time than this on work is overloaded: answers begin to come too late."""
CALM_SHARE = 0.7
"""A loop that spends less than this has time left."""
WINDOW_S = 3.0
"""Wall seconds over which that is judged: a slot begins with a burst of work at any speed."""
SLOWER, FASTER = 0.75, 1.1
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
    _idle_s: float = 0.0
    _busy_s: float = 0.0

    def __post_init__(self) -> None:
        self.speed = self.most

    def slept(self, asked_s: float, late_s: float) -> float | None:
        """Take how long the loop had nothing to do and how late it then came back; return a new speed, or None.

        Args:
            asked_s: What was asked for, in wall seconds.
            late_s: How much longer it took, because the loop was at work.
        """
        self._idle_s += asked_s
        self._busy_s += max(0.0, late_s)
        passed_s = self._idle_s + self._busy_s
        if passed_s < WINDOW_S:
            return None
        busy = self._busy_s / passed_s
        self._idle_s = self._busy_s = 0.0
        wanted = self.speed
        if busy > BUSY_SHARE:
            wanted = max(self.speed * SLOWER, self.most * SLOWEST)
        elif busy < CALM_SHARE:
            wanted = min(self.speed * FASTER, self.most)
        if wanted == self.speed:
            return None
        self.speed = wanted
        return wanted
