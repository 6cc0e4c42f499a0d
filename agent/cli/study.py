"""`commonwatt study`."""

import json
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from agent.cli.report import PAGE, check_report
from coordinator.charter import PriceRule, Rules
from coordinator.errors import ConfigError

if TYPE_CHECKING:
    from agent.study.engine import Question, Task
    from agent.study.life import Strategy
    from agent.study.lives import Lives
    from agent.study.study_words import Study


def study(
    folder: Annotated[Path, typer.Argument(help="Community folder.")],
    start: Annotated[
        datetime | None,
        typer.Option("--from", help="First day, local time.", show_default="a week into the record"),
    ] = None,
    end: Annotated[
        datetime | None, typer.Option("--to", help="Day after the last.", show_default="the record's end")
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, help="So many days: from --from on, or the last ones before --to.")
    ] = None,
    strategies: Annotated[
        str | None,
        typer.Option(
            help="What to compare, with commas: no_battery, self_consumption, alone, auction, traded, central, "
            "perfect.",
            show_default="all",
        ),
    ] = None,
    forecast: Annotated[
        Literal["naive", "model", "perfect"],
        typer.Option(help="What the homes expect: 7-day mean, the product's own forecasts, or the truth."),
    ] = "model",
    rule: Annotated[
        PriceRule | None, typer.Option(help="How contracts are priced.", show_default="the charter's default")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes.", show_default="one per core")] = None,
    work: Annotated[
        Path | None,
        typer.Option(
            help="Folder of finished parts and forecasts: what it has is not computed again.",
            show_default="below the user's cache",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print only the figures, as JSON.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write contracts, flows, constants and a page with pictures to this folder.")
    ] = None,
) -> None:
    """Look back: what would these homes have paid without batteries, each alone, trading, and at best?"""
    from agent.cli.study_view import study_view
    from agent.forecast.naive import DAY_S
    from agent.simulator.community import load_community
    from agent.study.engine import Question
    from agent.study.lives import lives_of
    from agent.study.street import Options
    from agent.study.study_period import Wanted, notes, period

    chosen = _strategies(strategies)
    if report is not None and "traded" not in chosen:
        raise ConfigError("--report shows the life with trading: add traded to --strategies")
    community = load_community(folder)
    check_report(report)
    lives = lives_of(community)
    first, slots = period(lives, Wanted(start=start, end=end, days=days))
    said = notes(community, lives, first, slots)
    console = Console(stderr=True, quiet=as_json, highlight=False)
    for line in said:
        console.print(f"Note: {line}", style="yellow", markup=False)
    changes = {} if rule is None else {"price_rule": rule}
    rules = Rules.for_slot(first.length_s, DAY_S // first.length_s, **changes)
    question = Question(first=first, slots=slots, strategies=chosen, forecast=forecast, options=Options(rules=rules))
    found = _found(lives, question, said, work=work or default_work(), jobs=jobs or _cores(), console=console)
    if report is not None:
        _write(report, found)
    if as_json:
        typer.echo(json.dumps(found.figures, indent=2))
        return
    console = Console(highlight=False)
    console.print(study_view(found, console.width))
    if report is not None:
        console.print(f"\nReport: {report / PAGE}", soft_wrap=True, markup=False)


def _strategies(text: str | None) -> "tuple[Strategy, ...]":
    """Return what an option names, in the order of the definitions."""
    from agent.study.study_words import NAMES

    if text is None:
        return tuple(NAMES)
    asked = {name.strip() for name in text.split(",")}
    if unknown := sorted(asked - set(NAMES)):
        raise ConfigError(f"--strategies: {unknown[0]!r} is none: there are {', '.join(NAMES)}")
    return tuple(name for name in NAMES if name in asked)


def default_work() -> Path:
    """Return the folder below the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "commonwatt" / "study"


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _found(
    lives: "Lives", question: "Question", notes: Sequence[str], *, work: Path, jobs: int, console: Console
) -> "Study":
    """Live all strategies with a bar for each.

    Raises:
        ConfigError: If the work folder cannot be written.
    """
    from agent.study.engine import answer, forecast_tasks
    from agent.study.figures import figures
    from agent.study.segments import segments
    from agent.study.study_words import Study

    parts = len(list(segments(question.first, question.slots)))
    try:
        forecasts = len(forecast_tasks(lives, question))
        with _Bars(question.strategies, parts, forecasts, console) as bars:
            found = answer(lives, question, work=work, jobs=jobs, on_done=bars.done)
    except OSError as error:
        raise ConfigError(f"--work {work}: {error.strerror or error}: name another folder") from None
    except KeyboardInterrupt:
        console.print("Stopped. The same command goes on with what is finished.")
        raise
    return Study(lives=lives, question=question, answer=found, figures=figures(lives, question, found), notes=notes)


class _Bars:
    """A line for the forecasts and one per strategy; nothing on a terminal that is not looked at."""

    def __init__(self, strategies: "Sequence[Strategy]", parts: int, forecasts: int, console: Console) -> None:
        from agent.study.study_words import NAMES

        self._progress = Progress(
            TextColumn("{task.description:<26}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("parts"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        titles: dict[str | None, str] = {None: "Forecasts", **{name: NAMES[name] for name in strategies}}
        self._tasks: dict[str | None, TaskID] = {
            name: self._progress.add_task(title, total=parts if name else forecasts) for name, title in titles.items()
        }

    def __enter__(self) -> "_Bars":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def done(self, task: "Task") -> None:
        self._progress.advance(self._tasks[task.strategy])


def _write(folder: Path, found: "Study") -> None:
    from agent.study.study_page import write_study_page, write_study_pictures
    from agent.study.study_report import write_study_report

    write_study_report(folder, found)
    write_study_page(folder / PAGE, found)
    write_study_pictures(folder, found)
