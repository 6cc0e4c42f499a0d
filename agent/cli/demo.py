"""`commonwatt demo`."""

import asyncio
import contextlib
import json
import logging
import shutil
import signal
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from agent.dashboard.terminal import live_view, report_table
from agent.demo.director import Demo
from agent.demo.director import Progress as DemoProgress
from agent.demo.options import DemoOptions
from coordinator.errors import ConfigError


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
    processes: Annotated[bool, typer.Option("--processes", help="Every part of every home a process.")] = False,
    no_page: Annotated[bool, typer.Option("--no-page", help="Serve no page.")] = False,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the page.")] = 8080,
    report: Annotated[Path | None, typer.Option(help="Write the report to this file, as JSON.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Keep keys, ledgers and logs in this empty folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print only the report, as JSON.")] = False,
) -> None:
    """Show a neighbourhood trading: simulated devices, real Modbus, real MQTT, a broker and a ledger per home."""
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(message)s")
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    with _folder(keep) as folder:
        options = DemoOptions(
            folder=folder,
            homes=homes,
            hours=hours,
            speed=speed,
            traces=traces,
            start_at=_moment(start),
            broker=broker,
            processes=processes,
            page=not no_page,
            page_port=port,
        )
        result = _play(options, quiet=as_json)
    if result is None:
        raise typer.Exit(130)
    if report is not None:
        report.write_text(json.dumps(result, indent=2) + "\n")
    if as_json:
        typer.echo(json.dumps(result, indent=2))
    else:
        Console().print(report_table(result))
    if result["ledger_mismatches"] or result["wh_sold_twice"]:
        raise typer.Exit(1)


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Yield an empty folder; a temporary one leaves nothing behind."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        if any(keep.iterdir()):
            raise ConfigError(f"--keep {keep}: the folder is not empty; name a new one")
        yield keep.resolve()
        return
    folder = Path(tempfile.mkdtemp(prefix="commonwatt-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _play(options: DemoOptions, *, quiet: bool) -> dict[str, Any] | None:
    """Run the demo with a live view; None when it was interrupted."""
    console = Console(stderr=True, quiet=quiet)
    if options.page:
        console.print(f"The page: [bold]http://127.0.0.1:{options.page_port}[/]   Ctrl-C ends the demo.")
    bar = Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    task = bar.add_task("starting the homes", total=None)
    with Live(bar, console=console, refresh_per_second=4, transient=True) as live:
        plain = _PlainLines(console) if not console.is_terminal else None

        def show(progress: DemoProgress) -> None:
            bar.update(task, description="trading", total=progress.slots, completed=progress.slots_settled)
            if plain is not None:
                plain.show(progress)
                return
            view: RenderableType = live_view(progress.picture, progress.settled.dashboard, progress.wall_s)
            live.update(Group(bar, view))

        try:
            return asyncio.run(_until_interrupted(Demo(options), show))
        except (KeyboardInterrupt, asyncio.CancelledError):
            console.print("Interrupted; everything was stopped and removed.")
            return None


async def _until_interrupted(demo: Demo, show: Any) -> dict[str, Any]:
    """Run the demo as a task that SIGTERM and SIGINT cancel, so that it always cleans up."""
    running = asyncio.ensure_future(demo.run(show))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, running.cancel)
    return await running


class _PlainLines:
    """For a log file instead of a terminal: one line per simulated hour, and every notice once."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._hour: datetime | None = None
        self._seen: set[tuple[str, datetime, str]] = set()

    def show(self, progress: DemoProgress) -> None:
        zone = progress.settled.dashboard.zone
        for name, home in progress.picture.homes.items():
            for notice in reversed(home.notices.log if home.notices else []):
                key = (name, notice.at, notice.text)
                if notice.level != "info" and key not in self._seen:
                    self._seen.add(key)
                    self._console.print(f"{notice.at.astimezone(zone):%H:%M}  {name}: {notice.text}", markup=False)
        hour = progress.now.replace(minute=0, second=0, microsecond=0)
        if hour != self._hour and progress.now >= progress.settled.street.start_at:
            self._hour = hour
            books = [home.savings for home in progress.picture.homes.values() if home.savings]
            saved = sum(float(b.bill_alone - b.bill_traded) for b in books)
            bought_wh = sum(b.bought_wh for b in books)
            self._console.print(
                f"{hour.astimezone(zone):%Y-%m-%d %H:%M}  {progress.slots_settled}/{progress.slots} slots settled, "
                f"{bought_wh / 1000:.1f} kWh traded, {saved:.2f} {progress.settled.street.currency} saved"
            )
