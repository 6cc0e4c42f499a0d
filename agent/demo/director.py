"""Runs a demo from the first key to the last table, and cleans up whatever happens."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from agent.dashboard.picture import Picture
from agent.dashboard.source import Feeds
from agent.demo.launch import PARTS, InProcess, Launcher, Processes, end, spawn
from agent.demo.neighbours import neighbours
from agent.demo.options import DemoOptions
from agent.demo.report import make_report, savings_known
from agent.demo.settle_in import Settled, settle_in
from coordinator.clock import WallClock

STARTUP_S = 4.0
STARTUP_HOME_S = 0.5
STARTUP_PROCESSES_S = 6.0
"""A Python process with scikit-learn needs about two seconds of a core to start, and a home has three."""
PATIENCE_SLOTS = 3
"""After the last slot, the demo waits this many slots for the last bills."""
LOOK_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where the demo is, for whoever draws it."""

    settled: Settled
    picture: Picture
    now: datetime
    slots_settled: int
    slots: int
    wall_s: float


class Demo:
    """One demo. `launcher` lets tests stop and start single parts of single homes while it runs."""

    def __init__(self, options: DemoOptions) -> None:
        self.options = options
        self.launcher: Launcher = Processes() if options.processes else InProcess()
        self.picture: Picture | None = None
        self.settled: Settled | None = None
        self._wall = WallClock()

    async def run(self, on_progress: Callable[[Progress], None] = lambda progress: None) -> dict[str, Any]:
        """Trade until the end and return the report.

        Raises:
            ConfigError: If something it needs is missing or wrong.
            CommonwattError: If a part ended by itself.
        """
        street = await asyncio.to_thread(neighbours, self.options)
        per_home_s = STARTUP_PROCESSES_S if self.options.processes else STARTUP_HOME_S
        lead_s = STARTUP_S + per_home_s * len(street.homes)
        self.settled = settled = settle_in(self.options, street, self._wall.now(), lead_s)
        try:
            with Feeds(settled.dashboard, self._wall) as feeds:
                self.picture = feeds.picture()
                for part in PARTS:
                    for home in settled.homes:
                        await self.launcher.start(home, part)
                async with self._page(settled):
                    await self._watch(settled, feeds, on_progress)
                pids = self.launcher.pids()
                feeds.drain(self.picture)
        finally:
            await self.launcher.stop_all(settled.homes)
        report = make_report(settled, self.picture)
        return report | ({"pids": pids} if pids else {})

    async def _watch(self, settled: Settled, feeds: Feeds, on_progress: Callable[[Progress], None]) -> None:
        assert self.picture is not None
        clock = settled.clock.clock()
        slot_s = settled.street.slot_s
        slots = int((settled.end_at - settled.street.start_at).total_seconds()) // slot_s
        patience_until = settled.end_at + timedelta(seconds=PATIENCE_SLOTS * slot_s)
        while True:
            self.launcher.check()
            feeds.drain(self.picture)
            done = savings_known(self.picture)
            now = clock.now()
            progress = Progress(
                settled=settled,
                picture=self.picture,
                now=now,
                slots_settled=done,
                slots=slots,
                wall_s=self._wall.monotonic(),
            )
            on_progress(progress)
            if done >= slots or now >= patience_until:
                return
            await asyncio.sleep(LOOK_S)

    @asynccontextmanager
    async def _page(self, settled: Settled) -> AsyncIterator[None]:
        """Serve the page as a process of its own: it sees what any MQTT client sees, and nothing else."""
        if not self.options.page:
            yield
            return
        arguments = ["dashboard", "--config", str(settled.dashboard_file)]
        process: subprocess.Popen[bytes] = spawn(arguments, self.options.folder / "page.log")
        try:
            yield
        finally:
            await asyncio.to_thread(end, process)
