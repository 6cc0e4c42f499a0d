"""Tells a PV inverter that sleeps from one that failed. Pure.

At night many inverters refuse connections, fall silent or show no values. That is no fault, and their power is then
known: it is 0. A device sleeps if it had faded out before: its last power was below the profile's `below_w`. One that
vanishes in full sun has failed, and so has one that does not come back for longer than any night lasts.
"""

from collections.abc import Mapping

from agent.devices.errors import DeviceError, DeviceRefusedError, LinkDownError, NoAnswerError
from agent.devices.schema import AsleepSpec, Profile

LONGEST_NIGHT_S = 20 * 3600.0


class Night:
    """Follows one device through its days."""

    def __init__(self, profile: Profile) -> None:
        self._spec: AsleepSpec | None = profile.asleep
        self._faded_s: float | None = None
        """When it was last seen faded out; None while it is known to give more."""

    def seen(self, at_s: float, values: Mapping[str, float | None]) -> bool:
        """Note a poll; return whether its absent values mean sleep."""
        spec = self._spec
        if spec is None:
            return False
        powers = [values.get(name) for name in spec.zero]
        known = [power for power in powers if power is not None]
        if len(known) == len(powers):
            self._faded_s = at_s if all(abs(power) <= spec.below_w for power in known) else None
            return False
        return "absent" in spec.looks and not known and self._dark(at_s)

    def failed(self, at_s: float, error: DeviceError) -> bool:
        """Return whether a poll that failed in this way means sleep."""
        return self._spec is not None and _look(error) in self._spec.looks and self._dark(at_s)

    def zeros(self) -> dict[str, float | None]:
        """Return what a sleeping device gives."""
        return dict.fromkeys(self._spec.zero, 0.0) if self._spec else {}

    def _dark(self, at_s: float) -> bool:
        return self._faded_s is not None and at_s - self._faded_s <= LONGEST_NIGHT_S


def _look(error: DeviceError) -> str:
    match error:
        case LinkDownError() | DeviceRefusedError():
            return "refuses"
        case NoAnswerError():
            return "silent"
        case _:
            return "something else"
