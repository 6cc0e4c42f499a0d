"""`make simulate` and `make simulate-mutants`: the real coordinator classes under every fault, seed by seed.

    python tests/simulation/simulate.py [--days 100] [--liar-days 20] [--first 1] [--jobs 2]
    python tests/simulation/simulate.py --replay SEED [--liars] [--planted NAME]
    python tests/simulation/simulate.py --mutants

A neighbourhood-day is 96 slots of six homes; a seed is half a day and a healing at its end. A seed that fails prints
how to replay it and joins seeds.txt, whose seeds run first in every later run and in the tests.
"""

import argparse
import gc
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sim_bugs import PLANTS
from sim_checks import ViolationError
from sim_faults import HOMES, faults_of
from sim_keys import signatures
from sim_plants import Planted
from sim_world import World

HERE = Path(__file__).parent
SEEDS = HERE / "seeds.txt"
SLOTS = 48
PER_DAY = 96
MUTANT_SLOTS = 12
MUTANT_TRIES = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """One history."""

    number: int
    liars: bool = False
    slots: int = SLOTS
    planted: str = ""

    @property
    def command(self) -> str:
        more = f"{' --liars' if self.liars else ''}{f' --planted {self.planted!r}' if self.planted else ''}"
        return f"python tests/simulation/simulate.py --replay {self.number} --slots {self.slots}{more}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a seed came to; `violation` is empty if every promise was kept."""

    seed: Seed
    violation: str
    trace: str
    count: Counter[str]
    cpu_s: float


def run(seed: Seed) -> Outcome:
    """Live through one seed."""
    faults = faults_of(seed.number, liars=seed.liars)
    planted = PLANTS.get(seed.planted, Planted())
    faults = replace(faults, **planted.faults)
    if planted.lost_rows:
        faults = replace(faults, real=False)
    gc.collect()
    gc.disable()  # a history's objects live until its end; looking through them again and again costs a tenth
    begun = time.process_time()
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


def outcomes(seeds: Iterable[Seed], jobs: int) -> Iterator[Outcome]:
    if jobs == 1:
        yield from map(run, seeds)
        return
    with multiprocessing.Pool(jobs) as pool:
        yield from pool.imap_unordered(run, seeds)


def simulate(options: argparse.Namespace) -> bool:
    """Run the days asked for; return whether every promise was kept."""
    seeds = known_seeds()
    for days, liars in ((options.days, False), (options.liar_days, True)):
        half_days = round(days * PER_DAY / options.slots)
        seeds += [
            Seed(number=number, liars=liars, slots=options.slots)
            for number in range(options.first, options.first + half_days)
        ]
    totals: dict[bool, Counter[str]] = {False: Counter(), True: Counter()}
    cpu_s: Counter[bool] = Counter()
    slots: Counter[bool] = Counter()
    failed = 0
    begun = time.monotonic()
    for done, outcome in enumerate(outcomes(seeds, options.jobs), start=1):
        liars = outcome.seed.liars
        totals[liars] += outcome.count
        cpu_s[liars] += outcome.cpu_s  # type: ignore[assignment]
        slots[liars] += outcome.seed.slots
        if outcome.violation:
            failed += 1
            print(f"\nseed {outcome.seed.number} FAILED {outcome.violation}\n  replay: {outcome.seed.command}")
            remember(outcome.seed, outcome.violation)
        elif sys.stdout.isatty():
            print(f"\r{done} of {len(seeds)} seeds, {time.monotonic() - begun:.0f} s ", end="", flush=True)
    print()
    for liars in (False, True):
        if slots[liars]:
            _report(liars, slots[liars] / PER_DAY, cpu_s[liars], totals[liars])
    print(f"violations: {failed}")
    return not failed


def _report(liars: bool, days: float, cpu_s: float, total: Counter[str]) -> None:
    who = "one to a third lying" if liars else "all honest"
    print(f"{days:.1f} neighbourhood-days of {HOMES} homes, {who}: {days * 3600 / cpu_s:.0f} days per CPU-hour")
    print(
        f"  {total['messages']} messages, {total['lost']} lost, {total['duplicated']} duplicated,"
        f" {total['crashes']} crashes, {total['restores']} restored backups, {total['partitions']} partitions"
    )
    print(
        f"  {total['contracts']} countersigned, {total['counted']} counted between honest homes,"
        f" {total['proofs']} proofs of fraud, {total['false accusations']} false accusations"
    )


def mutants() -> bool:
    """Plant each bug and count the neighbourhood-days until it is caught; return whether all were."""
    survivors = []
    for name, planted in PLANTS.items():
        for number in range(1, MUTANT_TRIES + 1):
            outcome = run(Seed(number=number, liars=planted.liars, slots=MUTANT_SLOTS, planted=name))
            if outcome.violation:
                print(
                    f"caught after {number * MUTANT_SLOTS / PER_DAY:6.2f} days  {name}\n    {outcome.violation[:150]}"
                )
                break
        else:
            survivors.append(name)
            print(f"SURVIVED {MUTANT_TRIES * MUTANT_SLOTS / PER_DAY:.0f} days: {name}")
        sys.stdout.flush()
    print(f"{len(PLANTS) - len(survivors)} of {len(PLANTS)} planted bugs caught")
    return not survivors


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=float, default=100, help="neighbourhood-days with honest homes")
    parser.add_argument("--liar-days", type=float, default=20, help="neighbourhood-days with liars")
    parser.add_argument("--first", type=int, default=1, help="first seed")
    parser.add_argument("--slots", type=int, default=SLOTS, help="slots of one seed")
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--replay", type=int, help="one seed")
    parser.add_argument("--liars", action="store_true", help="with --replay: some homes lie")
    parser.add_argument("--planted", default="", help="with --replay: a planted bug")
    parser.add_argument("--mutants", action="store_true", help="the planted bugs")
    options = parser.parse_args()
    if options.mutants:
        return 0 if mutants() else 1
    if options.replay is None:
        return 0 if simulate(options) else 1
    seed = Seed(number=options.replay, liars=options.liars, slots=options.slots, planted=options.planted)
    outcome = run(seed)
    print(outcome.violation or f"every promise kept; trace {outcome.trace}")
    print(faults_of(seed.number, liars=seed.liars))
    return 1 if outcome.violation else 0


if __name__ == "__main__":
    sys.exit(main())
