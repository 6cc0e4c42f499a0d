"""What the owner is told of the battery: setpoints that a person would ask about, doubts and their ends. Pure."""

import re

from agent.control.ports import NoticeSink

MATERIAL_W = 500.0
"""A target that moves by less since it was last told is no news."""
LEAST_S = 60.0
"""Wall seconds between two lines while the battery is followed: clouds and kettles must not fill the log."""

_FIGURES = re.compile(r"\bthe battery (?:rests|(?:gives|takes) \d+ W)|\d+(?:\.\d+)?")
"""What changes with every reading; the rest of a reason says why."""


class SetpointNews:
    """Tells the setpoints worth a line from those that only refresh or adjust.

    Compared is with what was told last, not with the last setpoint: a slow drift becomes news too, and what came too
    soon after a line is told with the next setpoint that is late enough.
    """

    def __init__(self) -> None:
        self._told: tuple[float, float, str] | None = None

    def is_news(self, now_s: float, target_w: float, reason: str) -> bool:
        """Return whether to tell this setpoint; if so, it counts as told."""
        why = _FIGURES.sub("", reason)
        if self._told is not None:
            at_s, told_w, told_why = self._told
            stops = target_w == 0.0 and told_w != 0.0  # "why did it stop at 17:04?"
            early = now_s - at_s < LEAST_S
            same = why == told_why and abs(target_w - told_w) < MATERIAL_W
            if (early or same) and not stops:
                return False
        self._told = (now_s, target_w, why)
        return True

    def released(self) -> None:
        """Note that the battery is on its own: the next setpoint is news."""
        self._told = None


class Doubt:
    """Tells when it is unknown what the battery does, and when that is over; each once.

    Args:
        tell: Gets the notices.
        longest_s: After how many seconds at most the device's own timer ends a command.

    Attributes:
        why: Why it is unknown, in words; None while it is known.
    """

    def __init__(self, tell: NoticeSink, longest_s: int) -> None:
        self.why: str | None = None
        self._tell = tell
        self._longest_s = longest_s

    def begins(self, why: str, *, reverts: bool) -> None:
        """Note that it is unknown; `reverts` says whether the device ends our command by itself."""
        if self.why is None:
            end = f"its own timer releases it within {self._longest_s} s"
            self._tell(
                "warning", f"{why}; {end if reverts else 'nothing ends its last command: look at the device itself'}"
            )
        self.why = why

    def ends(self) -> None:
        """Note that the battery did as it was told."""
        if self.why is not None:
            self.why = None
            self._tell("info", "the battery can be commanded again")
