"""`commonwatt demo`."""

import contextlib
import json
import logging
import shutil
import socket
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from agent.demo.options import DemoOptions
from coordinator.errors import ConfigError

DEFAULT_PORT = 8080
PORTS_TRIED = 20


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--start {text!r} is no time: write it like 2017-01-09T09:00+00:00") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def demo(
    homes: Annotated[int | None, typer.Option(min=2, max=40, help="Number of homes.", show_default="6, or all")] = None,
    hours: Annotated[float, typer.Option(min=0.25, help="Simulated hours.")] = 24.0,
    speed: Annotated[float, typer.Option(min=1, max=7200, help="Simulated seconds per second.")] = 360.0,
    traces: Annotated[Path | None, typer.Option(help="Community folder with real homes to live by.")] = None,
    start: Annotated[str | None, typer.Option(help="Simulated start, e.g. 2017-01-09T09:00-08:00.")] = None,
    broker: Annotated[
        Literal["auto", "mosquitto", "embedded"], typer.Option(help="auto: Mosquitto where it is installed.")
    ] = "auto",
    masked: Annotated[bool, typer.Option("--masked", help="Neighbours see the sum of all bids, never one.")] = False,
    processes: Annotated[bool, typer.Option("--processes", help="Every part of every home a process.")] = False,
    no_page: Annotated[bool, typer.Option("--no-page", help="Serve no page.")] = False,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the page.", show_default="8080, or the next free one")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report to this file, as JSON.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Keep keys, ledgers and logs in this empty folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print only the report, as JSON.")] = False,
) -> None:
    """Show a neighbourhood trading: simulated devices, real Modbus, real MQTT, a broker and a ledger per home."""
    # Everything else of this program starts faster when it need not know the demo: eighteen processes of it, here.
    from agent.cli.demo_play import play
    from agent.dashboard.terminal import report_table

    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(message)s")
    page_port = DEFAULT_PORT if no_page else _page_port(port)
    if report is not None:
        _writable(report)
    with _folder(keep) as folder:
        options = DemoOptions(
            folder=folder,
            homes=homes,
            hours=hours,
            speed=speed,
            traces=traces,
            start_at=_moment(start),
            broker=broker,
            masked=masked,
            processes=processes,
            page=not no_page,
            page_port=page_port,
        )
        _tell_page(options, port, quiet=as_json)
        result = play(options, quiet=as_json)
    if result is None:
        left = "Nothing is left behind." if keep is None else f"Its files are kept in {keep}."
        Console(stderr=True, quiet=as_json).print(left, markup=False, soft_wrap=True)
        raise typer.Exit(130)
    if as_json:
        typer.echo(json.dumps(result, indent=2))
    else:
        Console().print(report_table(result))
    if report is not None:
        report.write_text(json.dumps(result, indent=2) + "\n")
    if result["ledger_mismatches"] or result["wh_sold_twice"]:
        raise typer.Exit(1)


def _writable(report: Path) -> None:
    """Find out before a demo of minutes that its report has no place."""
    try:
        with report.open("a"):
            pass
    except OSError as error:
        raise ConfigError(f"--report {report} cannot be written: {error.strerror}; name another file") from None


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Yield an empty folder; a temporary one leaves nothing behind."""
    if keep is not None:
        try:
            keep.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--keep {keep} cannot be made: {error.strerror}; name another folder") from None
        if any(keep.iterdir()):
            raise ConfigError(f"--keep {keep}: the folder is not empty; name a new one")
        yield keep.resolve()
        return
    folder = Path(tempfile.mkdtemp(prefix="commonwatt-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _tell_page(options: DemoOptions, wanted: int | None, *, quiet: bool) -> None:
    if not options.page or quiet:
        return
    moved = wanted is None and options.page_port != DEFAULT_PORT
    why = f"   (port {DEFAULT_PORT} is taken)" if moved else ""
    url = f"http://127.0.0.1:{options.page_port}"
    Console(stderr=True).print(f"The page: [bold]{url}[/]{why}   Ctrl-C ends the demo.")


def _page_port(wanted: int | None) -> int:
    """Return the port for the page: the one that was asked for, or the first free one from the usual one on.

    Raises:
        ConfigError: If the port that was asked for, or every one that was tried, is taken.
    """
    tried = range(DEFAULT_PORT, DEFAULT_PORT + PORTS_TRIED) if wanted is None else (wanted,)
    for port in tried:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    if wanted is None:
        raise ConfigError(f"ports {tried[0]} to {tried[-1]} are all taken: name a free one with --port, or --no-page")
    raise ConfigError(f"--port {wanted}: another program uses it: name a free port, or leave --port out")
