"""Does the battery do what it is told? Acknowledgements and read-backs prove nothing; only the effect counts. Pure."""

from collections import deque
from dataclasses import dataclass

_TAPER_HIGH_PCT = 95.0
_TAPER_LOW_PCT = 10.0
"""Beyond these the battery's own management may allow less than was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """A battery misses its target when it is off by more than both limits.

    Attributes:
        after_s: Time the device has to carry out a setpoint.
        abs_w: Error that is always allowed.
        rel: Error that is allowed, as a share of the target.
    """

    after_s: float
    abs_w: float
    rel: float


class EffectCheck:
    """Compares the measured battery power with the setpoints in force while it was measured."""

    def __init__(self, tolerance: Tolerance) -> None:
        self._tolerance = tolerance
        self._setpoints: deque[tuple[float, float]] = deque()

    def clear(self) -> None:
        """Forget the setpoints: the device is on its own."""
        self._setpoints.clear()

    def commanded(self, at_s: float, setpoint_w: float) -> None:
        """Note a setpoint of the battery (or of the whole inverter, see `missed`)."""
        self._setpoints.append((at_s, setpoint_w))

    def missed(self, at_s: float, battery_w: float, soc_pct: float, pv_w: float) -> str | None:
        """Return how the battery missed its target, in words, or None.

        Args:
            at_s: When it was measured.
            battery_w: Measured power, + discharges.
            pv_w: PV power that the setpoint includes; 0 where a setpoint is the battery's alone.
        """
        since_s = at_s - self._tolerance.after_s
        while len(self._setpoints) > 1 and self._setpoints[1][0] <= since_s:
            self._setpoints.popleft()
        if not self._setpoints or self._setpoints[0][0] > since_s:
            return None
        expected = [setpoint_w - pv_w for set_s, setpoint_w in self._setpoints if set_s <= at_s]
        low_w, high_w = min(expected), max(expected)
        if low_w - self._slack(low_w) <= battery_w <= high_w + self._slack(high_w):
            return None
        nearest_w = low_w if battery_w < low_w else high_w
        if _tapers(nearest_w, battery_w, soc_pct):
            return None
        return f"the battery shows {battery_w:.0f} W where {nearest_w:.0f} W was commanded"

    def _slack(self, target_w: float) -> float:
        return max(self._tolerance.abs_w, self._tolerance.rel * abs(target_w))


def _tapers(target_w: float, battery_w: float, soc_pct: float) -> bool:
    less = 0 <= battery_w * target_w <= target_w * target_w
    return less and (soc_pct >= _TAPER_HIGH_PCT if target_w < 0 else soc_pct <= _TAPER_LOW_PCT)
