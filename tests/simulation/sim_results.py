"""What seeds came to: summed up, and kept as JSON lines, so that a long run can be stopped and gone on with.

A file of results holds those of one version of the code only: days of different programs are not added up.
"""

import gc
import hashlib
import json
import multiprocessing
import signal
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sim_faults import HOMES

HERE = Path(__file__).parent
SLOTS = 48
PER_DAY = 96

BESIDE = frozenset(
    (
        *("charter_file", "charter_history", "charter_votes", "concerns", "ledger_export", "mqtt_topics", "sealing"),
        *("masked_balancing", "masked_events", "masked_fallback", "masked_messages", "masked_negotiation", "masking"),
        *("masked_roster", "masked_round", "masked_rounds", "masked_sealing", "pairing"),
    )
)
"""Modules of the product that a history loads and does not run: papers, exports, masks. A test holds it to them."""

Task = TypeVar("Task")
Made = TypeVar("Made")


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

    def encode(self, code: str) -> str:
        plain = {"seed": asdict(self.seed), "violation": self.violation, "trace": self.trace, "count": self.count}
        return json.dumps({**plain, "cpu_s": round(self.cpu_s, 3), "code": code})

    @classmethod
    def decode(cls, plain: dict[str, Any]) -> "Outcome":
        return cls(**{**plain, "seed": Seed(**plain["seed"]), "count": Counter(plain["count"])})


def code_version() -> str:
    """Return the hash of what a history runs: the product's classes and the simulation itself."""
    return version_of(HERE.glob("sim*.py"), BESIDE)


def version_of(files: Iterable[Path], beside: Collection[str] = ()) -> str:
    """Return the hash of these files and of the product's modules that this process has loaded, but for some."""
    loaded = ((name.partition("."), module.__file__) for name, module in sys.modules.items())
    product = [file for (package, _, name), file in loaded if package == "coordinator" and name not in beside]
    made = hashlib.blake2b(digest_size=8)
    for file in sorted([*files, *(Path(name) for name in product if name)]):
        made.update(file.read_bytes())
    return made.hexdigest()


class Results:
    """The outcomes of a run, and of the earlier runs whose file it goes on with.

    Args:
        code: The version they are of.

    Raises:
        SystemExit: If the file is another version's.
    """

    def __init__(self, path: Path | None, code: str) -> None:
        self._path, self.code = path, code
        self.outcomes: dict[Seed, Outcome] = {}
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                self._read(line)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write("\n")  # a line that a power cut broke off stays alone

    def _read(self, line: str) -> None:
        try:
            plain = json.loads(line)
        except ValueError:
            return
        if plain.pop("code") != self.code:
            raise SystemExit(f"{self._path} holds results of another version of the code: name another file")
        outcome = Outcome.decode(plain)
        self.outcomes[outcome.seed] = outcome

    def add(self, outcome: Outcome) -> None:
        self.outcomes[outcome.seed] = outcome
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(outcome.encode(self.code) + "\n")


def read(path: Path) -> Results:
    """Return the results of a file, whatever version they are of."""
    first = next(filter(None, path.read_text(encoding="utf-8").splitlines()), "{}")
    return Results(path, json.loads(first).get("code", ""))


@dataclass(kw_only=True)
class Sum:
    """What several seeds come to together."""

    seeds: int = 0
    slots: int = 0
    cpu_s: float = 0.0
    violations: int = 0
    count: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        self.seeds += 1
        self.slots += outcome.seed.slots
        self.cpu_s += outcome.cpu_s
        self.violations += bool(outcome.violation)
        self.count += outcome.count

    @property
    def days(self) -> float:
        return self.slots / PER_DAY

    @property
    def days_per_cpu_hour(self) -> float:
        return self.days * 3600 / self.cpu_s if self.cpu_s else 0.0

    def words(self, who: str) -> str:
        n = self.count
        first = (
            f"{self.days:,.1f} neighbourhood-days of {HOMES} homes, {who}: {self.violations} violations;"
            f" {self.cpu_s / 3600:.2f} CPU-hours, {self.days_per_cpu_hour:,.0f} days per CPU-hour"
        )
        faults = (
            f"{n['messages']:,} messages, {n['lost']:,} lost, {n['duplicated']:,} duplicated, {n['crashes']:,} crashes,"
            f" {n['restores']:,} restored backups, {n['partitions']:,} partitions"
        )
        void = n["contracts"] - n["counted"]
        contracts = f"between honest homes {n['contracts']:,} countersigned, {n['counted']:,} counted, {void:,} void"
        proofs = (
            f"{n['statements']:,} statements of pairs; {n['equivocations']:,} equivocations reached honest homes,"
            f" {n['proofs']:,} proofs of fraud, {n['false accusations']:,} false accusations"
        )
        return f"{first}\n  {self.seeds:,} seeds; {faults}\n  {contracts}\n  {proofs}"


def in_parallel(work: Callable[[Task], Made], tasks: Iterable[Task], jobs: int) -> Iterator[Made]:
    """Yield what each task came to, as it comes; a process killed or interrupted takes its workers along.

    Each task has a process of its own: to end one costs less than to look for what a history leaves in memory.
    """
    gc.freeze()
    fork = multiprocessing.get_context("fork")
    with fork.Pool(jobs, initializer=_leave_signals_to_the_parent, maxtasksperchild=1) as pool:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
        yield from pool.imap_unordered(work, tasks)


def _leave_signals_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
