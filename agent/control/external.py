"""The network operator's limit of the battery's power (section 14a and the like), kept alive by a heartbeat. Pure."""

from dataclasses import dataclass

from agent.control.priorities import Band
from agent.control.settings import ExternalSettings


@dataclass(slots=True)
class ExternalLimit:
    """The limit in force.

    It begins with the failsafe, and falls back to it when the operator's word is older than its heartbeat: a lost line
    must not free what was limited. Only a new limit ends the failsafe.

    Args:
        settings: What the owner agreed with the operator; None where nobody may limit the battery.
    """

    settings: ExternalSettings | None
    _told: tuple[float, Band] | None = None

    def told(self, now_s: float, charge_w: float | None, discharge_w: float | None) -> bool:
        """Take the operator's word; None is no limit in that direction. Return whether anybody may say so here."""
        if self.settings is None:
            return False
        self._told = (now_s, _band(charge_w, discharge_w))
        return True

    def band(self, now_s: float) -> Band | None:
        """Return the powers allowed now; None where nobody may limit the battery."""
        if self.settings is None:
            return None
        if self._told is not None and 0 <= now_s - self._told[0] <= self.settings.heartbeat_s:
            return self._told[1]
        return _band(self.settings.failsafe_charge_w, self.settings.failsafe_discharge_w)


def _band(charge_w: float | None, discharge_w: float | None) -> Band:
    return Band(
        low_w=-float("inf") if charge_w is None else -charge_w,
        high_w=float("inf") if discharge_w is None else discharge_w,
    )
