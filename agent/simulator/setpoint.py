"""The active power function of SunSpec model 704 (WSet) as a state machine with its reversion timer.

Pure: `now_s` is a monotonic second count (wall speed: the timer protects a real house from a dead controller, however
fast its simulated day runs). The field names are those of the model's points.

Where the model leaves freedom (sunspec/models issue 215): writing WSet, WSetEna or the timer itself restarts the timer,
a timer of 0 means no reversion, and after a reversion the timer rests until one of them is written again.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

RESTARTS = frozenset({"WSetEna", "WSet", "WSetRvrtTms"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivePowerControl:
    """What the registers say, and when the timer runs out (`deadline_s`, None when it does not run)."""

    enabled: bool = False
    set_w: int = 0
    revert_enabled: bool = False
    revert_w: int = 0
    revert_after_s: int = 0
    deadline_s: float | None = None

    @property
    def target_w(self) -> float | None:
        """AC power the inverter is told to deliver; None leaves it to itself."""
        return float(self.set_w) if self.enabled else None

    def written(self, changes: Mapping[str, int], now_s: float) -> "ActivePowerControl":
        """Return the state after one write request with the values it carried."""
        control = replace(
            self,
            enabled=bool(changes.get("WSetEna", self.enabled)),
            set_w=changes.get("WSet", self.set_w),
            revert_enabled=bool(changes.get("WSetEnaRvrt", self.revert_enabled)),
            revert_w=changes.get("WSetRvrt", self.revert_w),
            revert_after_s=changes.get("WSetRvrtTms", self.revert_after_s),
        )
        if not control.enabled or control.revert_after_s == 0:
            return replace(control, deadline_s=None)
        if RESTARTS & changes.keys():
            return replace(control, deadline_s=now_s + control.revert_after_s)
        return control

    def remaining_s(self, now_s: float) -> int:
        """Return WSetRvrtRem: whole seconds until the reversion, 0 when no timer runs."""
        return 0 if self.deadline_s is None else max(math.ceil(self.deadline_s - now_s), 0)

    def expired(self, now_s: float) -> bool:
        return self.deadline_s is not None and now_s >= self.deadline_s

    def reverted(self) -> "ActivePowerControl":
        """Return the state after the timer ran out: the reversion setpoint if that is enabled, else no setpoint."""
        set_w = self.revert_w if self.revert_enabled else self.set_w
        return replace(self, enabled=self.revert_enabled, set_w=set_w, deadline_s=None)
