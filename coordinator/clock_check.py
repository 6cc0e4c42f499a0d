"""Is this home's clock right? It compares itself with what the neighbours' messages say. Pure.

A message carries the time of its sender and only grows older on its way, so of a neighbour's recent messages the one
that looks youngest tells its clock best, whatever is delayed or said again. The median over the neighbours counts: no
minority of liars makes a home doubt its clock; and this only tells the owner, it moves no clock.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median_low


@dataclass(slots=True)
class ClockCheck:
    """What the neighbours' clocks show, against the own one.

    Args:
        memory: In which time a neighbour's youngest message is looked for, by the own clock.
    """

    memory: timedelta
    _best: dict[str, tuple[int, datetime]] = field(default_factory=dict)

    def heard(self, sender: str, ahead_ms: int, now: datetime) -> None:
        """Note a message whose signature fits, also one that is refused for its time.

        Args:
            ahead_ms: Of our time, when the message came.
        """
        best = self._best.get(sender)
        if best is None or ahead_ms >= best[0] or not self._recent(best[1], now):
            self._best[sender] = ahead_ms, now

    def ahead(self, now: datetime) -> timedelta:
        """Return how far the own clock is ahead of most neighbours' (behind, if negative); 0 when nobody was heard."""
        recent = [ahead_ms for ahead_ms, at in self._best.values() if self._recent(at, now)]
        return timedelta(milliseconds=-median_low(recent)) if recent else timedelta(0)

    def _recent(self, at: datetime, now: datetime) -> bool:
        # A clock that was set back makes what it noted before a thing of the future.
        return at <= now < at + self.memory
