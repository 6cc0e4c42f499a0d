"""What the grid connection says about commanding the battery: its fuses, and whether there is a grid at all. Pure."""

import math
from dataclasses import dataclass

from agent.control.priorities import Band

GRID_HZ = ((47.5, 51.5), (57.0, 62.0))
"""Bands in which a 50 Hz and a 60 Hz grid is still there (EN 50549-1: 47.5 to 51.5 Hz; IEEE 1547: 57 to 61.8 Hz)."""
GRID_V = ((88.0, 144.0), (180.0, 288.0))
"""Bands of a phase against neutral, 100 to 127 V and 220 to 240 V: from 20 % below to 20 % above (EN 50549-1 lets
inverters leave at 0.85 and 1.1)."""
CONNECTED_V = GRID_V[0][0]
"""A phase below the lowest grid's band is one that nothing is connected to."""
OUTAGE_S = 60.0
"""A device that was silent for so long may have been without power, and so may the whole street."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """The grid connection as last seen; None is not known.

    Attributes:
        net_load_w: What the grid would give if the commanded battery rested: its power plus that battery's. Other
            batteries, which go on as they like, are part of it as they are now.
        battery_w: The commanded battery's power then, + discharges.
        phases_w: The grid's power in each phase, + imports; empty where the meter does not show them.
        volts: The phases' voltages against neutral, as far as they are known.
    """

    monotonic_s: float
    net_load_w: float | None
    frequency_hz: float | None = None
    battery_w: float | None = None
    phases_w: tuple[float, ...] = ()
    volts: tuple[float, ...] = ()

    @property
    def gone(self) -> bool | None:
        """Whether the grid is gone, by what is known of it; None while nothing is."""
        if self.frequency_hz is None and not self.volts:
            return None
        out_of_band = self.frequency_hz is not None and not _inside(self.frequency_hz, GRID_HZ)
        return out_of_band or (bool(self.volts) and not _inside(max(self.volts), GRID_V))

    @property
    def phase_v(self) -> float | None:
        """The lowest voltage of a connected phase: at that, its fuse bears the least power."""
        return min((volt for volt in self.volts if volt >= CONNECTED_V), default=None)


def _inside(value: float, bands: tuple[tuple[float, float], ...]) -> bool:
    return any(low <= value <= high for low, high in bands)


@dataclass(slots=True, kw_only=True)
class GridWatch:
    """Judges the connection.

    Args:
        limit_w: What the connection bears in both directions.
        fuse_a: What the fuse of each phase bears in both directions.
        fresh_s: Age up to which what was seen counts.
        return_after_s: How long the battery stays on its own when the grid is back, or may be: drawn at random by
            whoever makes this, so that the homes of a street do not return together.
    """

    limit_w: float = math.inf
    fuse_a: float = math.inf
    fresh_s: float = 15.0
    return_after_s: float = 0.0
    _seen: Connection | None = None
    _gone: tuple[float, str] | None = None
    _lost: bool = False

    def see(self, seen: Connection) -> None:
        self._seen = seen
        if seen.gone is not None:
            self._lost = seen.gone
        if self._lost:  # a meter that fell silent with the grid has not seen it come back
            self._gone = (seen.monotonic_s, "the grid is gone, or its frequency or voltage is out of its band")

    def outage(self, ended_s: float) -> None:
        """Note that power may have come back to the whole street at that moment."""
        self._gone = (ended_s, "after a power cut homes return one after the other")

    def trouble(self, now_s: float) -> str | None:
        """Return why the battery must be left alone, or None."""
        if not self._watched(now_s):
            return "the load or the voltage at the grid connection is unknown, so its fuse cannot be kept"
        if self._gone is None:
            return None
        at_s, why = self._gone
        left_s = max(self.return_after_s, self.fresh_s) - (now_s - at_s)
        if left_s > 0:
            return f"{why}; {left_s:.0f} s more at least"
        self._gone = None
        return None

    def band(self, now_s: float) -> Band:
        """Return the battery powers that the connection bears. Rest is always one of them: the rest is the fuse's.

        Each phase bears them if all that the battery changes is changed in the worst of them. That is so for a battery
        at one phase; one at three changes each by a third, so the next look allows more.
        """
        seen = self._seen
        if seen is None or seen.net_load_w is None or now_s - seen.monotonic_s > self.fresh_s:
            return Band()
        low_w, high_w = seen.net_load_w - self.limit_w, seen.net_load_w + self.limit_w
        if seen.phases_w and seen.phase_v is not None and seen.battery_w is not None:
            phase_w = self.fuse_a * seen.phase_v
            low_w = max(low_w, seen.battery_w + max(seen.phases_w) - phase_w)
            high_w = min(high_w, seen.battery_w + min(seen.phases_w) + phase_w)
        return Band(min(0.0, low_w), max(0.0, high_w))

    def _watched(self, now_s: float) -> bool:
        """Return whether all that has a limit is known now."""
        seen = self._seen
        if self.limit_w == self.fuse_a == math.inf:
            return True
        if seen is None or seen.net_load_w is None or now_s - seen.monotonic_s > self.fresh_s:
            return False
        return self.fuse_a == math.inf or (bool(seen.phases_w) and seen.phase_v is not None)
