"""`commonwatt market solve`."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from agent.cli.report import PAGE, check_report
from coordinator.charter import DEFAULT_RULE, PriceRule
from coordinator.errors import ConfigError

if TYPE_CHECKING:
    from agent.study.market import Market

app = typer.Typer(no_args_is_help=True, help="The market between the homes of a community folder, in one process.")


def moment(text: str | None) -> datetime | None:
    """Return the time an option names; UTC where it names no zone."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--at {text!r} is no time: write it like 2016-08-22T16:00+00:00") from None
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


@app.callback()
def _market() -> None:
    """The market between the homes of a community folder, in one process."""


@app.command()
def solve(
    folder: Annotated[Path, typer.Argument(help="Community folder.")],
    at: Annotated[
        str | None,
        typer.Option(help="First slot, UTC unless an offset is given.", show_default="a week into the record"),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(min=2, max=200, help="At most so many rounds.", show_default="the charter's default")
    ] = None,
    loss: Annotated[float, typer.Option(min=0, max=0.9, help="Share of messages each receiver loses.")] = 0.0,
    rule: Annotated[PriceRule, typer.Option(help="How contracts are priced.")] = DEFAULT_RULE,
    feeder_limit: Annotated[
        float | None, typer.Option(min=0.1, help="Most kW that all homes together may exchange with the grid.")
    ] = None,
    island: Annotated[bool, typer.Option("--island", help="The grid is lost.")] = False,
    seed: Annotated[int, typer.Option(help="Of the losses.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print only the figures, as JSON.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write contracts, flows, constants and a page with pictures to this folder.")
    ] = None,
) -> None:
    """Negotiate one day between all homes; compare with every home alone, an auction, and one central optimiser."""
    from agent.cli.market_view import market_view
    from agent.simulator.community import load_community
    from agent.study.market import Question, solve

    question = Question(
        at=moment(at),
        rounds=rounds,
        loss=loss,
        rule=rule,
        feeder_limit_w=round(1000 * (feeder_limit or 0)),
        island=island,
        seed=seed,
    )
    if island and feeder_limit:
        raise ConfigError("--feeder-limit and --island exclude each other: without a grid nothing passes the feeder")
    community = load_community(folder)
    check_report(report)
    with _Steps(quiet=as_json) as steps:
        market = solve(community, question, on_step=steps.show, keep_rounds=report is not None)
        if report is not None:
            steps.show("report", 0, 1)
            _write(report, market)
    if as_json:
        typer.echo(json.dumps(market.figures(), indent=2))
        return
    console = Console(highlight=False)
    console.print(market_view(market, console.width))
    if report is not None:
        console.print(f"Report: {report / PAGE}", soft_wrap=True, markup=False)


class _Steps:
    """A line per step with a bar; nothing on a terminal that is not looked at."""

    _TITLES: ClassVar = {
        "forecasts": "Homes forecast",
        "rounds": "Homes negotiate",
        "comparison": "Central optimum",
        "report": "Report",
    }

    def __init__(self, *, quiet: bool) -> None:
        console = Console(stderr=True, quiet=quiet)
        self._bar = Progress(
            TextColumn("{task.description:<16}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "_Steps":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, what: str, done: int, of: int) -> None:
        """Begin or advance a step; the steps before it are over."""
        if what not in self._tasks:
            for task in self._tasks.values():
                self._bar.update(task, visible=False)
            self._tasks[what] = self._bar.add_task(self._TITLES[what], total=of)
        self._bar.update(self._tasks[what], completed=done, total=of)


def _write(folder: Path, market: "Market") -> None:
    from agent.study.market_page import write_market_page
    from agent.study.market_report import write_market_report

    write_market_report(folder, market)
    write_market_page(folder / PAGE, market)
