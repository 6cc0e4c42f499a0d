"""Can anybody tell which of two homes has the battery? Everything on every link is captured, and a script that has
every key but those two homes' guesses, slot by slot, on masked and on open bids.

    make masked-proof                       100 slots of five homes

Two homes buy the same amounts in every slot. In each slot a coin decides which of them has a battery: that one's bids
for later slots follow the prices and its deviations tell of headroom, the other's do neither. The script reads what is
open, opens what was sealed to or by the three homes whose keys it has, takes their masks off the two homes' shares, and
makes a row of numbers of all it sees of a home in a slot: words, sizes, counts, times, partners, and whatever bids and
deviations are left. A logistic regression learns from four fifths of the slots, with the coins told, and guesses the
rest. On masked bids it must not do better than chance at a level of 1 %; on open ones it must, or it proves nothing.
"""

import argparse
import json
import math
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

sys.path.append(str(Path(__file__).parents[1] / "unit" / "coordinator"))

from neighbourhood import Neighbourhood, ScriptedHome

from coordinator.balancing import Numbers
from coordinator.charter import Rules
from coordinator.identity import Identity
from coordinator.masked_balancing import NUMBERS
from coordinator.masked_trading import Privacy
from coordinator.masking import PairMasks, words_of
from coordinator.messages import (
    ADAPTER,
    Bid,
    Deviation,
    DeviationShare,
    Message,
    Position,
    Ready,
    Residual,
    Sealed,
    Share,
)
from coordinator.slots import Slot

LEVEL = 0.01
HOMES, HORIZON, ROUNDS, SLOT_S = 5, 8, 3, 900
DEVIATION_EVERY_S = 60.0
FOLDS = 5


@dataclass(kw_only=True)
class Player(ScriptedHome):
    """Sells, or buys what its twin buys; with a battery its bids for later slots follow the prices."""

    sells: bool
    coins: dict[int, bool] = field(default_factory=dict)
    """Whether it has the battery, by slot."""

    def amount_wh(self, slot: int) -> int:
        return -900 if self.sells else random.Random(slot).randint(100, 600)

    def bid(self, prices_micro: Sequence[int], anchor_wh: Sequence[float], rho_micro: int | None = None) -> list[int]:
        mine = self.amount_wh(self._slot)
        if self.sells or not self.coins[self._slot]:
            return [mine] + [-300 if self.sells else 250] * (len(prices_micro) - 1)
        own = random.Random(f"{self._slot}|{prices_micro}")
        return [mine] + [round((150_000 - price) / 100) + own.randint(-300, 300) for price in prices_micro[1:]]

    def numbers(self, slot: int) -> Numbers:
        """Return its deviation at a moment of the slot."""
        battery = self.coins.get(slot, False)
        return Numbers(power_w=random.Random(slot).randint(-500, 500), give_w=900.0 * battery, take_w=1200.0 * battery)


@dataclass(frozen=True, kw_only=True)
class Capture:
    """What was on all links, and what only the judge knows."""

    street: Neighbourhood
    wires: list[tuple[datetime, str, str, bytes]]
    coins: dict[int, bool]
    """By slot, whether the first of the two homes had the battery."""
    victims: tuple[str, str]


def capture(folder: Path, *, masked: bool, slots: int, seed: int = 1) -> Capture:
    """Let the community live through so many slots and keep every byte that was on a link."""
    rules = Rules(horizon_slots=HORIZON, round_limit=ROUNDS, masked=masked)
    street = Neighbourhood(
        folder, homes=HOMES, seed=seed, rules=rules, make_home=lambda n, r: Player(rules=r, seed=n, sells=n > 1)
    )
    draw, first = random.Random(seed), Slot.at(street.now, SLOT_S).key
    coins = {first + i * SLOT_S: draw.random() < 0.5 for i in range(slots + HORIZON)}
    twins = [street.homes[identity.id] for identity in street.identities[:2]]
    for slot, heads in coins.items():
        twins[0].coins[slot], twins[1].coins[slot] = heads, not heads
    wires: list[tuple[datetime, str, str, bytes]] = []
    post = street._send

    def spied(sender: str, to: str, wire: bytes) -> None:
        wires.append((street.now, sender, to, wire))
        post(sender, to, wire)

    street._send = spied  # type: ignore[method-assign]
    for _ in range(slots + 1):
        slot = Slot.at(street.now, SLOT_S)
        for part in range(1, 4):
            street.run(slot.start_at + part * timedelta(seconds=2.5 * DEVIATION_EVERY_S))
            for home, desk in street.desks.items():
                desk.say_deviation(slot, street.homes[home].numbers(slot.key), street.now, DEVIATION_EVERY_S)
        street.run_slots(1)
    named = {s: heads for s, heads in coins.items() if first < s <= first + slots * SLOT_S}
    return Capture(street=street, wires=wires, coins=named, victims=tuple(i.id for i in street.identities[:2]))


class Spy:
    """Has every key but the two homes', and all that was on the links."""

    def __init__(self, seen: Capture) -> None:
        charter, keys = seen.street.charter, seen.street.identities[2:]
        self._seen = seen
        self._terms = charter.terms
        self._roster = sorted(charter.by_id)
        self._helpers: dict[str, Privacy] = {k.id: p for k in keys if (p := Privacy.of(charter, k, 1)) is not None}
        self._masks = {home: self._known_masks(home, keys) for home in seen.victims}

    def _known_masks(self, victim: str, keys: Sequence[Identity]) -> PairMasks:
        """Return the victim's masks with those whose keys are known: the same on both sides of a pair."""
        key = next(i.exchange_key for i in self._seen.street.identities if i.id == victim)
        purpose = f"masks|{self._seen.street.charter.community_id}"
        return PairMasks(victim, {i.id: i.shared_secret(key, purpose) for i in keys})

    def rows(self) -> dict[int, np.ndarray[Any, Any]]:
        """Return, by slot, what is seen of the first of the two homes minus what is seen of the second."""
        notes = {home: {slot: _Notes() for slot in self._seen.coins} for home in self._seen.victims}
        for at, sender, to, wire in self._seen.wires:
            for home in {sender, to} & set(self._seen.victims):
                message, hidden = self._read(sender, to, wire)
                slot = getattr(message, "slot", None) or self._slot_at(at)
                if slot in notes[home]:
                    notes[home][slot].take(home, at, sender, to, wire, message, hidden, self)
        first, second = (notes[home] for home in self._seen.victims)
        return {slot: first[slot].row() - second[slot].row() for slot in self._seen.coins}

    def _slot_at(self, at: datetime) -> int:
        return Slot.at(at + timedelta(seconds=780), SLOT_S).key

    def _read(self, sender: str, to: str, wire: bytes) -> tuple[Message, bool]:
        message: Message = ADAPTER.validate_json(wire.partition(b"\n")[0])
        if not isinstance(message, Sealed):
            return message, False
        if to in self._helpers:
            inner = self._helpers[to].seals.open(message.body, sender)
            return ADAPTER.validate_json(inner.partition(b"\n")[0]), False
        return message, True

    def unmasked(self, home: str, message: Share | DeviationShare) -> list[float]:
        """Return what is left of a share without the masks that are known."""
        if isinstance(message, Share):
            purpose = f"bid|{self._terms}|{message.slot}|{message.round}|{message.question}"
            count = HORIZON
        else:
            purpose = f"deviation|{self._terms}|{message.slot}|{message.roster}|{'|'.join(self._roster)}|{message.tick}"
            count = NUMBERS
        others = [each for each in self._roster if each not in self._seen.victims]
        known = words_of(self._masks[home].share([0] * count, [home, *others], purpose))
        left: list[float] = (words_of(message.numbers) - known).astype(np.int32).astype(float).tolist()
        return left


def _size(values: Sequence[float]) -> float:
    return math.log1p(float(np.mean(np.abs(values)))) if values else 0.0


@dataclass
class _Notes:
    """What is seen of one home in one slot."""

    bids: list[list[float]] = field(default_factory=list)
    deviations: list[list[float]] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)

    def take(
        self, home: str, at: datetime, sender: str, to: str, wire: bytes, message: Message, hidden: bool, spy: Spy
    ) -> None:
        way = "said" if sender == home else "heard"
        kind = "hidden" if hidden else message.kind
        self._add(f"{way} {kind}", 1)
        self._add(f"{way} bytes", len(wire))
        self._add(f"{way} at", at.timestamp() % SLOT_S / SLOT_S)
        if sender != home:
            return
        match message:
            case Bid():
                self.bids.append([float(e) for e in message.energy_wh])
            case Share():
                self.bids.append(spy.unmasked(home, message))
            case Deviation():
                self.deviations.append([float(message.power_w), float(message.give_w), float(message.take_w)])
            case DeviationShare():
                self.deviations.append(spy.unmasked(home, message))
            case Position():
                self._add("position", message.sold_wh + message.bought_wh)
            case Residual():
                self._add("residual", message.energy_wh)
            case Ready():
                self._add("opening", sum(message.prices))
        amount = getattr(message, "energy_wh", 0)
        self._add("amounts", 0 if isinstance(amount, tuple) else amount)

    def _add(self, name: str, value: float) -> None:
        self.figures[name] = self.figures.get(name, 0.0) + value

    def row(self) -> np.ndarray[Any, Any]:
        later = [bid[1:] for bid in self.bids]
        steps = [new - old for a, b in pairwise(later) for old, new in zip(a, b, strict=True)]
        within = [float(np.ptp(each)) for each in later]
        told = list(zip(*self.deviations, strict=True)) or [()] * NUMBERS
        names = [f"{way} {kind}" for way in ("said", "heard") for kind in (*KINDS, "bytes", "at")]
        figures = [self.figures.get(name, 0.0) for name in [*names, "position", "residual", "opening", "amounts"]]
        return np.array(
            [_size([each for bid in later for each in bid]), _size(steps), _size(within), *map(_size, told), *figures]
        )


KINDS = ("hidden", *sorted(ADAPTER.json_schema()["discriminator"]["mapping"]))


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How many slots the script guessed right; `p_value` of so many or more by chance."""

    slots: int
    right: int

    @property
    def p_value(self) -> float:
        return float(binomtest(self.right, self.slots, alternative="greater").pvalue)

    @property
    def tells(self) -> bool:
        return self.p_value < LEVEL


def guess(seen: Capture) -> Verdict:
    """Learn from four fifths of the slots, guess the rest, in turn."""
    rows = Spy(seen).rows()
    slots = sorted(rows)
    x, y = np.array([rows[slot] for slot in slots]), np.array([seen.coins[slot] for slot in slots])
    right = 0
    for fold in range(FOLDS):
        held = np.arange(len(slots)) % FOLDS == fold
        scaler = StandardScaler(with_mean=False).fit(x[~held])
        model = LogisticRegression(fit_intercept=False, C=0.3, max_iter=2000).fit(scaler.transform(x[~held]), y[~held])
        right += int((model.predict(scaler.transform(x[held])) == y[held]).sum())
    return Verdict(slots=len(slots), right=right)


def prove(slots: int, seed: int = 1) -> dict[str, Any]:
    """Return the figures of both."""
    figures: dict[str, Any] = {"slots": slots, "level": LEVEL}
    for name, masked in (("masked", True), ("open", False)):
        with tempfile.TemporaryDirectory(prefix="cw-") as folder:
            seen = capture(Path(folder), masked=masked, slots=slots, seed=seed)
            verdict = guess(seen)
            counted = seen.street.audit().contracts_counted
        figures[name] = {
            "right": verdict.right,
            "p_value": round(verdict.p_value, 6),
            "tells": verdict.tells,
            "contracts": counted,
            "messages": len(seen.wires),
        }
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slots", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    figures = prove(args.slots, args.seed)
    print(json.dumps(figures, indent=2))
    return 0 if figures["open"]["tells"] and not figures["masked"]["tells"] else 1


if __name__ == "__main__":
    sys.exit(main())
