"""What a study comes to, as `docs/architecture.md` defines its figures: plain JSON values."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from agent.study.books import homes_worse_off
from agent.study.engine import Answer, Part, Question
from agent.study.life import Strategy
from agent.study.lives import Lives
from coordinator.quantities import cents


def figures(lives: Lives, question: Question, answer: Answer) -> dict[str, Any]:
    """Return the study's figures; what needs a strategy that was not asked for is None."""
    bills = {strategy: _bills(parts) for strategy, parts in answer.parts.items()}
    totals = {strategy: sum(each, Decimal(0)) for strategy, each in bills.items()}
    alone, traded = bills.get("alone"), bills.get("traded")
    days = question.slots * question.first.length_s / 86_400
    return {
        "community": lives.name,
        "from": question.first.start_at.isoformat(),
        "to": question.first.shifted(question.slots).start_at.isoformat(),
        "strategies": {name: _strategy(lives, bills[name], parts) for name, parts in answer.parts.items()},
        "captured": captured(totals, "traded", "perfect"),
        "captured_auction": captured(totals, "auction", "perfect"),
        "captured_of_central": captured(totals, "traded", "central"),
        "homes_worse_off": None if alone is None or traded is None else homes_worse_off(alone, traded, days),
    }


def captured(totals: dict[Strategy, Decimal], strategy: Strategy, best: Strategy) -> float | None:
    """Return (baseline - strategy) / (baseline - best); baseline is the cheaper of alone and self_consumption."""
    known = [totals[name] for name in ("alone", "self_consumption") if name in totals]
    if len(known) < 2 or strategy not in totals or best not in totals or min(known) == totals[best]:
        return None
    return float((min(known) - totals[strategy]) / (min(known) - totals[best]))


def _bills(parts: Sequence[Part]) -> list[Decimal]:
    return [sum(column, Decimal(0)) for column in zip(*(part.books.bills() for part in parts), strict=True)]


def _strategy(lives: Lives, bills: Sequence[Decimal], parts: Sequence[Part]) -> dict[str, Any]:
    capacity_wh = sum(life.battery.capacity_wh for life in lives.homes if life.battery)
    slots = sum(part.books.slots for part in parts)

    def kwh(name: str) -> float:
        return round(float(sum(getattr(part.books, name).sum() for part in parts)) / 1000, 3)

    return {
        "bill": float(cents(sum(bills, Decimal(0)))),
        "homes": {life.name: {"bill": float(cents(bill))} for life, bill in zip(lives.homes, bills, strict=True)},
        "import_kwh": kwh("import_wh"),
        "export_kwh": kwh("export_wh"),
        "traded_kwh": kwh("bought_wh"),
        "cycles": round(1000 * kwh("discharged_wh") / capacity_wh, 2) if capacity_wh else 0.0,
        "rounds_mean": round(sum(part.books.rounds for part in parts) / slots, 2),
        "seconds": round(sum(part.seconds for part in parts), 2),
        "parts": _parts(parts),
    }


def _parts(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Return the bill of each part of the period."""
    return [
        {
            "from": part.segment.booked.start_at.isoformat(),
            "days": part.segment.slots * part.segment.booked.length_s // 86_400,
            "bill": float(cents(sum(part.books.bills(), Decimal(0)))),
        }
        for part in parts
    ]
