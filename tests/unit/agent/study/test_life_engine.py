"""The study's engine: parts of a period, the same figures on any number of processes, and no work done twice."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from small_street import FIRST, street

from agent.study import engine
from agent.study.engine import Question, answer
from agent.study.life import live
from agent.study.lives import Lives
from agent.study.segments import Segment, segments
from agent.study.street import Options
from coordinator.charter import Rules
from coordinator.slots import Slot

QUESTION = Question(
    first=FIRST.shifted(24 * 8),
    slots=24 * 2,
    strategies=("alone", "central"),
    forecast="naive",
    options=Options(rules=Rules.for_slot(3600, 24)),
)


def test_the_parts_cover_a_period_once_and_each_but_the_first_runs_in() -> None:
    parts = list(segments(FIRST, 24 * 100))
    # a rest of 16 days stands alone, one of 13 stays with the part before
    assert [p.slots for p in parts] == [672, 672, 672, 16 * 24]
    assert [p.slots for p in segments(FIRST, 24 * 97)] == [672, 672, 41 * 24]
    assert parts[0].booked == FIRST
    assert parts[0].run_in == 0
    assert all(p.booked.start_at - p.first.start_at == timedelta(days=3) for p in parts[1:])
    assert all(a.booked.shifted(a.slots) == b.booked for a, b in pairwise(parts))


@pytest.fixture
def two_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    def halves(first: Slot, slots: int) -> list[Segment]:
        return [
            Segment(first=first, run_in=0, slots=slots // 2),
            Segment(first=first.shifted(slots // 2 - 12), run_in=12, slots=slots // 2),
        ]

    monkeypatch.setattr(engine, "segments", halves)


@pytest.mark.usefixtures("two_parts")
def test_parts_come_close_to_one_piece(tmp_path: Path) -> None:
    lives = street()
    parts = answer(lives, QUESTION, work=tmp_path).parts
    for strategy, lived in parts.items():
        assert [p.books.slots for p in lived] == [24, 24]
        total = sum(float(bill) for p in lived for bill in p.books.bills())
        assert total == pytest.approx(_in_one_piece(lives, replace(QUESTION, strategies=(strategy,))), rel=0.03)


def _in_one_piece(lives: Lives, question: Question) -> float:
    options = replace(
        question.options, terminal_per_kwh=tuple(engine.terminal_prices(lives, question.first, question.slots))
    )
    home = engine.Street(lives, question.first, options)
    foreseen = engine.expectations(lives, "naive", question.first, question.slots, 24)
    books = home.open_books()
    for step, lived in enumerate(live(home, question.strategies[0], foreseen)):
        books.add(lived, home.offset + step)
    return float(sum(books.bills()))


@pytest.mark.usefixtures("two_parts")
def test_an_interrupted_study_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lives = street()
    first = answer(lives, QUESTION, work=tmp_path)
    assert not list(tmp_path.glob("*.tmp"))
    lived: list[str] = []
    monkeypatch.setattr(engine, "live", lambda home, strategy, foreseen: lived.append(strategy) or iter(()))
    again = answer(lives, QUESTION, work=tmp_path)
    assert lived == []
    for strategy, parts in first.parts.items():
        for mine, theirs in zip(parts, again.parts[strategy], strict=True):
            assert mine.books.bills() == theirs.books.bills()
            assert np.array_equal(mine.books.discharged_wh, theirs.books.discharged_wh)
    # another rule is another study
    answer(lives, replace(QUESTION, options=Options(rules=Rules.for_slot(3600, 24, round_limit=2))), work=tmp_path)
    assert lived != []


def test_two_processes_come_to_the_same(tmp_path: Path) -> None:
    question = replace(QUESTION, slots=12, strategies=("alone", "traded"))
    one = answer(street(), question, work=tmp_path / "one")
    done: list[object] = []
    two = answer(street(), question, work=tmp_path / "two", jobs=2, on_done=done.append)
    assert len(done) == 4 + 2  # forecasts of four homes, two strategies
    for strategy in question.strategies:
        assert one.parts[strategy][0].books.bills() == two.parts[strategy][0].books.bills()
