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
import tempfile
import time
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import osqp
from rich.console import Console
from rich.table import Table
from scipy import sparse
from scipy.optimize import linprog

from agent.planning.home_model import HomeModel
from agent.planning.problem import Battery, Floats, HomeProblem
from agent.planning.program import build

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
    """CPU of one answer at 96 slots, next to HiGHS (without the quadratic term) and OSQP on the same home and prices.

    Also for days of 24 slots.
    """
    figures: Figures = {}
    for slots in (96, 24):
        times = [_time_of_answers(_home(slots, seed), seed) for seed in range(30)]
        figures[f"ms_per_answer{'' if slots == 96 else '_24'}"] = 1000 * statistics.median(times)
    theirs = [_times_of_others(_home(96, seed), seed) for seed in range(30)]
    for at, name in enumerate(("highs", "osqp")):
        figures[f"{name}_ms"] = 1000 * statistics.median(times[at] for times in theirs)
        figures[f"ratio_to_{name}"] = figures["ms_per_answer"] / figures[f"{name}_ms"]
    return figures


_STEP, _ANSWERS = 150e-6, 5


def _prices(slots: int, seed: int) -> list[Floats]:
    """Return prices of successive rounds: they change little from one to the next."""
    random = np.random.default_rng(seed)
    first = 0.06 + 0.3 * random.random(slots)
    return [first, *(first + 0.001 * random.random(slots) for _ in range(_ANSWERS))]


def _time_of_answers(problem: HomeProblem, seed: int) -> float:
    """Return the CPU seconds of one answer after the first."""
    model, anchor = HomeModel(problem), np.zeros(problem.slots)
    first, *rounds = _prices(problem.slots, seed)
    model.bids(first, anchor, _STEP)
    begun = time.process_time()
    for prices in rounds:
        model.bids(prices, anchor, _STEP)
    return (time.process_time() - begun) / _ANSWERS


def _times_of_others(problem: HomeProblem, seed: int) -> tuple[float, float]:
    """Return the CPU seconds of one answer by HiGHS and by OSQP, which starts where its last answer ended."""
    program, h = build(problem, fixed=False), problem.slot_h
    first, *rounds = _prices(problem.slots, seed)

    def cost(prices: Floats, rho: float) -> Floats:
        return program.cost + program.trade_transposed @ (h * (prices + 1000 * rho * program.trade_kw))

    begun = time.process_time()
    linprog(
        cost(first, 0.0),
        A_ub=-program.g,
        b_ub=-program.between.low,
        A_eq=program.a,
        b_eq=program.equal.low,
        bounds=np.column_stack([program.x_low, program.x_high]),
        method="highs",
    )
    highs_s = time.process_time() - begun
    solver = osqp.OSQP()
    solver.setup(
        P=sparse.csc_matrix(sparse.triu(1000 * h * _STEP * (program.trade_transposed @ program.trade))),
        q=cost(first, _STEP),
        A=sparse.csc_matrix(sparse.vstack([program.a, program.g, sparse.eye_array(program.cost.size)])),
        l=np.concatenate([program.equal.low, program.between.low, program.x_low]),
        u=np.concatenate([program.equal.low, program.between.high, program.x_high]),
        eps_abs=1e-5,
        eps_rel=1e-5,
        max_iter=20_000,
        verbose=False,
    )
    solver.solve()
    begun = time.process_time()
    for prices in rounds:
        solver.update(q=cost(prices, _STEP))
        solver.solve()
    return highs_s, (time.process_time() - begun) / _ANSWERS


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


def negotiation_large(data: Path) -> Figures:
    """250 real homes with two tariffs from cold: captured at round 20, at the worst later one, and under loss."""
    from negotiation_large import Street

    rounds = range(20, 31)
    street = Street(data / "gecad250", max(rounds))
    outcome, shares = street.by_round(rounds)
    _, lossy, by_view = street.limited_to(20).under_loss(0.2, seed=1)
    return {
        "captured_round_20": shares[20],
        "captured_later_min": min(shares.values()),
        "captured_round_20_loss_20": by_view,
        "captured_round_20_loss_20_true_bids": lossy,
        "ms_per_answer": outcome.ms_per_answer,
        "bytes_per_home_per_round": outcome.bytes_per_home_per_round,
    }


def negotiation_warm(data: Path) -> Figures:
    """17 real homes hour after hour, warm, two weeks in winter and in summer: rounds, share of the central optimum."""
    from negotiation_warm import warm_figures

    figures = {}
    for season, day in (("winter", "2017-01-09"), ("summer", "2016-08-22")):
        seen = warm_figures(data / "fontana17", datetime.fromisoformat(day).replace(tzinfo=UTC), 14 * 24)
        figures[f"rounds_mean_{season}"] = statistics.mean(seen["rounds"])
        figures[f"captured_mean_{season}"] = statistics.mean(seen["captured"])
    return figures


def books(data: Path) -> Figures:
    """Random one-slot order books against their optimum (`order_books.py` takes 2,000, which takes long)."""
    from order_books import measure

    return measure(100)


def scale(data: Path) -> Figures:
    """CPU per home and round, 10 homes against 250 (`market_scale.py --figure` draws it up to 1,000)."""
    from market_scale import measure

    few, many = (measure(data / "gecad250", homes, judged=False) for homes in (10, 250))
    return {
        "answer_ratio_250_to_10": many["ms_per_answer"] / few["ms_per_answer"],
        "ms_averaging_10": few["ms_averaging"],
        "ms_averaging_250": many["ms_averaging"],
        "bytes_ratio_250_to_10": many["bytes_per_home_per_round"] / few["bytes_per_home_per_round"],
    }


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


def price_rules(data: Path) -> Figures:
    """A summer day of 17 real homes under each price rule: what all gain, how evenly, and who loses."""
    from price_rules import compare

    figures = {}
    for rule, found in compare(data / "fontana17", datetime(2016, 8, 22, 8, tzinfo=UTC), 24).items():
        for name in ("gain_pct", "gini", "homes_worse_off"):
            figures[f"{rule}_{name}"] = float(found[name])
    return figures


def study(data: Path) -> Figures:
    """17 real homes, an August and a January week in closed loop: shares of the possible gain, and who loses."""
    from study_weeks import WEEKS, run, verdicts

    with tempfile.TemporaryDirectory() as work:
        return verdicts(run(data / "fontana17", WEEKS, Path(work)))


def citylearn(data: Path) -> Figures:
    """CityLearn Challenge 2022: the year's self-consumption as published; ours against it in the first six weeks.

    `citylearn.py` lives the whole year with the product's own forecasts, which takes long.
    """
    from citylearn import CONTROLS, figures, measure, self_consumption
    from citylearn_rules import PHASES, weighted

    found = figures(measure(data / "fontana17", kind="naive", hours=42 * 24))
    year = {
        f"year_self_consumption_{control}": weighted(
            [self_consumption(data / "fontana17", phase, delayed=control == "delayed").score for phase in PHASES]
        )
        for control in CONTROLS
    }
    ratios = {
        f"ratio_to_self_consumption_{control}": found[f"ours_{control}"] / found[f"self_consumption_{control}"]
        for control in CONTROLS
    }
    return found | ratios | year


def forecasts(data: Path) -> Figures:
    """Load forecasts, day ahead from midnight: 15 homes in Fontana, 40 in London; and what learning a year takes."""
    from forecasts import accuracy, cost

    figures = {f"fontana_{name}": value for name, value in accuracy(data / "fontana17").items()}
    if (data / "london40").is_dir():
        figures |= {f"london_{name}": value for name, value in accuracy(data / "london40").items()}
    return figures | cost(data / "fontana17")


def polls(data: Path) -> Figures:
    """Four devices of three blocks each over Modbus TCP: CPU at one poll a second, and how fast it could go."""
    from polls import measure

    return measure()


BENCHMARKS: dict[str, Callable[[Path], Figures]] = {
    "answer": answer,
    "negotiation": negotiation,
    "negotiation_large": negotiation_large,
    "negotiation_warm": negotiation_warm,
    "books": books,
    "scale": scale,
    "negotiation_over_mqtt": negotiation_over_mqtt,
    "week": week,
    "forecasts": forecasts,
    "price_rules": price_rules,
    "study": study,
    "citylearn": citylearn,
    "polls": polls,
}
NEED_DATA = {
    "negotiation",
    "negotiation_large",
    "negotiation_warm",
    "scale",
    "negotiation_over_mqtt",
    "week",
    "price_rules",
    "study",
    "citylearn",
    "forecasts",
}


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
