"""What one seed sets: every fault of a simulated neighbourhood. The same seed is the same history."""

import random
from dataclasses import dataclass

STYLES = (
    "equivocates",
    "oversells",
    "silent",
    "garbage",
    "replays",
    "floods",
    "steals",
    "late",
    "accuses",
)
"""How a home lies; each liar has several of them."""

DELAYABLE = (b"offer", b"accept", b"lapse", b"position", b"leaf", b"ready", b"bid", b"residual", b"position_request")
HOMES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Probabilities are per receiver and message or per slot and home; times are seconds.

    Args:
        loss: A message does not arrive.
        duplicates: It arrives once more, up to `late_s` later.
        delay_s: Longest usual delay; messages overtake each other.
        aimed: Kinds of messages that are also held back for up to `aimed_s`, half of the time: past a deadline.
        partitions: Per slot: some homes lose the others for up to `partition_s`.
        effects_per_crash: Mean number of effects (a commit or a message sent) between two crashes of a home; 0: none.
        down_s: A crashed home is back after so long, at most; now and then after ten times that.
        skew_s: Clocks differ by up to so much.
        jumps: Per slot and home: its clock jumps by up to `jump_s`, and is set right some minutes later.
        restores: Per crash: the ledger comes back as a backup had it.
        liars: How many homes lie.
        real: Ed25519 and SQLite as in a home; else a keyed hash and a ledger in memory.
    """

    loss: float = 0.0
    duplicates: float = 0.0
    late_s: float = 600.0
    delay_s: float = 0.5
    aimed: tuple[bytes, ...] = ()
    aimed_s: float = 400.0
    partitions: float = 0.0
    partition_s: float = 3600.0
    effects_per_crash: int = 0
    down_s: float = 600.0
    skew_s: float = 0.0
    jumps: float = 0.0
    jump_s: float = 1200.0
    restores: float = 0.0
    liars: int = 0
    real: bool = False


def faults_of(seed: int, *, liars: bool = False) -> Faults:
    """Return the faults of a seed: each kind is there in most seeds and absent in some."""
    draw = random.Random(f"faults {seed}")

    def sometimes(share: float, value: float) -> float:
        return value if draw.random() < share else 0.0

    return Faults(
        loss=sometimes(0.8, draw.uniform(0, 0.3)),
        duplicates=sometimes(0.7, draw.uniform(0, 0.2)),
        delay_s=draw.choice([0.5, 5.0, 30.0, 60.0]),
        aimed=tuple(draw.sample(DELAYABLE, draw.choice([0, 0, 1, 2]))),
        partitions=sometimes(0.6, draw.uniform(0, 0.1)),
        effects_per_crash=draw.choice([0, 60, 150, 400]),
        skew_s=sometimes(0.7, 20.0),
        jumps=sometimes(0.3, 0.02),
        restores=sometimes(0.3, 0.15),
        liars=draw.choice([1, HOMES // 3]) if liars else 0,
        real=seed % 32 == 0,
    )
