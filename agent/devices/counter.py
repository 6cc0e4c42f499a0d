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
        resets: The counter is known to begin anew at each boot of its device: a drop is believed at once.
        wraps_at_wh: Where the register starts again at zero; None when it never gets there.
        resolution_wh: Step of the register [Wh].
    """

    def __init__(
        self,
        power_max_w: float,
        *,
        resets: bool = False,
        wraps_at_wh: float | None = None,
        resolution_wh: float = 1.0,
    ) -> None:
        self._power_max_w = power_max_w
        self._margin_wh = max(_MARGIN_WH, 2 * resolution_wh)
        self._patience = 1 if resets else NEW_EPOCH_AFTER
        self._wraps_at_wh = wraps_at_wh
        self._offset_wh = 0.0
        self._raw_wh: float | None = None
        self._at: datetime | None = None
        self._strange = 0

    @property
    def value_wh(self) -> float | None:
        """The steady counter as last known."""
        return None if self._raw_wh is None else self._offset_wh + self._raw_wh

    def add(self, at: datetime, raw_wh: float) -> tuple[float, bool]:
        """Return the steady counter [Wh] at `at`, and whether it had to be held."""
        if self._raw_wh is None or self._at is None:
            self._raw_wh, self._at = raw_wh, at
            return raw_wh, False
        most_wh = self._power_max_w * (at - self._at).total_seconds() / 3600 + self._margin_wh
        grown_wh = raw_wh - self._raw_wh
        if self._wraps_at_wh is not None and 0 <= grown_wh + self._wraps_at_wh <= most_wh:
            self._offset_wh += self._wraps_at_wh
            grown_wh += self._wraps_at_wh
        held = not 0 <= grown_wh <= most_wh
        if held:
            self._strange += 1
            if self._strange < self._patience:
                return self._offset_wh + self._raw_wh, True
            # Reset, exchanged or rolled over: go on counting from here.
            self._offset_wh -= grown_wh
        self._strange = 0
        self._raw_wh, self._at = raw_wh, at
        return self._offset_wh + raw_wh, held
