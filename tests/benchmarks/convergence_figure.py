"""Draw docs/figures/market-convergence.svg: how much of the possible gain the bids of every round would still miss.

python tests/benchmarks/convergence_figure.py ../shared/data docs/figures/market-convergence.svg
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path

from agent.simulator.community import load_community
from agent.study import pictures
from agent.study.market import Question, solve
from agent.study.market_page import progress_by_round

CASES = {
    "17 homes, August": ("fontana17", datetime(2016, 8, 22, 16, tzinfo=UTC)),
    "17 homes, January": ("fontana17", datetime(2017, 1, 9, 16, tzinfo=UTC)),
    "17 homes, April": ("fontana17", datetime(2017, 4, 10, 16, tzinfo=UTC)),
    "250 homes, two tariffs": ("gecad250", None),
}


def missing(folder: Path, at: datetime | None) -> list[float]:
    """Return 1 - captured of every round, from cold until the homes settle."""
    market = solve(load_community(folder), Question(at=at), keep_rounds=True)
    return [1 - each.captured for each in progress_by_round(market) if each.captured is not None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("figure", type=Path)
    args = parser.parse_args()
    series = {}
    for name, (folder, at) in CASES.items():
        series[name] = missing(args.data / folder, at)
        print(f"{name}: " + " ".join(f"{100 * share:.3f}" for share in series[name]))
    args.figure.write_text(pictures.standing_alone(pictures.compared(series)), encoding="utf-8")


if __name__ == "__main__":
    main()
