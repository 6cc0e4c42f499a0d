"""`commonwatt guard`: the process that alone reads and commands the home's devices."""

import asyncio
import contextlib
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.logs import log_to_stderr
from agent.config import HomeConfig, load_config


def guard(
    config: Annotated[Path, typer.Option(help="The home's TOML file.")] = Path("home.toml"),
    until_stdin_ends: Annotated[bool, typer.Option(help="End when standard input does.", hidden=True)] = False,
) -> None:
    """Read and command this home's devices, as the only one; `run` starts it where no service does."""
    log_to_stderr()
    asyncio.run(_run(load_config(config), until_stdin_ends))


async def _run(settings: HomeConfig, until_stdin_ends: bool) -> None:
    from agent.data_folder import only_guard
    from agent.guard_process import GuardProcess

    with only_guard(settings.home.data_dir):
        task = asyncio.ensure_future(GuardProcess(settings).run())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        if until_stdin_ends:
            loop.add_reader(sys.stdin, _at_end_of_input, task)
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _at_end_of_input(task: "asyncio.Future[None]") -> None:
    """Whoever started this guard is gone, or told us to go: standard input says nothing else."""
    asyncio.get_running_loop().remove_reader(sys.stdin)
    task.cancel()
