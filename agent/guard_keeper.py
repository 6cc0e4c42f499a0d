"""Starts the guard's process for `run` where no service manager does, and again when it ends or falls silent."""

import asyncio
import contextlib
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

from agent.control.ports import NoticeSink
from agent.guard_link import GuardLink, is_served

FIRST_WAIT_S = 1.0
LAST_WAIT_S = 30.0
WELL_S = 300.0
"""A guard that lived for so long was well; what ended it is no crash loop."""
HANGS_S = 10.0
"""A guard of ours that is silent for so long hangs; a service manager's watchdog has the same patience."""
STARTS_S = 60.0
"""What a slow machine needs to start it; where that was too little, it gets twice as long the next time."""
STOP_S = 10.0
GONE_S = 60.0
"""Where a service manager's guard is silent for so long, it was given up, and somebody has to read the devices."""


async def keep_guard(config_file: Path, link: GuardLink, on_notice: NoticeSink) -> None:
    """Keep a guard running until cancelled; then end it, which releases the battery.

    A guard that already serves this home is left to whoever started it, for as long as it comes back.
    """
    wait_s, patience_s = FIRST_WAIT_S, STARTS_S
    while True:
        if await is_served(link.path):
            on_notice("info", f"the guard that serves {link.path} is used")
            await _until_gone(link)
            on_notice("error", f"no guard has served {link.path} for {GONE_S:.0f} s; starting one")
        began_s = link.now_s
        process = await _start(config_file)
        try:
            hung = await _until_over(process, link, patience_s)
        finally:
            await _end(process)
        if link.now_s - began_s > WELL_S:
            wait_s = FIRST_WAIT_S
        if hung:
            patience_s *= 2
        how = "hung and was ended" if hung else f"ended ({process.returncode})"
        on_notice("error", f"the guard {how}; starting it again in {wait_s:.0f} s")
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, LAST_WAIT_S)


async def _until_gone(link: GuardLink) -> None:
    served_s = link.now_s
    while link.now_s - served_s < GONE_S:
        await asyncio.sleep(GONE_S / 12)
        if link.status is not None or await is_served(link.path):
            served_s = link.now_s


async def _start(config_file: Path) -> Process:
    """Start it so that it ends with us, however we end: its standard input ends then."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agent.cli.main", "guard", "--config", str(config_file), "--until-stdin-ends", stdin=PIPE
    )


async def _until_over(process: Process, link: GuardLink, patience_s: float) -> bool:
    """Return when the process has ended, or hangs; whether it hangs. It has `patience_s` to say something first."""
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await process.wait()
            return False
        if link.silent_s > HANGS_S:
            process.kill()
            return True
        patience_s = 1.0


async def _end(process: Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
