"""What the grid connection says about commanding the battery: its fuse, and whether there is a grid at all. Pure."""

import math
from dataclasses import dataclass

from agent.control.priorities import Band

GRID_HZ = ((47.5, 51.5), (57.0, 62.0))
"""Bands in which a 50 Hz and a 60 Hz grid is still there (EN 50549-1: 47.5 to 51.5 Hz; IEEE 1547: 57 to 61.8 Hz)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """The grid connection as last seen; None is not known.

    Attributes:
        net_load_w: What the home uses minus what the sun gives: the grid's power plus the battery's.
    """

    monotonic_s: float
    net_load_w: float | None
    frequency_hz: float | None = None


@dataclass(slots=True, kw_only=True)
class GridWatch:
    """Judges the connection.

    Args:
        limit_w: What the connection bears in both directions.
        fresh_s: Age up to which what was seen counts.
        return_after_s: How long the battery stays on its own when the grid is back: drawn at random by whoever makes
            this, so that the homes of a street do not return together.
    """

    limit_w: float = math.inf
    fresh_s: float = 15.0
    return_after_s: float = 0.0
    _seen: Connection | None = None
    _gone_s: float | None = None

    def see(self, seen: Connection) -> None:
        self._seen = seen
        if seen.frequency_hz is not None and not any(low <= seen.frequency_hz <= high for low, high in GRID_HZ):
            self._gone_s = seen.monotonic_s

    def trouble(self, now_s: float) -> str | None:
        """Return why the battery must be left alone, or None."""
        if self._gone_s is None:
            return None
        if now_s - self._gone_s >= max(self.return_after_s, self.fresh_s):
            self._gone_s = None
            return None
        return "the grid is gone, or its frequency is out of its band"

    def band(self, now_s: float) -> Band:
        """Return the battery powers that the connection bears. Rest is always one of them: the rest is the fuse's."""
        seen = self._seen
        if seen is None or seen.net_load_w is None or now_s - seen.monotonic_s > self.fresh_s:
            return Band()
        return Band(min(0.0, seen.net_load_w - self.limit_w), max(0.0, seen.net_load_w + self.limit_w))
