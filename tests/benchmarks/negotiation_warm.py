"""Homes of a community folder negotiate hour after hour, each time from where the last negotiation ended.

    python tests/benchmarks/negotiation_warm.py ../shared/data/fontana17 --start 2017-01-09 --days 14

Forecasts are renewed every hour from the record before it (7-day mean) and taken as true: a battery ends the hour where
the home's plan with its matched trades puts it.
"""

import argparse
import json
import statistics
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from recorded_homes import battery_of, forecaster_of, past_rows, tariff_of

from agent.forecast.history import History
from agent.planning.central import central_optimum
from agent.planning.planner import Planner
from agent.simulator.community import Community, load_community
from agent.study.round_table import Outcome, carried_on, matched_trades, negotiate
from coordinator.charter import Rules
from coordinator.slots import Slot


def warm_figures(folder: Path, start_at: datetime, hours: int) -> dict[str, list[float]]:
    """Return rounds and share of the same-forecast central optimum, slot by slot, without the first, cold one."""
    community = load_community(folder)
    rules = Rules.for_slot(community.slot_s, 86400 // community.slot_s)
    stored = {home.name: battery_of(home)[1] for home in community.homes}
    last: Outcome | None = None
    figures: dict[str, list[float]] = {"rounds": [], "captured": []}
    for number in range(hours):
        first = Slot.at(start_at, community.slot_s).shifted(number)
        planners = _planners(community, first, rules, stored)
        openings = {name: planner.opening_prices() for name, planner in planners.items()}
        shifted, warm = (openings, None) if last is None else carried_on(last, openings, first)
        begun_warm = last is not None
        last = negotiate(planners, shifted, slot=first, rules=rules, warm=warm)
        trades = matched_trades(last.agreed)
        if begun_warm:
            alone = sum(planner.alone.cost for planner in planners.values())
            central = central_optimum([planner.problem for planner in planners.values()])
            gained = sum(planner.gain(trades[name], last.prices_micro) for name, planner in planners.items())
            figures["rounds"].append(last.rounds)
            figures["captured"].append(gained / (alone - central))
        for name, planner in planners.items():
            stored[name] = float(planner.schedule(trades[name]).schedule.stored_wh[0])
    return figures


def _planners(community: Community, first: Slot, rules: Rules, stored: dict[str, float]) -> dict[str, Planner]:
    planners = {}
    for home in community.homes:
        history = History.from_rows(past_rows(home, first), first.length_s)
        forecast = forecaster_of(community, home).predict(first, rules.horizon_slots, history)
        planners[home.name] = Planner(
            first=first,
            load_w=forecast.load_w,
            pv_w=forecast.pv_w,
            tariff=tariff_of(community, home),
            battery=battery_of(home)[0],
            stored_wh=stored[home.name],
            rho_micro=rules.rho_micro,
            timezone=community.timezone,
        )
    return planners


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--start", default="2017-01-09")
    parser.add_argument("--days", type=float, default=14)
    args = parser.parse_args()
    start_at = datetime.fromisoformat(args.start).replace(tzinfo=UTC)
    figures = warm_figures(args.folder, start_at, round(24 * args.days))
    found = {
        "slots": len(figures["rounds"]),
        "rounds_mean": statistics.mean(figures["rounds"]),
        "rounds_max": max(figures["rounds"]),
        "captured_mean": statistics.mean(figures["captured"]),
        "captured_median": statistics.median(figures["captured"]),
        "captured_p05": float(np.quantile(figures["captured"], 0.05)),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
