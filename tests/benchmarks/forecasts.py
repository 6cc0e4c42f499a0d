"""Forecasts of recorded homes, walked forward as `commonwatt forecast backtest` does; and what learning costs.

python tests/benchmarks/forecasts.py ../shared/data/london40 [--refit-days 14]
python tests/benchmarks/forecasts.py ../shared/data/fontana17 --young home-01,home-07
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from agent.forecast.forecaster import Forecaster
from agent.forecast.history import Floats, History
from agent.forecast.naive import DAY_S
from agent.forecast.training import train
from agent.simulator.community import load_community
from agent.study.backtest import Walk, backtest, means
from agent.study.homes import history_of
from agent.study.walk import REFIT_DAYS, forecaster_of
from coordinator.slots import Slot

IMPUTED = {"home-12", "home-15"}
"""Homes of fontana17 whose meter data are about 45 percent made up."""
YOUNG_HOURS = {"1h": (0, 1), "2-3h": (1, 3), "4-6h": (3, 6), "day": (0, 24)}


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


def young_sun(folder: Path, names: list[str], starts: int = 7) -> dict[str, float]:
    """Return the error of the next hours' sun that `sky.py` leaves, of homes with 14 to 40 days of history.

    Root mean square over that of the same forecasts without it, by hours ahead: the mean, and the worst stretch of 26
    days.
    """
    community = load_community(folder)
    per_day, found = DAY_S // community.slot_s, []
    for home in [home for home in community.homes if home.name in names]:
        record = history_of(home, Slot.at(community.start_at, community.slot_s))
        for begin in np.linspace(0, record.slots - 41 * per_day, starts).astype(int) // per_day:
            days = record.upto(record.first.key + int(begin + 41) * DAY_S).last_days(41)
            if np.isfinite(days.pv_w).mean() > 0.4:
                found.append(_with_and_without(forecaster_of(community, home), days, per_day))
    ratios = np.array(found)
    return {
        f"{kind}_{label}": round(float(value), 3)
        for kind, values in (("mean", ratios.mean(axis=0)), ("worst", ratios.max(axis=0)))
        for label, value in zip(YOUNG_HOURS, values, strict=True)
    }


def _with_and_without(forecaster: Forecaster, days: History, per_day: int) -> list[float]:
    """Return the ratio of errors per span of YOUNG_HOURS."""
    said: dict[bool, list[Floats]] = {True: [], False: []}
    issues = np.arange(14 * per_day, 40 * per_day, per_day // 24)
    for day in range(14, 40):
        forecaster.fit(days.upto(days.first.key + day * DAY_S))
        firsts = [days.first.shifted(int(issue)) for issue in issues[issues // per_day == day]]
        for follows in (True, False):
            forecaster._follows_sky = follows
            said[follows].append(forecaster.predict_many(firsts, per_day, days).pv_w)
    came_w = days.pv_w[issues[:, None] + np.arange(per_day)]
    errors = {follows: np.concatenate(parts) - came_w for follows, parts in said.items()}
    squared = {follows: np.nanmean(error**2, axis=0) for follows, error in errors.items()}
    spans = [slice(begin * per_day // 24, end * per_day // 24) for begin, end in YOUNG_HOURS.values()]
    return [float(np.sqrt(squared[True][span].mean() / squared[False][span].mean())) for span in spans]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--refit-days", type=int, default=REFIT_DAYS)
    parser.add_argument("--young", help="these homes' sun with little history only, names with commas between")
    args = parser.parse_args()
    if args.young:
        json.dump(young_sun(args.folder, args.young.split(",")), sys.stdout, indent=1)
        return
    json.dump({**accuracy(args.folder, args.refit_days), **cost(args.folder)}, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
