"""The limits within which the battery may be commanded. Pure."""

import math
from dataclasses import dataclass

from agent.control.priorities import Band

HYSTERESIS_PCT = 3.0
"""How far the charge must come back from a limit before that direction opens again (safety case, S3)."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Which directions are open."""

    charge: bool = True
    discharge: bool = True


CLOSED = Gate(charge=False, discharge=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """The owner's limits.

    Attributes:
        charge_w: Most charging power, as a positive number [W].
        discharge_w: Most discharging power [W].
        reserve_pct: Charge below which the battery is never discharged.
        max_pct: Charge above which it is never charged.

    Raises:
        ValueError: If the limits leave no room.
    """

    charge_w: float
    discharge_w: float
    reserve_pct: float = 20.0
    max_pct: float = 95.0

    def __post_init__(self) -> None:
        if not (0 <= self.charge_w < math.inf and 0 <= self.discharge_w < math.inf):
            raise ValueError(f"battery limits must be powers >= 0 W, not {self.charge_w} and {self.discharge_w}")
        if not 0 <= self.reserve_pct < self.max_pct <= 100:
            raise ValueError(f"reserve {self.reserve_pct} % must lie below the maximum {self.max_pct} %, in 0 to 100 %")

    def gate(self, soc_pct: float | None, before: Gate) -> Gate:
        """Return which directions are open at this charge.

        Args:
            soc_pct: Charge; unknown, NaN or impossible closes both directions.
            before: The gate until now: a closed direction opens only `HYSTERESIS_PCT` away from its limit.
        """
        if soc_pct is None or not 0 <= soc_pct <= 100:
            return CLOSED
        return Gate(
            charge=soc_pct < self.max_pct - (0 if before.charge else HYSTERESIS_PCT),
            discharge=soc_pct > self.reserve_pct + (0 if before.discharge else HYSTERESIS_PCT),
        )

    def band(self, gate: Gate) -> Band:
        """Return the powers that are allowed."""
        return Band(-self.charge_w if gate.charge else 0.0, self.discharge_w if gate.discharge else 0.0)

    def clamp(self, target_w: float, gate: Gate) -> float:
        """Return the power nearest to `target_w` (+ discharges) that is allowed; a target that is no number is 0."""
        return self.band(gate).nearest(target_w) if math.isfinite(target_w) else 0.0
