"""Runs a demo from the first key to the last table, and cleans up whatever happens."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from agent.dashboard.picture import HomePicture, Picture
from agent.dashboard.source import Feeds
from agent.demo.launch import PARTS, InProcess, Launcher, Part, Processes, allow_open_files, end, last_line, spawn
from agent.demo.neighbours import Street, neighbours
from agent.demo.options import DemoOptions
from agent.demo.pace import Pacemaker
from agent.demo.report import make_report, savings_known
from agent.demo.settle_in import Settled, settle_in
from coordinator.clock import PACE_NOTICE_S, Pace, WallClock
from coordinator.errors import CommonwattError

START_PATIENCE_S = 60.0
START_PATIENCE_PART_S = 12.0
"""A Python process with scikit-learn takes about two seconds of a core to start; a slow machine has five times that."""
PATIENCE_SLOTS = 3
"""After the last slot, the demo waits this many slots for the last bills."""
LOOK_S = 0.2
PACE_CHECK_S = 0.02
SLOT_LEAST_S = 1.25
"""Wall seconds of a slot: its rounds, offers and answers go over real sockets and need their time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where the demo is, for whoever draws it."""

    settled: Settled
    picture: Picture
    now: datetime
    speed: float
    """Simulated seconds per wall second: what was asked for, or what this machine keeps up with."""
    homes_there: int
    """How many homes read their devices and hear all neighbours; the simulated time begins when all do."""
    slots_settled: int
    slots: int
    wall_s: float
    ended: dict[tuple[str, Part], str]
    """Parts that ended by themselves, and why."""

    @property
    def begun(self) -> bool:
        return self.homes_there == len(self.settled.homes)


async def _nothing(report: dict[str, Any]) -> None:
    """Do nothing more at the end."""


class Demo:
    """One demo. `launcher` lets tests stop and start single parts of single homes while it runs."""

    def __init__(self, options: DemoOptions) -> None:
        self.options = options
        self.launcher: Launcher = Processes() if options.processes else InProcess()
        self.picture: Picture | None = None
        self.settled: Settled | None = None
        self.speed = options.speed
        self._wall = WallClock()
        self._finish = False
        self._page_process: subprocess.Popen[bytes] | None = None

    def finish(self) -> None:
        """End the trading before its time: `run` returns the report of what was settled until then."""
        self._finish = True

    async def run(
        self,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        at_end: Callable[[dict[str, Any]], Awaitable[None]] = _nothing,
    ) -> dict[str, Any]:
        """Trade until the end and return the report.

        Args:
            on_progress: Called several times a second.
            at_end: Called with the report when the agents have stopped, while brokers and page still serve.

        Raises:
            ConfigError: If something it needs is missing or wrong.
            CommonwattError: If a home does not start, or an agent in this process or the page ended by itself.
        """
        allow_open_files()
        street = await asyncio.to_thread(neighbours, self.options)
        self.settled = settled = await self._settle_in(street)
        self._clock = settled.clock.paced()
        try:
            await self._start_parts(settled, ("simulator", "broker"))
            with Feeds(settled.dashboard, self._wall) as feeds:
                self.picture = feeds.picture()
                async with self._page(settled):
                    await self._start(settled, feeds, on_progress)
                    async with self._pacing(settled):
                        await self._watch(settled, feeds, on_progress)
                    pids = self.launcher.pids()
                    # Brokers and page live on for a moment: what the page shows now is what the report says.
                    await self.launcher.stop_all(settled.homes, ["agent"])
                    feeds.drain(self.picture)
                    report = make_report(settled, self.picture) | ({"pids": pids} if pids else {})
                    await at_end(report)
        finally:
            await self.launcher.stop_all(settled.homes)
        return report

    async def _settle_in(self, street: Street) -> Settled:
        """Write the files of all homes; who tests what may go wrong between the parts changes them here."""
        return settle_in(self.options, street, self._wall.now())

    async def _start_parts(self, settled: Settled, parts: Sequence[Part]) -> None:
        for part in parts:
            for home in settled.homes:
                await self.launcher.start(home, part)

    async def _start(self, settled: Settled, feeds: Feeds, on_progress: Callable[[Progress], None]) -> None:
        """Start the agents, wait until all homes are there, then let the time go."""
        assert self.picture is not None
        await self._start_parts(settled, ("agent",))
        # Every part is a process there, and so is the guard that each agent starts.
        parts = (len(PARTS) + 1) * len(settled.homes) if self.options.processes else len(settled.homes)
        give_up_s = self._wall.monotonic() + START_PATIENCE_S + START_PATIENCE_PART_S * parts
        while True:
            progress = self._look(settled, feeds, 0)
            on_progress(progress)
            if progress.begun:
                self._set_pace(settled, self._most(settled), notice_s=PACE_NOTICE_S)
                return
            for (name, part), why in progress.ended.items():
                raise CommonwattError(f"the {part} of {name} did not start: {why}")
            if self._wall.monotonic() > give_up_s:
                missing = [name for name, home in self.picture.homes.items() if not is_there(home)]
                raise CommonwattError(
                    f"{', '.join(missing)} did not start in time: is this machine busy with something else? "
                    "Try fewer --homes"
                )
            await asyncio.sleep(LOOK_S)

    def _set_pace(self, settled: Settled, speed: float, *, notice_s: float) -> None:
        self.speed = speed
        wall_at = self._wall.now() + timedelta(seconds=notice_s)
        settled.gate.set_pace(Pace(wall_at=wall_at, at=self._clock.at(wall_at), speed=speed))

    def _most(self, settled: Settled) -> float:
        return min(self.options.speed, settled.street.slot_s / SLOT_LEAST_S)

    @asynccontextmanager
    async def _pacing(self, settled: Settled) -> AsyncIterator[None]:
        """Run no faster than the machine keeps up with."""
        task = asyncio.create_task(self._keep_pace(settled), name="pace")
        try:
            yield
        finally:
            task.cancel()

    async def _keep_pace(self, settled: Settled) -> None:
        pacemaker = Pacemaker(most=self._most(settled))
        while True:
            begun_s = self._wall.monotonic()
            await asyncio.sleep(PACE_CHECK_S)
            speed = pacemaker.slept(PACE_CHECK_S, self._wall.monotonic() - begun_s - PACE_CHECK_S)
            if speed is not None:
                self._set_pace(settled, speed, notice_s=PACE_NOTICE_S)

    async def _watch(self, settled: Settled, feeds: Feeds, on_progress: Callable[[Progress], None]) -> None:
        slot_s = settled.street.slot_s
        slots = int((settled.end_at - settled.street.start_at).total_seconds()) // slot_s
        patience_until = settled.end_at + timedelta(seconds=PATIENCE_SLOTS * slot_s)
        while True:
            progress = self._look(settled, feeds, slots)
            on_progress(progress)
            if self._finish or progress.slots_settled >= slots or progress.now >= patience_until:
                return
            await asyncio.sleep(LOOK_S)

    def _look(self, settled: Settled, feeds: Feeds, slots: int) -> Progress:
        """Take in what the homes published, and see who is still alive.

        Raises:
            CommonwattError: If an agent of this process ended, or the page did.
        """
        assert self.picture is not None
        feeds.drain(self.picture)
        ended = self.launcher.ended()
        if not self.options.processes:  # a process that ended is news: others trade on; here it is a bug
            for (name, part), why in ended.items():
                raise CommonwattError(f"the {part} of {name} ended: {why}")
        page = self._page_process
        if page is not None and page.poll() is not None:
            raise CommonwattError(f"the page ended: {last_line(self._page_log)}")
        return Progress(
            settled=settled,
            picture=self.picture,
            now=self._clock.now(),
            speed=self.speed,
            homes_there=len(settled.homes) if slots else sum(is_there(h) for h in self.picture.homes.values()),
            slots_settled=savings_known(self.picture),
            slots=slots,
            wall_s=self._wall.monotonic(),
            ended=ended,
        )

    @property
    def _page_log(self) -> Path:
        return self.options.folder / "page.log"

    @asynccontextmanager
    async def _page(self, settled: Settled) -> AsyncIterator[None]:
        """Serve the page as a process of its own: it sees what any MQTT client sees, and nothing else."""
        if not self.options.page:
            yield
            return
        self._page_process = process = spawn(["dashboard", "--config", str(settled.dashboard_file)], self._page_log)
        try:
            yield
        finally:
            await asyncio.to_thread(end, process)


def is_there(home: HomePicture) -> bool:
    """Say whether a home reads its devices and hears all its neighbours."""
    reads = home.link_up and home.state is not None and home.state.quality == "valid"
    return reads and home.peers is not None and all(peer.online for peer in home.peers.members)
