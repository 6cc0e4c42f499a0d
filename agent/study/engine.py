"""The study's engine: strategies and parts of the period as independent tasks in processes, results kept on disk.

A task that was finished once is not lived again: its sums lie in the work folder, under a name that is the hash of all
that they depend on, the program included. So a study that was interrupted goes on where it was.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from agent.study.books import Books, month_of, monthly_bills, terminal_prices
from agent.study.foresight import Expectation, Kind, Outlooks, expectations, outlooks, together
from agent.study.life import Strategy, live
from agent.study.lives import Lives
from agent.study.record import Recorder
from agent.study.segments import Segment, segments
from agent.study.street import Options, Street
from agent.study.walk import REFIT_DAYS
from coordinator.clock import cpu_s
from coordinator.slots import Slot

_FORESEEING = ("agent/forecast/*.py", "agent/study/foresight.py", "agent/study/walk.py")
_LIVING = ("agent/forecast/*.py", "agent/planning/*.py", "agent/study/*.py", "coordinator/*.py")
"""The code that decides forecasts, and lives."""
_SHOWING = ("study_", "market", "backtest", "pictures", "report", "figures")
"""Modules whose names begin so only show what was found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a study is about.

    Args:
        forecast: What the homes plan with; `perfect` (the strategy) always knows the truth.
        refit_days: A learned forecast learns anew after so many days.
    """

    first: Slot
    slots: int
    strategies: tuple[Strategy, ...]
    forecast: Kind
    options: Options
    refit_days: int = REFIT_DAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One strategy in one part of the period, or the part's forecasts of one home."""

    strategy: Strategy | None
    segment: Segment
    home: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a task came to.

    Args:
        seconds: CPU of this task, forecasts not counted.
        monthly: Bill of each home by local month.
        file: Where the sums lie; of `traded` with the record of every slot.
    """

    segment: Segment
    books: Books
    seconds: float
    monthly: Mapping[str, Sequence[Decimal]] = field(default_factory=dict)
    file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Parts of the period by strategy, and the CPU seconds of all forecasts."""

    parts: dict[Strategy, list[Part]]
    forecast_seconds: float


def answer(
    lives: Lives, question: Question, *, work: Path, jobs: int = 1, on_done: Callable[[Task], None] = lambda task: None
) -> Answer:
    """Live all strategies.

    Args:
        work: Folder for forecasts and finished parts; made where it does not exist.
        jobs: Processes; with one everything runs in this one.
        on_done: Told of every finished task.
    """
    work.mkdir(parents=True, exist_ok=True)
    question = replace(
        question,
        options=replace(
            question.options, terminal_per_kwh=tuple(terminal_prices(lives, question.first, question.slots))
        ),
    )
    parts = list(segments(question.first, question.slots))
    made = _all(lives, question, work, jobs, forecast_tasks(lives, question), on_done)
    forecast_seconds = sum((seconds for _, seconds in made), 0.0)
    tasks = [Task(strategy=strategy, segment=s) for strategy in question.strategies for s in parts]
    found: dict[Strategy, list[Part]] = {strategy: [] for strategy in question.strategies}
    for task, result in _all(lives, question, work, jobs, tasks, on_done):
        assert task.strategy is not None
        found[task.strategy].append(result)
    for lived in found.values():
        lived.sort(key=lambda part: part.segment.first)
    return Answer(parts=found, forecast_seconds=forecast_seconds)


def forecast_tasks(lives: Lives, question: Question) -> list[Task]:
    """Return what must be foreseen before anything is lived: each home for itself, the truth for nobody."""
    if question.forecast == "perfect":
        return []
    parts = segments(question.first, question.slots)
    return [Task(strategy=None, segment=part, home=number) for part in parts for number in range(len(lives.homes))]


def _all(
    lives: Lives, question: Question, work: Path, jobs: int, tasks: Sequence[Task], on_done: Callable[[Task], None]
) -> list[tuple[Task, Any]]:
    results = []
    if jobs == 1:
        worker = _Worker(lives, question, work)
        for task in tasks:
            results.append((task, worker.run(task)))
            on_done(task)
        return results
    with ProcessPoolExecutor(jobs, initializer=_begin, initargs=(lives, question, work)) as pool:
        futures: dict[Future[Any], Task] = {pool.submit(_run, task): task for task in tasks}
        try:
            for future in as_completed(futures):
                results.append((futures[future], future.result()))
                on_done(futures[future])
        except BaseException:
            # who interrupts a study waits for what is running, not for all that was asked
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return results


_workers: list["_Worker"] = []


def _begin(lives: Lives, question: Question, work: Path) -> None:
    _workers[:] = [_Worker(lives, question, work)]


def _run(task: Task) -> Any:
    return _workers[0].run(task)


class _Worker:
    """Runs tasks; lives in a process of its own."""

    def __init__(self, lives: Lives, question: Question, work: Path) -> None:
        self._lives, self._question, self._work = lives, question, work
        self._content = _content(lives)

    def run(self, task: Task) -> "Part | float":
        if task.strategy is not None:
            return self._live(task.strategy, task.segment)
        assert task.home is not None
        return self._outlooks(task.segment, task.home)[1]

    def _path(self, *parts: object) -> Path:
        key = "|".join([self._content, *map(repr, parts)])
        return self._work / f"{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}.npz"

    def _foresee(self, segment: Segment, kind: Kind) -> list[Expectation]:
        """Return a part's forecasts of all homes."""
        if kind == "perfect":
            count = segment.run_in + segment.slots
            return expectations(self._lives, kind, segment.first, count, self._question.options.rules.horizon_slots)
        return together([self._outlooks(segment, number)[0] for number in range(len(self._lives.homes))])

    def _outlooks(self, segment: Segment, number: int) -> tuple[Outlooks, float]:
        """Return a part's forecasts of one home and the CPU seconds that making them took."""
        q, lives, horizon = self._question, self._lives, self._question.options.rules.horizon_slots
        assert q.forecast != "perfect"
        path = self._path("forecast", number, _program(*_FORESEEING), q.forecast, segment, horizon, q.refit_days)
        if path.exists():
            with np.load(path) as file:
                return (file["load_w"], file["pv_w"]), float(file["seconds"])
        begun, count = cpu_s(), segment.run_in + segment.slots
        load_w, pv_w = outlooks(lives, lives.homes[number], q.forecast, segment.first, count, horizon, q.refit_days)
        seconds = cpu_s() - begun
        _save(path, load_w=load_w, pv_w=pv_w, seconds=seconds)
        return (load_w, pv_w), seconds

    def _live(self, strategy: Strategy, segment: Segment) -> Part:
        q, lives = self._question, self._lives
        path = self._path(strategy, _program(*_LIVING), q.forecast, segment, q.options, q.refit_days)
        street = Street(lives, segment.first, q.options, half_full=segment.run_in > 0)
        books = street.open_books()
        if path.exists():
            with np.load(path) as file:
                return Part(
                    segment=segment,
                    books=_filled(books, file),
                    seconds=float(file["seconds"]),
                    monthly=_monthly(file),
                    file=path,
                )
        foreseen = self._foresee(segment, "perfect" if strategy == "perfect" else q.forecast)
        begun = cpu_s()
        closings: dict[str, list[Decimal]] = {}
        recorder = Recorder(lives.timezone, street.hours)
        for step, lived in enumerate(live(street, strategy, foreseen)):
            if step < segment.run_in:
                books.start_wh = books.stored_wh = lived.stored_wh
                continue
            books.add(lived, street.offset + step)
            if strategy == "traded":
                recorder.add(lived, foreseen[step])
            month = month_of(lived.slot, lives.timezone)
            if books.slots == segment.slots or month_of(lived.slot.shifted(1), lives.timezone) != month:
                closings[month] = books.bills()
        seconds, monthly = cpu_s() - begun, monthly_bills(closings)
        _save(
            path,
            seconds=seconds,
            months=list(monthly),
            month_bills=[[str(bill) for bill in bills] for bills in monthly.values()],
            **{name: getattr(books, name) for name in _SUMS},
            **(recorder.arrays() if strategy == "traded" else {}),
        )
        return Part(segment=segment, books=books, seconds=seconds, monthly=monthly, file=path)


_SUMS = tuple(f.name for f in fields(Books) if f.name not in ("import_micro", "export_micro", "terminal_per_kwh"))


def _filled(books: Books, file: Any) -> Books:
    for name in _SUMS:
        value = file[name]
        setattr(books, name, int(value) if value.ndim == 0 else value)
    return books


def _monthly(file: Any) -> dict[str, list[Decimal]]:
    rows = zip(file["months"].tolist(), file["month_bills"].tolist(), strict=True)
    return {month: [Decimal(bill) for bill in bills] for month, bills in rows}


@cache
def _program(*patterns: str) -> str:
    """Return the hash of the code that decisions depend on."""
    digest, top = hashlib.blake2b(digest_size=16), Path(__file__).parents[2]
    for pattern in patterns:
        for path in sorted(top.glob(pattern)):
            if not path.name.startswith(_SHOWING):
                digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _save(path: Path, **arrays: Any) -> None:
    """Write whole or not at all, so that an interruption leaves no half file."""
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    with draft.open("wb") as file:
        np.savez(file, **arrays)
    draft.replace(path)


def _content(lives: Lives) -> str:
    """Return the hash of a community's record."""
    digest = hashlib.blake2b(
        repr(
            (lives.name, lives.timezone, lives.first, lives.slots, lives.country, lives.latitude, lives.longitude)
        ).encode(),
        digest_size=16,
    )
    for life in lives.homes:
        digest.update(repr((life.name, life.battery, life.stored_wh, life.pv_limit_w, life.fuse_limit_w)).encode())
        for array in (life.history.load_w, life.history.pv_w, life.load_w, life.pv_w):
            digest.update(array.tobytes())
        digest.update(life.import_micro.tobytes() + life.export_micro.tobytes())
    return digest.hexdigest()
