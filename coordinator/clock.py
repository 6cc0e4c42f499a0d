"""The only place that reads a wall clock.

Slots and protocol timers follow `now()`; links, polls, leases and device timers follow `monotonic()`, which always runs
at wall speed. At home both are real time; in the demo `now()` runs faster; in tests and the study it moves by hand.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from coordinator.slots import require_utc

PACE_LOOK_S = 0.2
"""How often a clock looks for a new pace, in wall seconds."""
PACE_NOTICE_S = 0.5
"""How long before it begins a pace is announced: long enough for every process to have looked."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """From the wall moment `wall_at`, when it is `at`, time runs `speed` times as fast."""

    wall_at: datetime
    at: datetime
    speed: float


class PacedClock:
    """A clock that waits until everybody is there, and whose speed may change while it runs.

    Until the first pace it runs at wall speed, and never past `wait_at`. Everybody reads the same paces, and a pace is
    announced before it begins, so processes share this clock as they share a scaled one, however late they look.

    Args:
        wait_at: Where it stands still when no pace was given by then.
        speed: What `speed` says until the first pace.
        ask: Returns the latest paces, oldest first; at least the one that runs and the one to come.
    """

    def __init__(
        self,
        start_at: datetime,
        anchor_at: datetime,
        speed: float,
        *,
        wait_at: datetime,
        ask: Callable[[], Sequence[Pace]],
    ) -> None:
        self.start_at = require_utc(start_at)
        self.anchor_at = require_utc(anchor_at)
        self.wait_at = require_utc(wait_at)
        self._expected_speed = speed
        self._ask = ask
        self._paces: Sequence[Pace] = ()
        self._asked_s = -math.inf

    @property
    def speed(self) -> float:
        pace = self._pace(datetime.now(UTC))
        return self._expected_speed if pace is None else pace.speed

    def now(self) -> datetime:
        return self.at(datetime.now(UTC))

    def at(self, wall: datetime) -> datetime:
        """Return what this clock shows, or by what is known will show, at a wall moment."""
        pace = self._pace(wall)
        if pace is None:
            return self.start_at + min(wall - self.anchor_at, self.wait_at - self.start_at)
        return pace.at + (wall - pace.wall_at) * pace.speed

    def _pace(self, wall: datetime) -> Pace | None:
        if self.monotonic() - self._asked_s > PACE_LOOK_S:
            self._asked_s = self.monotonic()
            self._paces = self._ask()
        return next((pace for pace in reversed(self._paces) if pace.wall_at <= wall), None)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep_until(self, at: datetime) -> None:
        while (left_s := (at - self.now()).total_seconds() / self.speed) > 0:
            await asyncio.sleep(min(left_s, PACE_NOTICE_S))


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


def cpu_s() -> float:
    """Return the CPU seconds of this process: for figures of what a computation costs, never for a decision."""
    return time.process_time()
