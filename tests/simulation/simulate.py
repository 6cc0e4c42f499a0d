"""`make simulate` and `make simulate-mutants`: the real coordinator classes under every fault, seed by seed.

    python tests/simulation/simulate.py [--days 100] [--liar-days 20] [--first 1] [--jobs 2] [--results FILE]
    python tests/simulation/simulate.py --show FILE
    python tests/simulation/simulate.py --replay SEED [--liars] [--planted NAME]
    python tests/simulation/simulate.py --mutants [--planted NAME]

A neighbourhood-day is 96 slots of six homes; a seed is half a day and a healing at its end. With --results each seed's
outcome is kept in a file, and a run that was stopped goes on where it was. A seed that fails prints how to replay it
and joins seeds.txt, whose seeds run first in every later run and in the tests.
"""

import argparse
import gc
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from sim_bugs import PLANTS
from sim_checks import ViolationError
from sim_faults import faults_of
from sim_keys import signatures
from sim_plants import Planted
from sim_results import HERE, PER_DAY, SLOTS, Outcome, Results, Seed, Sum, code_version, in_parallel, read
from sim_world import World

SEEDS = HERE / "seeds.txt"
MUTANT_SLOTS = 12
MUTANT_TRIES = 400
PROGRESS_S = 60


def run(seed: Seed) -> Outcome:
    """Live through one seed."""
    faults = faults_of(seed.number, liars=seed.liars)
    planted = PLANTS.get(seed.planted, Planted())
    faults = replace(faults, **planted.faults)
    if planted.lost_rows:
        faults = replace(faults, real=False)
    begun = time.process_time()
    gc.collect()
    gc.disable()  # a history's objects live until its end; looking through them again and again costs a tenth
    violation = trace = ""
    with tempfile.TemporaryDirectory(dir=_memory_folder()) as folder, signatures(real=faults.real) as keys, planted:
        world = World(seed.number, faults, slots=seed.slots, keys=keys, folder=Path(folder), planted=planted)
        try:
            trace = world.live()
        except ViolationError as broken:
            violation = f"after {(world.now_ms // 1000 - world.begun_s) / 3600:.2f} h: {broken}"
    cpu_s = time.process_time() - begun
    gc.enable()
    return Outcome(seed=seed, violation=violation, trace=trace, count=world.count, cpu_s=cpu_s)


def _memory_folder() -> str | None:
    """A folder in memory: the simulation tests what is committed, not the disk."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def known_seeds() -> list[Seed]:
    """Return the seeds that failed once: "number slots [liars]" a line."""
    lines = [line.split("#")[0].split() for line in SEEDS.read_text(encoding="utf-8").splitlines()]
    return [Seed(number=int(w[0]), slots=int(w[1]), liars="liars" in w) for w in lines if w]


def remember(seed: Seed, violation: str) -> None:
    if seed not in known_seeds():
        with SEEDS.open("a", encoding="utf-8") as file:
            file.write(
                f"{seed.number} {seed.slots}{' liars' if seed.liars else ''}  # {violation.splitlines()[0][:90]}\n"
            )


def seeds_of(options: argparse.Namespace) -> list[Seed]:
    """Return the seeds to live through: those that failed once, then honest and lying ones in proportion."""
    ranked = []
    for days, liars in ((options.days, False), (options.liar_days, True)):
        half_days = round(days * PER_DAY / options.slots)
        for n in range(half_days):
            ranked.append((n / half_days, Seed(number=options.first + n, liars=liars, slots=options.slots)))
    return known_seeds() + [seed for _, seed in sorted(ranked, key=lambda each: each[0])]


def simulate(options: argparse.Namespace) -> bool:
    """Run the days asked for, but for those that the results hold; return whether every promise was kept."""
    results = Results(options.results, code_version())
    seeds = list(dict.fromkeys(seeds_of(options)))
    left = [seed for seed in seeds if seed not in results.outcomes]
    shown_s = time.monotonic()
    with suppress(KeyboardInterrupt):
        for outcome in in_parallel(run, left, options.jobs):
            results.add(outcome)
            if outcome.violation:
                print(f"seed {outcome.seed.number} FAILED {outcome.violation}\n  replay: {outcome.seed.command}")
                remember(outcome.seed, outcome.violation)
            if outcome.violation or time.monotonic() - shown_s > PROGRESS_S:
                shown_s = time.monotonic()
                print(_progress(results, seeds), flush=True)
    kept_them_all = show(results)
    if still := sum(seed not in results.outcomes for seed in seeds):
        print(f"{still:,} of {len(seeds):,} seeds are still to be lived through")
    return kept_them_all and not still


def _progress(results: Results, seeds: list[Seed]) -> str:
    total = summed(results.outcomes[seed] for seed in seeds if seed in results.outcomes)
    left_h = (len(seeds) / total.seeds - 1) * total.cpu_s / 3600
    return (
        f"{total.seeds:,} of {len(seeds):,} seeds, {total.days:,.1f} days, {total.violations} violations,"
        f" {total.days_per_cpu_hour:,.0f} days per CPU-hour, {left_h:.2f} CPU-hours to go"
    )


def summed(outcomes: Iterable[Outcome]) -> Sum:
    total = Sum()
    for outcome in outcomes:
        total.add(outcome)
    return total


def show(results: Results) -> bool:
    """Print what the seeds came to; return whether every promise was kept."""
    outcomes = list(results.outcomes.values())
    for liars, who in ((False, "all honest"), (True, "one to a third lying")):
        total = summed(outcome for outcome in outcomes if outcome.seed.liars is liars)
        if total.seeds:
            numbers = sorted(outcome.seed.number for outcome in outcomes if outcome.seed.liars is liars)
            print(f"{total.words(who)}\n  seeds {numbers[0]} to {numbers[-1]}")
    violations = summed(outcomes).violations
    print(f"violations: {violations}; version of the code: {results.code}")
    return not violations


def hunt(name: str) -> tuple[str, int, str]:
    """Plant a bug; return its name, how many histories it took to catch it, and by what: nothing if it survived."""
    for number in range(1, MUTANT_TRIES + 1):
        outcome = run(Seed(number=number, liars=PLANTS[name].liars, slots=MUTANT_SLOTS, planted=name))
        if outcome.violation:
            return name, number, outcome.violation
    return name, MUTANT_TRIES, ""


def mutants(options: argparse.Namespace) -> bool:
    """Plant each bug and count the neighbourhood-days until it is caught; return whether all were."""
    names = [options.planted] if options.planted else list(PLANTS)
    survivors = 0
    for done, (name, tries, violation) in enumerate(in_parallel(hunt, names, options.jobs), start=1):
        days = tries * MUTANT_SLOTS / PER_DAY
        how = f"caught after {days:6.2f} days" if violation else f"SURVIVED {days:8.2f} days"
        survivors += not violation
        print(f"{done:3} of {len(names)}  {how}  {name}\n    {violation[:150]}", flush=True)
    print(f"{len(names) - survivors} of {len(names)} planted bugs caught")
    return not survivors


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=float, default=100, help="neighbourhood-days with honest homes")
    parser.add_argument("--liar-days", type=float, default=20, help="neighbourhood-days with liars")
    parser.add_argument("--first", type=int, default=1, help="first seed")
    parser.add_argument("--slots", type=int, default=SLOTS, help="slots of one seed")
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--results", type=Path, help="file that keeps each seed's outcome, to go on with")
    parser.add_argument("--show", type=Path, metavar="FILE", help="print what a file of results came to so far")
    parser.add_argument("--replay", type=int, help="one seed")
    parser.add_argument("--liars", action="store_true", help="with --replay: some homes lie")
    parser.add_argument("--planted", default="", help="with --replay or --mutants: a planted bug")
    parser.add_argument("--mutants", action="store_true", help="the planted bugs")
    options = parser.parse_args()
    if options.mutants:
        return 0 if mutants(options) else 1
    if options.show is not None:
        return 0 if show(read(options.show)) else 1
    if options.replay is None:
        return 0 if simulate(options) else 1
    seed = Seed(number=options.replay, liars=options.liars, slots=options.slots, planted=options.planted)
    outcome = run(seed)
    print(outcome.violation or f"every promise kept; trace {outcome.trace}")
    print(faults_of(seed.number, liars=seed.liars))
    return 1 if outcome.violation else 0


if __name__ == "__main__":
    sys.exit(main())
