"""A study's figures, by the definitions in docs/architecture.md."""

from decimal import Decimal

import numpy as np
import pytest
from small_street import FIRST, street

from agent.study.books import monthly_bills
from agent.study.engine import Answer, Part, Question
from agent.study.figures import captured, figures
from agent.study.life import Strategy
from agent.study.segments import Segment
from agent.study.street import Options, Street
from coordinator.charter import Rules

LIVES = street()
OPTIONS = Options(rules=Rules.for_slot(3600, 24), terminal_per_kwh=(0.2,) * 4)


def part(paid_per_home: float, slots: int = 84) -> Part:
    books = Street(LIVES, FIRST, OPTIONS).open_books()
    books.paid = np.full(4, round(paid_per_home * 1e9), dtype=np.int64)
    books.import_wh += 3000
    books.bought_wh += 500
    books.discharged_wh = np.array([6000.0, 3000.0, 0.0, 0.0])
    books.slots, books.rounds = slots, 5 * slots
    segment = Segment(first=FIRST, run_in=0, slots=slots)
    return Part(segment=segment, books=books, seconds=1.0, monthly={"2026-06": books.bills()})


def test_two_parts_add_up() -> None:
    paid: dict[Strategy, float] = {"alone": 10, "self_consumption": 11, "traded": 7, "central": 6, "perfect": 5}
    question = Question(first=FIRST, slots=168, strategies=tuple(paid), forecast="naive", options=OPTIONS)
    parts = {name: [part(each / 2), part(each / 2)] for name, each in paid.items()}
    found = figures(LIVES, question, Answer(parts=parts, forecast_seconds=0.0))
    traded = found["strategies"]["traded"]
    assert traded["bill"] == 28.0
    assert traded["homes"]["home-2"]["bill"] == 7.0
    assert traded["homes"]["home-0"]["cycles"] == 2.0
    load_kwh = LIVES.homes[0].load_w[:168].sum() / 1000
    assert traded["homes"]["home-0"]["self_sufficiency"] == pytest.approx(1 - 6 / load_kwh, abs=1e-4)
    assert traded["trade_share"] == pytest.approx(4 / 28, abs=1e-4)
    assert traded["import_kwh"] == 24.0
    assert traded["traded_kwh"] == 4.0
    assert traded["cycles"] == 1.0
    assert traded["rounds_mean"] == 5.0
    assert found["monthly"] == {"2026-06": {name: 4.0 * each for name, each in paid.items()}}
    assert found["captured"] == pytest.approx(3 / 5)
    assert found["captured_of_central"] == pytest.approx(3 / 4)
    assert found["captured_auction"] is None
    assert found["homes_worse_off"] == 0


def test_the_baseline_is_the_cheaper_of_the_two_lives_without_neighbours() -> None:
    totals: dict[Strategy, Decimal] = {"alone": Decimal(12), "self_consumption": Decimal(10), "traded": Decimal(8)}
    assert captured(totals | {"perfect": Decimal(6)}, "traded", "perfect") == 0.5
    assert captured(totals, "traded", "perfect") is None
    assert captured(totals | {"perfect": Decimal(10)}, "traded", "perfect") is None


def test_a_months_bill_is_what_the_books_gained_in_it() -> None:
    closings = {"2026-05": [Decimal(3), Decimal(-1)], "2026-06": [Decimal(5), Decimal(-4)]}
    assert monthly_bills(closings) == {"2026-05": [3, -1], "2026-06": [2, -3]}
