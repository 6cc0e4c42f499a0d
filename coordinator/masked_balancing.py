"""Shared balancing where deviations are masked: of each tick of the slot only the sum of all is known. Pure.

A tick is twice as long as the interval at which a home tells, so that each has told by its end; the first number of a
home in a tick is the one that counts, and it says no second one. The homes that count are those of the slot's masked
negotiation that said they tell; where one is silent the tick has no sum, and nobody shares. So a home that dies stops
the sharing until the next slot's roster is made without it.
"""

import math
from dataclasses import dataclass, field
from datetime import datetime

from coordinator.balancing import Numbers, weight
from coordinator.charter import Rules
from coordinator.masked_round import checked_words
from coordinator.masking import PairMasks, Words, total
from coordinator.messages import DeviationShare
from coordinator.slots import Slot

TICK_TELLS = 2
NUMBERS = 3
"""Power, and headroom to give and to take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Circle:
    """The homes that tell their deviations in a slot, and the hash of the roster they belong to."""

    roster: str
    homes: frozenset[str]


@dataclass(slots=True)
class _Tick:
    shares: dict[str, Words] = field(default_factory=dict)
    own: Numbers | None = None


@dataclass(frozen=True, slots=True)
class _Sum:
    others: Numbers
    at: datetime


class MaskedNeighbours:
    """What the neighbours come to in the running slot.

    Args:
        terms: The charter it goes by.
        circle_min: So many homes it takes.
    """

    def __init__(self, *, me: str, rules: Rules, terms: str, masks: PairMasks, circle_min: int) -> None:
        self._circle_min = circle_min
        self._me, self._rules, self._terms, self._masks = me, rules, terms, masks
        self._circles: dict[int, Circle] = {}
        self._slot = -1
        self._ticks: dict[int, _Tick] = {}
        self._sum: _Sum | None = None
        self._said = (-1, -1)

    def known(self, slot: int, circle: Circle) -> None:
        """Take who tells in a slot; in a small circle nobody does."""
        if len(circle.homes) >= self._circle_min and self._me in circle.homes:
            self._circles = {**dict(sorted(self._circles.items())[-1:]), slot: circle}

    def share(self, slot: Slot, numbers: Numbers, now: datetime, every_s: float) -> dict[str, int | str] | None:
        """Return the body of what to say now; None when nothing is to be said.

        Args:
            every_s: The interval at which this home tells [s of slot time]; all homes' are alike.
        """
        circle = self._circles.get(slot.key)
        tick = math.floor((now - slot.start_at).total_seconds() / (TICK_TELLS * every_s))
        self._turn(slot.key)
        # A clock that was set back, even into the slot before, gets no second number for a tick.
        if circle is None or (slot.key, tick) <= self._said:
            return None
        self._said = (slot.key, tick)
        told = [round(value) for value in (numbers.power_w, numbers.give_w, numbers.take_w)]
        purpose = f"deviation|{self._terms}|{slot.key}|{circle.roster}|{'|'.join(sorted(circle.homes))}|{tick}"
        share = self._masks.share(told, circle.homes, purpose)
        self._ticks.setdefault(tick, _Tick()).own = Numbers(power_w=told[0], give_w=told[1], take_w=told[2])
        self._note(circle, tick, self._me, checked_words(self._me, share, NUMBERS), now)
        return {"slot": slot.key, "roster": circle.roster, "tick": tick, "numbers": share}

    def receive(self, said: DeviationShare, now: datetime) -> None:
        """Take a neighbour's share; the first one of each tick counts.

        Raises:
            RemoteProtocolError: If it has not three numbers.
        """
        words = checked_words(said.sender, said.numbers, NUMBERS)
        slot = Slot.at(now, self._rules.slot_s).key
        circle = self._circles.get(slot)
        if said.slot != slot or circle is None or said.roster != circle.roster or said.sender not in circle.homes:
            return
        self._turn(slot)
        self._note(circle, said.tick, said.sender, words, now)

    def _turn(self, slot: int) -> None:
        if slot != self._slot:
            self._slot, self._ticks, self._sum = slot, {}, None

    def _note(self, circle: Circle, number: int, home: str, words: Words, now: datetime) -> None:
        tick = self._ticks.setdefault(number, _Tick())
        tick.shares.setdefault(home, words)
        if tick.own is None or tick.shares.keys() < circle.homes:
            return
        power_w, give_w, take_w = total(tick.shares.values())
        self._ticks = {n: each for n, each in self._ticks.items() if n > number}
        limit_w = len(circle.homes) * self._rules.deviation_limit_w
        if max(abs(power_w), abs(give_w), abs(take_w)) > limit_w or min(give_w, take_w) < 0:
            return  # somebody's share is noise
        own = tick.own
        others = Numbers(power_w=power_w - own.power_w, give_w=give_w - own.give_w, take_w=take_w - own.take_w)
        self._sum = _Sum(others, now)

    def fresh(self, now: datetime, life_s: float) -> list[Numbers]:
        """Return what counts now, weighted by its age: the sum of the others, and nothing for all but one of them.

        Args:
            life_s: An older sum does not count [s of slot time].
        """
        slot = Slot.at(now, self._rules.slot_s).key
        if self._sum is None or slot != self._slot:
            return []
        share = weight((now - self._sum.at).total_seconds(), life_s)
        if share <= 0:
            return []
        return [self._sum.others.weighted(share)] + [Numbers()] * (len(self._circles[slot].homes) - 2)
