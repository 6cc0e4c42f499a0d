"""`commonwatt init`, `check` and `run`: one real home."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agent.cli.logs import log_to_stderr
from agent.config import HomeConfig, load_config
from agent.findings import RUNS, Finding
from coordinator.errors import CommonwattError, ConfigError

if TYPE_CHECKING:
    from agent.devices.device import Device

log = logging.getLogger(__name__)

ConfigFile = Annotated[Path, typer.Option(help="The home's TOML file.")]


def init(
    folder: Annotated[Path, typer.Argument(help="Where to write it.")] = Path(),
    name: Annotated[str, typer.Option(help="This home's name, as neighbours will see it.")] = "home-1",
    timezone: Annotated[str, typer.Option(help="For example Europe/Berlin.")] = "UTC",
    currency: Annotated[str, typer.Option(help="Three letters.")] = "EUR",
) -> None:
    """Write a commented configuration, a key and a charter of one home, ready for `check` and `run`."""
    from agent.first_files import PAGE_FILE, write_first_files

    config = write_first_files(folder, name=name, timezone=timezone, currency=currency)
    typer.echo(f"Wrote {config} with its key, charter and password. Put your devices' addresses in, then:")
    typer.echo(f"  commonwatt check --config {config}")
    typer.echo(f"  commonwatt run --config {config}")
    typer.echo(f"  commonwatt dashboard --config {folder / PAGE_FILE}")


def check(
    config: ConfigFile = Path("home.toml"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Explain what is wrong with a configuration: the file, the devices, the brokers. Reads only."""
    import json

    from agent.checks import check_home

    log_to_stderr(logging.ERROR)
    findings = asyncio.run(check_home(config))
    if as_json:
        typer.echo(json.dumps([finding.plain() for finding in findings], indent=2, ensure_ascii=False))
    else:
        _show(findings, config)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def _show(findings: Sequence[Finding], config: Path) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        mark = Text("ok", "green") if finding.ok else Text("WRONG", "bold red")
        table.add_row(mark, finding.subject, Text(finding.text, "" if finding.ok else "red"))
    console = Console(highlight=False)
    console.print(table)
    count = sum(not finding.ok for finding in findings)
    if count:
        said = "1 thing is" if count == 1 else f"{count} things are"
        console.print(f"\n{said} wrong.", style="bold red")
    else:
        runs = any(finding.subject == RUNS for finding in findings)
        after = "This home runs." if runs else f"Next: commonwatt run --config {config}"
        console.print(f"\nAll is well. {after}", soft_wrap=True, markup=False)


def run(config: ConfigFile = Path("home.toml")) -> None:
    """Run this home: read its devices, plan, trade, control when commissioned. Recovers by itself from what it can."""
    from agent.data_folder import only_agent

    log_to_stderr()
    settings = load_config(config)
    with only_agent(settings.home.data_dir):
        _run_until_stopped(settings, config)


def _run_until_stopped(settings: HomeConfig, config: Path) -> None:
    from agent.guard_setup import commanded

    devices = _opened(settings)
    for line in first_lines(settings, config, devices):
        log.info(line)
    guarded = commanded(settings, devices) is not None

    async def until_stopped() -> None:
        task = asyncio.ensure_future(_run_home(settings, config, guarded))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task
        log.info("%s: stopped", settings.home.name)

    try:
        asyncio.run(until_stopped())
    except* CommonwattError as errors:
        raise ConfigError(str(_first(errors))) from None


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _run_home(settings: HomeConfig, config: Path, guarded: bool) -> None:
    """Run the agent; a new one whenever another charter holds: all that an agent must not forget is on the disk."""
    from agent.charter_now import CharterChangedError

    while True:
        try:
            await _run_agent(settings, config, guarded)
        except* CharterChangedError as changed:
            log.info("%s: %s; starting anew by it", settings.home.name, _first(changed))


async def _run_agent(settings: HomeConfig, config: Path, guarded: bool) -> None:
    """Run the agent; where something may be commanded, beside the guard's process."""
    from agent.guard_keeper import keep_guard
    from agent.guard_link import GuardLink
    from agent.runtime import Agent
    from coordinator.clock import WallClock

    link = GuardLink(settings, WallClock()) if guarded else None
    agent = Agent(settings, guard=link)
    async with asyncio.TaskGroup() as tasks:
        if link is not None:
            tasks.create_task(keep_guard(config, link, agent.notice), name="guard's process")
        await agent.run()


def _opened(settings: HomeConfig) -> "list[Device]":
    """Return the home's devices; nothing is connected.

    Raises:
        ConfigError: If a device's profile cannot be used.
    """
    from agent.devices.opening import LinkPool, open_devices
    from coordinator.clock import WallClock

    clock = WallClock()
    return open_devices(settings.devices, LinkPool(clock), clock)


def first_lines(settings: HomeConfig, config: Path, devices: "list[Device]") -> list[str]:
    """Return what an owner should know first: what is read, what is controlled or why not, where the page is."""
    from agent.checks import control_plan

    name = settings.home.name
    read = ", ".join(f"{device.name} ({device.where})" for device in devices)
    return [
        f"{name}: reading {read} every {settings.poll.interval_s:g} s",
        f"{name}: control: {control_plan(settings, devices).text}",
        f"{name}: page: {_page(config)}",
    ]


def _page(config: Path) -> str:
    """Say how to see the page: it is a program of its own, a reader of the home's topics like any other."""
    from agent.dashboard.settings import DashboardSettings
    from agent.first_files import PAGE_FILE
    from coordinator.toml_file import read_toml

    file = config.parent / PAGE_FILE
    if not file.exists():
        return "`commonwatt dashboard --config FILE` serves it"
    try:
        page = read_toml(file, DashboardSettings)
    except ConfigError as error:
        return str(error)
    return f"`commonwatt dashboard --config {file}` serves it at http://{page.host}:{page.port}"
