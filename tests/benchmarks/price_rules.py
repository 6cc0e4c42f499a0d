"""Who gains how much under each price rule: real homes in closed loop, every slot negotiated, kept, balanced and paid.

    python tests/benchmarks/price_rules.py ../shared/data/fontana17 [--start 2016-08-22 2017-01-09 2017-04-10]

Homes plan with the mean of the last seven days and know nothing of the slot they trade. What a home gains is its bill
alone minus its bill with trading.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import numpy as np

from agent.simulator.community import load_community
from agent.study.engine import Question, answer
from agent.study.figures import figures
from agent.study.lives import lives_of
from agent.study.street import Options
from coordinator.charter import PriceRule, Rules
from coordinator.slots import Slot

WEEKS = ("2016-08-22", "2017-01-09", "2017-04-10")
LOCAL_MIDNIGHT_UTC_H = 7


def gini(gains: Sequence[float]) -> float:
    """Return how unevenly a total is shared: 0 all the same, 1 one has it all. Losses count as nothing gained."""
    ordered = np.sort(np.maximum(np.array(gains), 0.0))
    n = ordered.size
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * ordered.sum())) if ordered.sum() else 0.0


def compare(folder: Path, start_at: datetime, days: int, rules: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Live the same days under each rule; return its figures by rule, amounts in the community's currency."""
    community = load_community(folder)
    lives, slot_s = lives_of(community), community.slot_s
    found = {}
    with tempfile.TemporaryDirectory() as work:
        for rule in rules or get_args(PriceRule):
            question = Question(
                first=Slot.at(start_at, slot_s),
                slots=days * 86_400 // slot_s,
                strategies=("alone", "self_consumption", "traded", "perfect"),
                forecast="naive",
                options=Options(rules=Rules.for_slot(slot_s, 86_400 // slot_s, price_rule=rule)),
            )
            found[rule] = _judged(figures(lives, question, answer(lives, question, work=Path(work))))
    return found


def _judged(study: dict[str, Any]) -> dict[str, Any]:
    alone, traded = (study["strategies"][name]["homes"] for name in ("alone", "traded"))
    gains = [alone[home]["bill"] - traded[home]["bill"] for home in alone]
    return {
        "captured": round(study["captured"], 4),
        "gain": round(sum(gains), 2),
        "gini": round(gini(gains), 3),
        "worst_home": round(min(gains), 2),
        "middle_home": round(float(np.median(gains)), 2),
        "homes_worse_off": study["homes_worse_off"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--start", nargs="+", default=WEEKS, help="first local days")
    parser.add_argument("--days", type=int, default=7)
    args = parser.parse_args()
    for day in args.start:
        at = datetime.fromisoformat(day).replace(hour=LOCAL_MIDNIGHT_UTC_H, tzinfo=UTC)
        for rule, row in compare(args.folder, at, args.days).items():
            print(json.dumps({"week": day, "rule": rule} | row), flush=True)


if __name__ == "__main__":
    main()
