"""Tells a watchdog that the guard lives, however slow its device is."""

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterator

from coordinator.clock import Clock

BEAT_S = 0.5


class Pulse:
    """Beats while the guard looks in time. A loop that hangs, or a look that never ends, is silence.

    Args:
        alive: Called with each beat.
        look_s: What a look may take.
    """

    def __init__(self, clock: Clock, alive: Callable[[], None], look_s: float) -> None:
        self._clock = clock
        self._alive = alive
        self._look_s = look_s
        self._since_s = math.inf

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        """Wrap one look."""
        self._since_s = self._clock.monotonic()
        try:
            yield
        finally:
            self._since_s = math.inf

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            if self._clock.monotonic() - self._since_s <= self._look_s:
                self._alive()
            await asyncio.sleep(BEAT_S)
