"""What the home draws without its battery, smoothed: the meter is read per slot, so a kettle is no reason to cycle."""

import math
from dataclasses import dataclass
from datetime import datetime

SHARE_OF_SLOT = 0.2
"""Time constant as a share of the slot: short against the slot, long against a kettle. What it leaves of a change, the
controller's correction by the meter's energy makes up within the slot."""


@dataclass(slots=True, kw_only=True)
class NetLoad:
    """Exponential mean of load minus sun.

    Args:
        time_constant_s: After this many seconds of slot time a step has come through to 63 %.
    """

    time_constant_s: float
    _value_w: float | None = None
    _at: datetime | None = None

    def add(self, at: datetime, net_load_w: float) -> float:
        """Take a value and return the mean [W]. A gap of several time constants forgets what was before it."""
        if self._value_w is None or self._at is None:
            self._value_w, self._at = net_load_w, at
            return net_load_w
        passed_s = max(0.0, (at - self._at).total_seconds())
        self._value_w += (net_load_w - self._value_w) * (1 - math.exp(-passed_s / self.time_constant_s))
        self._at = at
        return self._value_w
