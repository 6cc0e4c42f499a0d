"""`commonwatt init`, `check` and `run`: one real home."""

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.logs import log_to_stderr
from agent.config import load_config
from coordinator.errors import CommonwattError, ConfigError

ConfigFile = Annotated[Path, typer.Option(help="The home's TOML file.")]


def init(
    folder: Annotated[Path, typer.Argument(help="Where to write it.")] = Path(),
    name: Annotated[str, typer.Option(help="This home's name, as neighbours will see it.")] = "home-1",
    timezone: Annotated[str, typer.Option(help="For example Europe/Berlin.")] = "UTC",
    currency: Annotated[str, typer.Option(help="Three letters.")] = "EUR",
) -> None:
    """Write a commented configuration, a key and a charter of one home, ready for `check` and `run`."""
    from agent.first_files import write_first_files

    config = write_first_files(folder, name=name, timezone=timezone, currency=currency)
    typer.echo(f"Wrote {config} with its key and charter. Put your devices' addresses in, then:")
    typer.echo(f"  commonwatt check --config {config}")
    typer.echo(f"  commonwatt run --config {config}")


def check(
    config: ConfigFile = Path("home.toml"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Explain what is wrong with a configuration: the file, the devices, the brokers. Reads only."""
    import json

    from agent.checks import check_home

    findings = asyncio.run(check_home(config))
    if as_json:
        typer.echo(json.dumps([finding.plain() for finding in findings], indent=2))
    else:
        for finding in findings:
            typer.secho(("ok    " if finding.ok else "WRONG ") + finding.text, fg=None if finding.ok else "red")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def run(config: ConfigFile = Path("home.toml")) -> None:
    """Run this home: read its devices, plan, trade, control when commissioned. Recovers by itself from what it can."""
    log_to_stderr()
    settings = load_config(config)

    async def until_stopped() -> None:
        from agent.runtime import Agent

        task = asyncio.ensure_future(Agent(settings).run())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    try:
        asyncio.run(until_stopped())
    except* CommonwattError as errors:
        first: BaseException = errors
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise ConfigError(str(first)) from None
