"""Forecasts of recorded homes, walked forward as `commonwatt forecast backtest` does; and what learning costs.

python tests/benchmarks/forecasts.py ../shared/data/london40 [--refit-days 14]
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

from agent.forecast.naive import DAY_S
from agent.forecast.training import train
from agent.simulator.community import load_community
from agent.study.backtest import Walk, backtest, means
from agent.study.homes import history_of
from agent.study.walk import REFIT_DAYS, forecaster_of
from coordinator.slots import Slot

IMPUTED = {"home-12", "home-15"}
"""Homes of fontana17 whose meter data are about 45 percent made up."""


def accuracy(folder: Path, refit_days: int = REFIT_DAYS) -> dict[str, float]:
    """Return the means over the homes, made-up ones left out, day ahead from local midnight."""
    community = load_community(folder)
    homes = [home for home in community.homes if home.name not in IMPUTED]
    found = dict(backtest(community, homes, Walk(refit_days=refit_days), jobs=os.cpu_count() or 1))
    return means([found[number] for number in sorted(found)])


def cost(folder: Path) -> dict[str, float]:
    """Return what learning one home's year takes in its own process, anew and again a day later, and one prediction."""
    community = load_community(folder)
    home = community.homes[0]
    record = history_of(home, Slot.at(community.start_at, community.slot_s))
    history, forecaster = record.last_days(365), forecaster_of(community, home)
    first = train(forecaster, history.upto(history.end_key - DAY_S))
    again = train(first.forecaster, history)
    taken = []
    for back in range(20):
        slot = Slot(history.end_key - back * community.slot_s, community.slot_s)
        begun = time.process_time()
        again.forecaster.predict(slot, DAY_S // community.slot_s, history)
        taken.append(time.process_time() - begun)
    return {
        "first_fit_s": first.cpu_s,
        "daily_fit_s": again.cpu_s,
        "fit_peak_mb": max(first.peak_mb, again.peak_mb),
        "predict_ms": 1000 * statistics.median(taken),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--refit-days", type=int, default=REFIT_DAYS)
    args = parser.parse_args()
    json.dump({**accuracy(args.folder, args.refit_days), **cost(args.folder)}, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
