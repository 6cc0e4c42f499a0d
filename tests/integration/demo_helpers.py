"""Runs demos for tests, and looks at them as an outsider can: through the homes' MQTT topics and their ledgers."""

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from agent.dashboard import attention
from agent.dashboard.picture import HomePicture
from agent.demo.director import Demo, Progress
from agent.demo.home_files import HomeFiles
from agent.demo.options import DemoOptions

REPORT_KEYS = {
    "community",
    "currency",
    "slots",
    "homes",
    "contracts_counted",
    "contracts_residual",
    "contracts_void",
    "ledger_mismatches",
    "wh_sold_twice",
    "rounds_mean",
    "trade_share",
}
HOME_KEYS = {"name", "bill_no_battery", "bill_alone", "bill_traded", "bought_wh", "sold_wh", "contracts"}
ALIVE = ("bound", "counted")
SLOT = timedelta(minutes=15)


@dataclass
class RunningDemo:
    """A demo whose simulated time runs."""

    demo: Demo
    progress: Progress
    task: "asyncio.Task[dict[str, Any]]"

    def file(self, name: str) -> HomeFiles:
        assert self.demo.settled is not None
        return next(home for home in self.demo.settled.homes if home.name == name)

    def home(self, name: str) -> HomePicture:
        assert self.demo.picture is not None
        return self.demo.picture.homes[name]

    def soon(self) -> datetime:
        """Return a simulated time whose slots nobody can have agreed on yet."""
        return self.progress.now + SLOT

    def warnings(self, name: str) -> list[str]:
        assert self.demo.picture is not None
        return [text for home, text in attention.warnings(self.demo.picture, time.monotonic()) if home == name]

    def hears(self, name: str, peer: str) -> bool | None:
        """Return whether a home says that it hears a neighbour; None when it says nothing."""
        peers = self.home(name).peers
        return None if peers is None else next(p.online for p in peers.members if p.name == peer)

    def partners(self, name: str, since: datetime) -> set[str]:
        """Return with whom a home has firm contracts for slots that begin at `since` or later, in its own words."""
        firm = [(at, trade) for at, trade in self.home(name).trades() if trade.status in ALIVE and trade.energy_wh]
        return {trade.partner for at, trade in firm if at >= since}

    def trades_among(self, names: Collection[str], since: datetime) -> bool:
        """Return whether two of these homes both speak of a contract between them for a later slot."""
        return any(
            other in self.partners(name, since) and name in self.partners(other, since)
            for name in names
            for other in names
            if other != name
        )

    async def until(self, condition: Callable[[], object], what: str, timeout_s: float = 40.0) -> None:
        """Wait for what an outsider can see.

        Raises:
            AssertionError: If it does not come in time; the demo's own error, if it ended.
        """
        give_up_s = time.monotonic() + timeout_s
        while not condition():
            if self.task.done():
                self.task.result()
                raise AssertionError(f"the demo ended before: {what}")
            assert time.monotonic() < give_up_s, f"not seen within {timeout_s} s: {what}"
            await asyncio.sleep(0.1)

    async def report(self) -> dict[str, Any]:
        """End the demo before its time and return its report."""
        self.demo.finish()
        return await self.task


D = TypeVar("D", bound=Demo)
V = TypeVar("V", bound=RunningDemo)


def running_demo(options: DemoOptions) -> contextlib.AbstractAsyncContextManager[RunningDemo]:
    """Start a demo, yield it once the simulated time runs, and stop it if it still runs."""
    return started(Demo(options), RunningDemo)


@contextlib.asynccontextmanager
async def started(demo: D, view: Callable[[D, Progress, "asyncio.Task[dict[str, Any]]"], V]) -> AsyncIterator[V]:
    """Start a demo of any kind, yield a view of it once the simulated time runs, and stop it if it still runs."""
    seen: list[Progress] = []

    def note(progress: Progress) -> None:
        seen[:] = [progress]
        if running is not None:
            running.progress = progress

    running: V | None = None
    task = asyncio.create_task(demo.run(note))
    try:
        while not (seen and seen[0].begun):
            if task.done():
                task.result()
            await asyncio.sleep(0.05)
        running = view(demo, seen[0], task)
        yield running
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])


def check_report(report: dict[str, Any], homes: int) -> None:
    """Check what every report must say, whatever happened."""
    assert report.keys() - {"pids"} == REPORT_KEYS
    assert len(report["homes"]) == homes
    assert all(home.keys() == HOME_KEYS for home in report["homes"])
    assert report["contracts_counted"] > 0
    assert report["ledger_mismatches"] == 0
    assert report["wh_sold_twice"] == 0


def children(pid: int | None = None) -> set[int]:
    """Return the living processes that a process started."""
    parent = os.getpid() if pid is None else pid
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, its_parent = stat.read_text().rpartition(")")[2].split()[:2]
            if int(its_parent) == parent and state != "Z":
                found.add(int(stat.parent.name))
    return found


def descendants(pid: int) -> set[int]:
    return {d for child in children(pid) for d in {child} | descendants(child)}


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.is_alive()}


def open_ports(demo: Demo) -> list[int]:
    """Return the ports of the demo's homes on which somebody still answers."""
    assert demo.settled is not None
    found = []
    for home in demo.settled.homes:
        for port in (home.inverter_port, home.meter_port, home.broker_port):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
                found.append(port)
    return found
