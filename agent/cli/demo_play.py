"""Plays a demo in the terminal: progress, the live view, and what Ctrl-C does."""

import asyncio
import signal
from collections.abc import Callable
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from agent.cli.demo_lines import Lines
from agent.dashboard.terminal import live_view
from agent.demo.director import Demo
from agent.demo.director import Progress as DemoProgress
from agent.demo.launch import PARTS
from agent.demo.options import DemoOptions


def play(options: DemoOptions, *, quiet: bool) -> dict[str, Any] | None:
    """Run the demo with a live view; None when it was interrupted."""
    console = Console(stderr=True, quiet=quiet)
    bar = Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    task = bar.add_task("starting the homes", total=None)
    with Live(bar, console=console, refresh_per_second=4, transient=True) as live:
        lines = Lines(console)

        def show(progress: DemoProgress) -> None:
            lines.show(progress)
            if progress.begun:
                bar.update(
                    task,
                    description=_trading(options, progress.speed),
                    total=progress.slots,
                    completed=progress.slots_settled,
                )
            else:
                homes = len(progress.settled.homes)
                bar.update(task, description=_starting(options, homes), total=homes, completed=progress.homes_there)
            view: RenderableType = live_view(progress.picture, progress.settled.dashboard, progress.wall_s)
            if console.is_terminal:
                live.update(Group(bar, view))

        try:
            return asyncio.run(_until_interrupted(Demo(options), show))
        except (KeyboardInterrupt, asyncio.CancelledError):
            console.print("Interrupted; everything was stopped.")
            return None


def _starting(options: DemoOptions, homes: int) -> str:
    return f"starting {len(PARTS) * homes} processes" if options.processes else f"starting {homes} homes"


def _trading(options: DemoOptions, speed: float) -> str:
    """Say when time runs slower than asked, and why."""
    return "trading" if speed == options.speed else f"trading at {speed:.0f}x, as fast as this machine keeps up"


async def _until_interrupted(demo: Demo, show: Callable[[DemoProgress], None]) -> dict[str, Any]:
    """Run the demo as a task that a signal cancels once, so that it always cleans up; impatience changes nothing."""
    running = asyncio.ensure_future(demo.run(show))
    loop = asyncio.get_running_loop()
    told = False

    def stop() -> None:
        nonlocal told
        if not told:
            told = True
            running.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    return await running
