"""An energy counter that only grows, whatever the device's register does. Pure."""

from datetime import datetime

NEW_EPOCH_AFTER = 5
"""Readings below the last one after which a counter counts as reset for good, not as briefly dropped to zero."""
_MARGIN_WH = 1_100.0
"""Some counters move in steps of 1 kWh."""


class SteadyCounter:
    """Follows a counter; holds it over short drops, and bridges resets without losing or inventing energy.

    Args:
        power_max_w: Faster growth than this power is a misread, not energy [W].
    """

    def __init__(self, power_max_w: float) -> None:
        self._power_max_w = power_max_w
        self._offset_wh = 0.0
        self._raw_wh: float | None = None
        self._at: datetime | None = None
        self._strange = 0

    def add(self, at: datetime, raw_wh: float) -> tuple[float, bool]:
        """Return the steady counter [Wh] at `at`, and whether it had to be held."""
        if self._raw_wh is None or self._at is None:
            self._raw_wh, self._at = raw_wh, at
            return raw_wh, False
        grown_wh = raw_wh - self._raw_wh
        most_wh = self._power_max_w * (at - self._at).total_seconds() / 3600 + _MARGIN_WH
        held = not 0 <= grown_wh <= most_wh
        if held:
            self._strange += 1
            if self._strange < NEW_EPOCH_AFTER:
                return self._offset_wh + self._raw_wh, True
            # Reset, exchanged or rolled over: go on counting from here.
            self._offset_wh -= grown_wh
        self._strange = 0
        self._raw_wh, self._at = raw_wh, at
        return self._offset_wh + raw_wh, held
