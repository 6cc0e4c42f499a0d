"""What a round costs against the number of homes, from ten to a thousand: CPU of the answers and of everything that a
home computes for itself from all bids, bytes of a signed bid, and rounds until 99.5 % of the possible gain is there.

    python tests/benchmarks/market_scale.py ../shared/data/gecad250 --figure docs/figures/market-scale.svg

Beyond the homes of the folder, homes are drawn again with load and sun scaled by a seeded chance.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from recorded_homes import planner_of, tariff_of

from agent.planning.planner import Planner
from agent.simulator.community import load_community
from agent.study.homes import recorded
from agent.study.round_table import matched_trades, negotiate
from coordinator.charter import Rules
from coordinator.negotiation import Finished
from coordinator.rounds import Course, Tally
from coordinator.slots import Slot

SIZES = (10, 25, 50, 100, 250, 500, 1000)
ROUNDS, REPEATED = 30, 20
LONG = 100
"""The gain in reach is the best of the first rounds and this one: for a thousand homes no optimiser is at hand."""


def planners(folder: Path, homes: int, rules: Rules) -> dict[str, Planner]:
    """Return the first `homes` of the folder, and beyond them homes drawn again."""
    community = load_community(folder)
    first = Slot.at(community.start_at, community.slot_s)
    luck = np.random.default_rng(1)
    made: dict[str, Planner] = {}
    for number in range(homes):
        home = community.homes[number % len(community.homes)]
        one = planner_of(community, home, first, rules, known=True)
        if number >= len(community.homes):
            load_w, pv_w = recorded(home, first, rules.horizon_slots)
            one = Planner(
                first=first,
                load_w=load_w * luck.uniform(0.5, 1.5),
                pv_w=pv_w * luck.uniform(0.5, 1.5),
                tariff=tariff_of(community, home),
                battery=one.problem.battery,
                stored_wh=one.problem.stored_wh,
                rho_micro=rules.rho_micro,
                timezone=community.timezone,
            )
        made[f"home-{number:04}"] = one
    return made


def averaging_ms(bids: Mapping[str, Sequence[int]], prices: Sequence[int], rules: Rules) -> float:
    """Return the CPU of what one home does with all bids of a round: sums, prices, its own next anchor."""
    mine = next(iter(bids.values()))
    course, anchor = Course.open(tuple(prices), rules), [0.0] * len(prices)
    begun = time.process_time()
    for _ in range(REPEATED):
        rows = np.array(list(bids.values()), dtype=np.int64)
        tally = Tally.of(rows, np.array([bids[home] for home in bids], dtype=np.int64), rules)
        course.next_anchor(mine, anchor, tally, course.next(tally, rules), rules)
    return 1000 * (time.process_time() - begun) / REPEATED


def measure(folder: Path, homes: int, *, judged: bool = True) -> dict[str, float]:
    """Return CPU and bytes per home and round, and `rounds_to_995` when judged, which takes longest."""
    community = load_community(folder)
    never_at_rest = {"unmatched_wh": 0, "unmatched_pct": 0, "horizon_pct": 0, "price_change_micro": 0}
    rules = Rules.for_slot(
        community.slot_s, 86400 // community.slot_s, round_limit=LONG if judged else ROUNDS, **never_at_rest
    )
    made = planners(folder, homes, rules)
    first = next(iter(made.values())).first
    gains: dict[int, float] = {}

    def judge(result: Finished) -> None:
        if judged and (result.rounds <= ROUNDS or result.rounds == LONG):
            trades = matched_trades(result)
            gains[result.rounds] = sum(one.gain(trades[name], result.prices_micro) for name, one in made.items())

    openings = {name: one.opening_prices() for name, one in made.items()}
    outcome = negotiate(made, openings, slot=first, rules=rules, on_round=judge)
    figures: dict[str, float] = {
        "homes": homes,
        "ms_per_answer": outcome.ms_per_answer,
        "ms_averaging": averaging_ms(outcome.bids_wh, outcome.prices_micro, rules),
        "bytes_per_home_per_round": outcome.bytes_per_home_per_round,
    }
    if judged:
        best = max(gains.values())
        figures["rounds_to_995"] = min(number for number, gain in gains.items() if gain >= 0.995 * best)
    return figures


def draw(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw what `measure` found for several numbers of homes."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    sizes = [row["homes"] for row in rows]
    figure, axes = plt.subplots(1, 3, figsize=(10, 3), layout="constrained")
    axes[0].plot(sizes, [row["ms_per_answer"] for row in rows], marker="o", label="answer")
    axes[0].plot(sizes, [row["ms_averaging"] for row in rows], marker="o", label="sums, prices, anchors")
    axes[0].set_ylabel("CPU per home and round [ms]")
    axes[0].legend(frameon=False)
    axes[1].plot(sizes, [row["bytes_per_home_per_round"] for row in rows], marker="o")
    axes[1].set_ylabel("signed bid [bytes]")
    axes[2].plot(sizes, [row["rounds_to_995"] for row in rows], marker="o")
    axes[2].set_ylabel("rounds to 99.5 % of the gain, cold")
    for axis in axes:
        axis.set_xscale("log")
        axis.set_xlabel("homes")
        axis.set_ylim(bottom=0)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    rows = []
    for homes in args.sizes:
        rows.append(measure(args.folder, homes))
        print(json.dumps(rows[-1]), flush=True)
    if args.figure:
        draw(rows, args.figure)


if __name__ == "__main__":
    main()
