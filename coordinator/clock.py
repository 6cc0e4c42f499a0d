"""The only place that reads a wall clock.

Slots and protocol timers follow `now()`; links, polls, leases and device timers follow `monotonic()`, which always runs
at wall speed. At home both are real time; in the demo `now()` runs faster; in tests and the study it moves by hand.
"""

import asyncio
import time
from collections.abc import Callable
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


class GatedClock(ScaledClock):
    """A scaled clock that waits at a gate for everybody to be there.

    Until it is let go it runs at wall speed, and never past `wait_at`; from then on `speed` times as fast. Everybody
    reads the same gate, so processes share this clock as they share a scaled one, however late they look.

    Args:
        wait_at: Where it stands still when it was not let go by then.
        let_go_at: Tells the wall moment at which it was or will be let go; None while that is open.
    """

    def __init__(
        self,
        start_at: datetime,
        anchor_at: datetime,
        speed: float,
        *,
        wait_at: datetime,
        let_go_at: Callable[[], datetime | None],
    ) -> None:
        super().__init__(start_at, anchor_at, speed)
        self.wait_at = require_utc(wait_at)
        self._ask = let_go_at
        self._let_go_at: datetime | None = None

    def now(self) -> datetime:
        wall = datetime.now(UTC)
        if self._let_go_at is None:
            self._let_go_at = self._ask()
        let_go_at = wall if self._let_go_at is None else min(wall, self._let_go_at)
        waited = min(let_go_at - self.anchor_at, self.wait_at - self.start_at)
        return self.start_at + waited + (wall - let_go_at) * self.speed


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
