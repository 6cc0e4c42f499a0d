"""Whether the device behind the present connection may be written to."""

import math

from agent.control.ports import BatteryPort, Permit
from coordinator.errors import CommonwattError

RETRY_S = 5.0
"""How often a device that may not be written to is asked again."""


class Permission:
    """Asked at the start, and after each new connection: somebody else may answer then.

    Args:
        permit: Looks at the device that answers.
        enabled: Whether the owner wants control at all.

    Attributes:
        why_not: Why nothing may be written, in words; what held last, while something may.
    """

    def __init__(self, battery: BatteryPort, permit: Permit, *, enabled: bool) -> None:
        self.why_not = "the battery has not answered yet" if enabled else "control is switched off"
        self._battery = battery
        self._permit = permit
        self._enabled = enabled
        self._generation: int | None = None
        self._ask_at_s = -math.inf

    @property
    def given(self) -> bool:
        """Whether the last device that was looked at may be written to."""
        return self._generation is not None

    @property
    def holds(self) -> bool:
        """Whether it was given for the device behind the present connection."""
        generation = self._battery.generation
        return generation != 0 and generation == self._generation

    async def look(self, now_s: float) -> bool:
        """Return whether the device that answers now may be written to.

        Raises:
            CommonwattError: One that may be written to does not answer: nothing is known of it now.
        """
        if not self._enabled or (self._generation is None and now_s < self._ask_at_s):
            return False
        if self.holds:
            return True
        self._ask_at_s = now_s + RETRY_S
        try:
            forbidden = await self._permit()
        except CommonwattError:
            if self.given:
                raise
            self._ask_at_s = -math.inf  # it only has to answer
            return False
        self._generation = self._battery.generation if forbidden is None else None
        self.why_not = forbidden or self.why_not
        return self.holds
