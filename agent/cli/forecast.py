"""`commonwatt forecast backtest`."""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from agent.cli.report import PAGE, check_report
from coordinator.errors import ConfigError

if TYPE_CHECKING:
    from agent.simulator.community import CommunityHome
    from agent.study.backtest import HomeBacktest

app = typer.Typer(no_args_is_help=True, help="Forecasts of load and sun, and how good they are.")


@app.callback()
def _forecast() -> None:
    """Forecasts of load and sun, and how good they are."""


@app.command()
def backtest(
    folder: Annotated[Path, typer.Argument(help="Community folder.")],
    home: Annotated[list[str] | None, typer.Option(help="Only this home; may be given again.")] = None,
    start: Annotated[
        datetime | None,
        typer.Option("--from", help="First day of forecasts.", show_default="after 60 % of the record"),
    ] = None,
    end: Annotated[
        datetime | None, typer.Option("--to", help="Day after the last.", show_default="the record's end")
    ] = None,
    issue: Annotated[
        str, typer.Option(help="Issue a day's forecast at every local `midnight`, or at every `slot`.")
    ] = "midnight",
    refit_days: Annotated[int, typer.Option(min=1, help="Learn anew after so many days.")] = 14,
    jobs: Annotated[int, typer.Option(min=1, help="Homes at a time, each in a process of its own.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print only the figures, as JSON.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write a page with pictures and all forecasts to this folder.")
    ] = None,
) -> None:
    """Look back: what would our forecasts have said of recorded homes, and how far would they have been off?"""
    from agent.simulator.community import load_community
    from agent.study.backtest import Walk, means
    from agent.study.backtest import backtest as walk_homes

    community = load_community(folder)
    homes = _chosen(community.homes, home or [])
    zone = community.timezone
    walk = Walk(
        start_at=None if start is None else start.replace(tzinfo=zone),
        end_at=None if end is None else end.replace(tzinfo=zone),
        issue=_issue(issue),
        refit_days=refit_days,
    )
    check_report(report)
    quiet = Console(stderr=True, quiet=as_json)
    running = walk_homes(community, homes, walk, jobs)
    found = dict(track(running, "Homes", total=len(homes), console=quiet, transient=True))
    results = [found[number] for number in sorted(found)]
    if all(result.load is None for result in results):
        raise ConfigError(f"{folder}: no load is known in that span: name another with --from and --to")
    mean = means(results)
    figures = {"homes": {result.name: _plain(result) for result in results}, "mean": mean}
    if report is not None:
        from agent.study.backtest_page import write_backtest

        write_backtest(report, community, walk, results, figures)
    if as_json:
        typer.echo(json.dumps(figures, indent=2))
        return
    _show(results, mean, report)


def _issue(text: str) -> Literal["midnight", "slot"]:
    match text:
        case "midnight" | "slot":
            return text
        case _:
            raise ConfigError(f"--issue {text!r}: say midnight or slot")


def _chosen(homes: Sequence["CommunityHome"], names: Sequence[str]) -> list["CommunityHome"]:
    known = {home.name: home for home in homes}
    if missing := [name for name in names if name not in known]:
        raise ConfigError(f"--home {missing[0]}: no such home; there are {', '.join(known)}")
    return [known[name] for name in names] or list(homes)


def _plain(result: "HomeBacktest") -> dict[str, object]:
    load = result.load.scores.plain() if result.load is not None else {}
    pv = {"pv": result.pv.scores.plain()} if result.pv is not None else {}
    return {**load, **pv, "members": result.members}


def _show(results: Sequence["HomeBacktest"], mean: dict[str, float], report: Path | None) -> None:
    table = Table("home", "mean W", "MAE W", "skill %", "RMSE / 7-day mean", "bias %", "in 80 % band %", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for result in results:
        if result.load is None:
            table.add_row(result.name, *("-" for _ in table.columns[1:]))
            continue
        s = result.load.scores
        bias, inside = 100 * s.bias / max(s.mean_w, 1e-9), 100 * s.coverage80
        values = (f"{s.mean_w:.0f}", f"{s.mae:.0f}", f"{100 * s.skill_mae:.1f}", f"{s.rmse_ratio_mean7:.3f}")
        table.add_row(result.name, *values, f"{bias:+.1f}", f"{inside:.1f}")
    console = Console(highlight=False)
    console.print(table)
    console.print(
        f"\nMean of the homes: error {100 * mean['skill_mae']:.1f} % below the better of yesterday and last week, "
        f"RMSE {mean['rmse_ratio_mean7']:.3f} of the 7-day mean's, {100 * mean['coverage80']:.1f} % in the 80 % band."
    )
    if report is not None:
        console.print(f"Report: {report / PAGE}", soft_wrap=True, markup=False)
