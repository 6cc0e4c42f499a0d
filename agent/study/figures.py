"""What a study comes to, as `docs/architecture.md` defines its figures: plain JSON values."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from agent.planning.problem import Floats
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
        "forecast": question.forecast,
        "forecast_seconds": round(answer.forecast_seconds, 2),
        "strategies": {name: _strategy(lives, question, bills[name], parts) for name, parts in answer.parts.items()},
        "captured": captured(totals, "traded", "perfect"),
        "captured_auction": captured(totals, "auction", "perfect"),
        "captured_of_central": captured(totals, "traded", "central"),
        "homes_worse_off": None if alone is None or traded is None else homes_worse_off(alone, traded, days),
        "monthly": _monthly(answer),
    }


def captured(totals: dict[Strategy, Decimal], strategy: Strategy, best: Strategy) -> float | None:
    """Return (baseline - strategy) / (baseline - best); baseline is the cheaper of alone and self_consumption."""
    known = [totals[name] for name in ("alone", "self_consumption") if name in totals]
    if len(known) < 2 or strategy not in totals or best not in totals or min(known) == totals[best]:
        return None
    return float((min(known) - totals[strategy]) / (min(known) - totals[best]))


def _bills(parts: Sequence[Part]) -> list[Decimal]:
    return [sum(column, Decimal(0)) for column in zip(*(part.books.bills() for part in parts), strict=True)]


def _strategy(lives: Lives, question: Question, bills: Sequence[Decimal], parts: Sequence[Part]) -> dict[str, Any]:
    capacity_wh = np.array([life.battery.capacity_wh if life.battery else 0.0 for life in lives.homes])
    slots = sum(part.books.slots for part in parts)
    begin = lives.index(question.first)
    lived = slice(begin, begin + slots)
    load_kwh = np.array([life.load_w[lived].sum() for life in lives.homes]) * question.first.hours / 1000

    def of_homes(name: str) -> Floats:
        return sum((getattr(part.books, name) for part in parts), np.zeros(len(lives.homes))) / 1000

    def kwh(name: str) -> float:
        return round(float(of_homes(name).sum()), 3)

    bought, sold, imported, discharged = map(of_homes, ("bought_wh", "sold_wh", "import_wh", "discharged_wh"))
    homes = {
        life.name: {
            "bill": float(cents(bills[i])),
            "bought_kwh": round(float(bought[i]), 3),
            "sold_kwh": round(float(sold[i]), 3),
            "self_sufficiency": _self_sufficiency(float(imported[i]), float(load_kwh[i])),
            "cycles": _cycles(float(discharged[i]), float(capacity_wh[i])),
        }
        for i, life in enumerate(lives.homes)
    }
    return {
        "bill": float(cents(sum(bills, Decimal(0)))),
        "homes": homes,
        "import_kwh": kwh("import_wh"),
        "export_kwh": kwh("export_wh"),
        "traded_kwh": kwh("bought_wh"),
        "trade_share": _share(kwh("bought_wh"), kwh("bought_wh") + kwh("import_wh")),
        "self_sufficiency": _self_sufficiency(kwh("import_wh"), float(load_kwh.sum())),
        "cycles": _cycles(kwh("discharged_wh"), float(capacity_wh.sum())),
        "rounds_mean": round(sum(part.books.rounds for part in parts) / slots, 2),
        "seconds": round(sum(part.seconds for part in parts), 2),
    }


def _share(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole > 0 else None


def _self_sufficiency(import_kwh: float, load_kwh: float) -> float | None:
    """Return the share of the load that was not bought from the grid: own sun, or a neighbour's."""
    return _share(load_kwh - import_kwh, load_kwh)


def _cycles(discharged_kwh: float, capacity_wh: float) -> float:
    """Return how many times a battery was emptied."""
    return round(1000 * discharged_kwh / capacity_wh, 2) if capacity_wh else 0.0


def _monthly(answer: Answer) -> dict[str, dict[Strategy, float]]:
    """Return the community bill of every local month by strategy."""
    totals: dict[str, dict[Strategy, Decimal]] = {}
    for strategy, parts in answer.parts.items():
        for part in parts:
            for month, bills in part.monthly.items():
                of_month = totals.setdefault(month, {})
                of_month[strategy] = sum(bills, of_month.get(strategy, Decimal(0)))
    return {month: {name: float(cents(bill)) for name, bill in of.items()} for month, of in sorted(totals.items())}
