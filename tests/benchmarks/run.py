"""`make bench`: measures, compares with targets.toml, writes bench.json, and exits non-zero when a target is missed.

    python tests/benchmarks/run.py [NAME ...] [--data ../shared/data] [--json]

Every figure is a ratio or a share within one run, against what a user could take instead; medians, for machines are
noisy. Benchmarks that need recorded homes read the community folder fontana17 below --data, and say so when it is not
there.
"""

import argparse
import json
import statistics
import sys
import time
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.optimize import linprog

from agent.planning.home_model import HomeModel
from agent.planning.problem import Battery, HomeProblem
from agent.planning.program import build, tariff_cost

HERE = Path(__file__).parent
Figures = dict[str, float]


def _home(slots: int, seed: int) -> HomeProblem:
    random = np.random.default_rng(seed)
    hours = np.arange(slots) * 24 / slots
    evening = (hours >= 17) & (hours < 22)
    return HomeProblem(
        slot_h=24 / slots,
        load_w=300 + 900 * random.random(slots) + 800 * evening,
        pv_w=np.maximum(0.0, 4500 * np.sin((hours - 6) / 12 * np.pi)),
        import_per_kwh=np.where(evening, 0.42, 0.28),
        export_per_kwh=np.full(slots, 0.06),
        battery=Battery(capacity_wh=7500, charge_max_w=3750, discharge_max_w=3750),
        stored_wh=2000,
        terminal_per_kwh=0.15,
    )


def answer(data: Path) -> Figures:
    """CPU of one answer at 96 slots, next to HiGHS on the same home at the same prices."""
    ours, theirs = [], []
    for seed in range(30):
        problem = _home(96, seed)
        model, random = HomeModel(problem), np.random.default_rng(seed)
        prices = 0.06 + 0.3 * random.random(96)
        model.answer(prices, np.zeros(96), 150e-6)
        begun = time.process_time()
        for _ in range(5):
            model.answer(prices + 0.001 * random.random(96), np.zeros(96), 150e-6)
        ours.append((time.process_time() - begun) / 5)
        program = build(problem, fixed=False)
        cost = tariff_cost(problem, program.columns)
        cost[program.span("free")] = problem.slot_h * prices
        upper = [] if program.g is None else [program.g, -program.g]
        limits = np.concatenate([program.high, -program.low])
        rows = np.vstack([m.toarray() for m in upper])
        finite = np.isfinite(limits)
        begun = time.process_time()
        linprog(
            cost,
            A_ub=rows[finite],
            b_ub=limits[finite],
            A_eq=program.a,
            b_eq=program.b,
            bounds=np.column_stack([program.x_low, program.x_high]),
            method="highs",
        )
        theirs.append(time.process_time() - begun)
    return {
        "ms_per_answer": 1000 * statistics.median(ours),
        "highs_ms": 1000 * statistics.median(theirs),
        "ratio_to_highs": statistics.median(ours) / statistics.median(theirs),
    }


def negotiation(data: Path) -> Figures:
    """17 real homes from cold, every hour of a day in summer and in winter: share of the central optimum's gain."""
    from negotiation_in_memory import captured_by_round

    by_round: dict[int, list[float]] = {10: [], 15: [], 20: [], 30: []}
    for day in ("2016-08-24", "2017-01-11"):
        for hour in (2, 8, 14, 20):
            at = datetime.fromisoformat(f"{day}T{hour:02d}:00").replace(tzinfo=UTC)
            for number, share in captured_by_round(data / "fontana17", at, by_round.keys()).items():
                by_round[number].append(share)
    return {f"captured_round_{number}": statistics.median(shares) for number, shares in by_round.items()}


def negotiation_over_mqtt(data: Path) -> Figures:
    """The same over a real broker, signed and verified: share captured, and milliseconds per round."""
    from negotiation_over_mqtt import negotiate

    result = negotiate(data / "fontana17", datetime(2016, 8, 22, 16, tzinfo=UTC))
    return {key: float(result[key]) for key in ("homes", "rounds", "captured", "ms_per_round")}


def week(data: Path) -> Figures:
    """A summer week of 17 real homes in closed loop: what they save against each home alone, and who loses."""
    from closed_loop import run

    result: dict[str, Any] = run(data / "fontana17", datetime(2016, 8, 22, 7, tzinfo=UTC), 7)
    names = ("saved_pct", "homes_worse_off", "rounds_mean", "ledger_mismatches", "wh_sold_twice", "seconds")
    return {name: float(result[name]) for name in names}


BENCHMARKS: dict[str, Callable[[Path], Figures]] = {
    "answer": answer,
    "negotiation": negotiation,
    "negotiation_over_mqtt": negotiation_over_mqtt,
    "week": week,
}
NEED_DATA = {"negotiation", "negotiation_over_mqtt", "week"}


def verdict(value: float, target: dict[str, float] | None) -> bool | None:
    """Return whether a figure reaches its target; None without one."""
    if target is None:
        return None
    return target.get("min", -np.inf) <= value <= target.get("max", np.inf)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="default: all")
    parser.add_argument("--data", type=Path, default=HERE.parents[2] / "shared" / "data")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    args = parser.parse_args()
    console = Console(stderr=True)
    targets = tomllib.loads((HERE / "targets.toml").read_text())
    table = Table("benchmark", "figure", "value", "target", "")
    results: dict[str, Figures] = {}
    missed = False
    for name in args.names or BENCHMARKS:
        if name in NEED_DATA and not (args.data / "fontana17").is_dir():
            console.print(f"{name}: NOT RUN, no community folder fontana17 in {args.data} (name another with --data)")
            continue
        with console.status(f"{name}: {BENCHMARKS[name].__doc__}"):
            results[name] = BENCHMARKS[name](args.data)
        for figure, value in results[name].items():
            target = targets.get(name, {}).get(figure)
            reached = verdict(value, target)
            missed |= reached is False
            said = "" if target is None else ", ".join(f"{key} {limit}" for key, limit in target.items())
            table.add_row(name, figure, f"{value:.4g}", said, {None: "", True: "ok", False: "MISSED"}[reached])
    Path("bench.json").write_text(json.dumps(results, indent=2) + "\n")
    if args.json:
        print(json.dumps(results, indent=2))
    else:
        Console().print(table)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
