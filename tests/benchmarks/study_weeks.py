"""Recorded homes lived through in closed loop: an August and a January week, or with --year a whole year.

python tests/benchmarks/study_weeks.py ../shared/data/fontana17 [--year] [--forecast naive] [--work FOLDER]

With --work, forecasts and finished parts are kept, and an interrupted year goes on where it was.
"""

import argparse
import json
import os
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from agent.simulator.community import load_community
from agent.study.engine import Question, answer
from agent.study.figures import captured, figures
from agent.study.lives import lives_of
from agent.study.street import Options
from agent.study.study_words import NAMES
from coordinator.charter import Rules
from coordinator.slots import Slot

WEEKS = {
    "aug": (datetime(2016, 8, 22, 8, tzinfo=UTC), 7),
    "jan": (datetime(2017, 1, 9, 8, tzinfo=UTC), 7),
}
"""Names, local midnights and lengths in days."""


def run(
    folder: Path,
    spans: dict[str, tuple[datetime, int]],
    work: Path,
    forecast: Literal["naive", "model", "perfect"] = "model",
) -> dict[str, dict[str, Any]]:
    """Return the study's figures of every span."""
    lives = lives_of(load_community(folder))
    slot_s = lives.first.length_s
    found = {}
    for name, (start_at, days) in spans.items():
        question = Question(
            first=Slot.at(start_at, slot_s),
            slots=days * 86_400 // slot_s,
            strategies=tuple(NAMES),
            forecast=forecast,
            options=Options(rules=Rules.for_slot(slot_s, 86_400 // slot_s)),
        )
        found[name] = figures(lives, question, answer(lives, question, work=work, jobs=os.cpu_count() or 1))
    return found


def verdicts(found: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Return what is judged: of all spans together, and the worst span or month where nobody may lose."""
    totals = {
        name: sum((Decimal(str(each["strategies"][name]["bill"])) for each in found.values()), Decimal(0))
        for name in NAMES
    }
    months = [bills for each in found.values() for bills in each["monthly"].values()]
    traded = [each["strategies"]["traded"] for each in found.values()]
    return {
        "captured": captured(totals, "traded", "perfect") or 0.0,
        "captured_auction": captured(totals, "auction", "perfect") or 0.0,
        "captured_of_central": captured(totals, "traded", "central") or 0.0,
        "homes_worse_off": float(sum(each["homes_worse_off"] for each in found.values())),
        "alone_to_self_consumption": max(bills["alone"] / bills["self_consumption"] for bills in months),
        "rounds_mean": sum(each["rounds_mean"] for each in traded) / len(traded),
        "traded_seconds": sum(each["seconds"] for each in traded),
        "forecast_seconds": sum(each["forecast_seconds"] for each in found.values()),
        **{f"captured_{name}": each["captured"] or 0.0 for name, each in found.items()},
    }


def whole_year(folder: Path) -> dict[str, tuple[datetime, int]]:
    """Return the record without its first week, from which the first forecasts are made."""
    community = load_community(folder)
    days = community.slots * community.slot_s // 86_400 - 7
    return {"year": (community.start_at + timedelta(days=7), days)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--year", action="store_true", help="the whole record after its first week")
    parser.add_argument("--forecast", choices=("naive", "model", "perfect"), default="model")
    parser.add_argument("--work", type=Path, help="default: a folder that is removed afterwards")
    args = parser.parse_args()
    spans = whole_year(args.folder) if args.year else WEEKS
    with tempfile.TemporaryDirectory() as scratch:
        found = run(args.folder, spans, args.work or Path(scratch), args.forecast)
    json.dump({"verdicts": verdicts(found), **found}, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
