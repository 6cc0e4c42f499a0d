"""The only place that reads a wall clock.

Slots and protocol timers follow `now()`; links, polls, leases and device timers follow `monotonic()`, which always runs
at wall speed. At home both are real time; in the demo `now()` runs faster; in tests and the study it moves by hand.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from coordinator.slots import require_utc


class Clock(Protocol):
    """What a shell may know of time."""

    @property
    def speed(self) -> float:
        """Seconds of `now()` per wall second."""
        ...

    def now(self) -> datetime: ...

    def monotonic(self) -> float:
        """Wall seconds from an arbitrary start; never jumps."""
        ...

    async def sleep_until(self, at: datetime) -> None:
        """Return when `now() >= at`."""
        ...


class WallClock:
    """Real time."""

    speed = 1.0

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep_until(self, at: datetime) -> None:
        while (left_s := (at - self.now()).total_seconds()) > 0:
            await asyncio.sleep(min(left_s, 60.0))


class ScaledClock:
    """A clock that started at `start_at` when the wall showed `anchor_at`, and runs `speed` times as fast.

    Processes that share the three values share the clock, without talking to each other.
    """

    def __init__(self, start_at: datetime, anchor_at: datetime, speed: float) -> None:
        if speed <= 0:
            raise ValueError(f"speed must be positive, not {speed}")
        self.start_at = require_utc(start_at)
        self.anchor_at = require_utc(anchor_at)
        self.speed = speed

    def now(self) -> datetime:
        elapsed = datetime.now(UTC) - self.anchor_at
        return self.start_at + elapsed * self.speed

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep_until(self, at: datetime) -> None:
        while (left_s := (at - self.now()).total_seconds() / self.speed) > 0:
            await asyncio.sleep(left_s)


class ManualClock:
    """A clock that moves only when told to: tests and the study."""

    speed = 1.0

    def __init__(self, start_at: datetime) -> None:
        self._now = require_utc(start_at)
        self._monotonic = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, by: timedelta) -> datetime:
        self._now += by
        self._monotonic += by.total_seconds()
        return self._now

    async def sleep_until(self, at: datetime) -> None:
        while self._now < at:
            await asyncio.sleep(0)


def unix_ms(at: datetime) -> int:
    """Return `at` in whole milliseconds since 1970, as messages carry it."""
    return int(require_utc(at).timestamp() * 1000)
