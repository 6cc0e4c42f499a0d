"""`commonwatt`: the commands. Each is thin; errors an owner can cure are one line, everything else is a bug."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from agent.cli import (
    broker_config,
    charter,
    commission,
    demo,
    forecast,
    guard,
    home,
    import_,
    ledger,
    market,
    parts,
    scan,
    stop,
    study,
)
from coordinator.errors import CommonwattError

app = typer.Typer(
    name="commonwatt",
    help="The open controller for home microgrids: your devices, your plan, trades with your neighbours, no centre.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.demo)
app.command("init")(home.init)
app.command("scan")(scan.scan)
app.command("check")(home.check)
app.command("commission")(commission.commission)
app.command("run")(home.run)
app.command("stop")(stop.stop)
app.command("guard")(guard.guard)
app.command("watch")(parts.watch)
app.command("simulator")(parts.simulator)
app.command("broker")(parts.broker)
app.command("broker-config")(broker_config.broker_config)
app.command("dashboard")(parts.dashboard)
app.command("import")(import_.import_)
app.command("study")(study.study)
app.add_typer(charter.app, name="charter")
app.add_typer(ledger.app, name="ledger")
app.add_typer(market.app, name="market")
app.add_typer(forecast.app, name="forecast")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"commonwatt {version('commonwatt')}")
        raise typer.Exit


@app.callback()
def _main(
    show: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Entry point of all commands."""


def main() -> None:
    """Run the command line."""
    try:
        app()
    except CommonwattError as error:
        # Texts name sections and extras in brackets, which rich would take for markup and leave out.
        Console(stderr=True).print(f"[bold red]commonwatt:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
