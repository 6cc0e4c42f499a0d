"""When the owner hears of a device: once when it goes, once when it comes back. Pure."""

from collections.abc import Callable, Mapping
from datetime import datetime, tzinfo
from typing import Literal, NamedTuple

Level = Literal["info", "warning", "error"]
NoticeSink = Callable[[Level, str], None]
"""Takes a notice for the owner: its level and its text."""

FAILURES = 2
"""Polls that must fail in a row before a device that worked counts as away: one lost answer is no news."""


class Said(NamedTuple):
    """One notice for the owner."""

    level: Level
    text: str


class DeviceHealth:
    """Tells one device's changes of state.

    Args:
        name: How the owner calls the device.
        zone: The owner's time zone, for the times in the texts.
    """

    def __init__(self, name: str, zone: tzinfo) -> None:
        self.trouble: str | None = None
        self._name = name
        self._zone = zone
        self._good_at: datetime | None = None
        self._failures = 0
        self._doubts = 0
        self._doubted = False

    def answered(self, at: datetime) -> Said | None:
        """Note a good poll; return what to say if the device was away."""
        was_away = self.trouble is not None
        self._good_at, self._failures, self.trouble = at, 0, None
        return Said("info", f"{self._name}: back") if was_away else None

    def judged(self, doubtful: Mapping[str, str]) -> Said | None:
        """Note which values of a good poll are doubtful and why; return what to say when that begins or ends."""
        self._doubts = self._doubts + 1 if doubtful else 0
        if self._doubted and not doubtful:
            self._doubted = False
            return Said("info", f"{self._name}: its values agree again")
        if self._doubted or self._doubts < FAILURES:
            return None
        self._doubted = True
        name, why = next(iter(doubtful.items()))
        return Said("warning", f"{self._name}: {name} is not used: {why}")

    def failed(self, why: str, at: datetime) -> Said | None:
        """Note a failed poll; return what to say if that, or its reason, is new."""
        self._failures += 1
        if self._good_at is not None and self._failures < FAILURES:
            return None
        if why == self.trouble:
            return None
        self.trouble = why
        since = (self._good_at or at).astimezone(self._zone)
        return Said("warning", f"{self._name}: {why} since {since:%H:%M}; trying again")
