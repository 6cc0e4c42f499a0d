"""What became of broken frames, and how that is printed. Pure."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Count:
    """What became of the broken frames.

    Attributes:
        dropped: The poll failed, because the frame could not be an answer.
        refused: It read as a refusal of the device.
        same: It decoded to the values that were sent: words were hit that nobody reads, or more than one copy came.
        absent: Values were outside their range or no numbers, and are absent.
        doubtful: Values were contradicted, and may not be acted upon.
        believed: Another value than the one sent was believed; `far`: by more than a tenth and 50 units.
        commands: Setpoints that the guard's mind made of wrong samples; `outside`: beyond the owner's limits.
        unexpected: Other exceptions than `DeviceError`.
    """

    frames: int = 0
    dropped: int = 0
    refused: int = 0
    same: int = 0
    absent: int = 0
    doubtful: int = 0
    believed: int = 0
    far: int = 0
    commands: int = 0
    outside: int = 0
    unexpected: Counter[str] = field(default_factory=Counter)

    @property
    def decoded(self) -> int:
        """Frames that came through as an answer to our request."""
        return self.same + self.wrong

    @property
    def wrong(self) -> int:
        """Frames that came through with other values than were sent."""
        return self.absent + self.doubtful + self.believed

    def add(self, other: "Count") -> None:
        """Add another count to this one."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def plain(self) -> dict[str, Any]:
        return vars(self) | {"decoded": self.decoded, "wrong": self.wrong}

    def words(self) -> str:
        def share(part: int, whole: int) -> str:
            return f"{part:>9,} {100 * part / max(whole, 1):5.1f} %"

        lines = [
            f"{self.frames:>9,}         broken frames",
            f"{share(self.dropped, self.frames)} dropped: no answer to what was asked",
            f"{share(self.refused, self.frames)} read as a refusal",
            f"{share(self.same, self.frames)} decoded to the values that were sent",
            f"{share(self.wrong, self.frames)} decoded to other values; of these",
            f"{share(self.absent, self.wrong)}   absent: outside the range, or no number",
            f"{share(self.doubtful, self.wrong)}   doubtful: contradicted",
            f"{share(self.believed, self.wrong)}   believed; {self.far:,} of them off by more than a tenth and 50",
            f"{self.commands:>9,}         commands made of wrong values, {self.outside} beyond the owner's limits",
            f"{sum(self.unexpected.values()):>9,}         unexpected exceptions {dict(self.unexpected) or ''}",
        ]
        return "\n".join(lines)
