"""Shared balancing within the slot: what the neighbourhood exchanges with the grid, and a battery's share of it. Pure.

Forecasts err, and the errors of neighbours partly cancel, as plans do. Every home says what it would exchange with the
grid beyond its contracts, before its battery reacts; contracts sum to zero. So no battery's answer comes back in
somebody's number: nothing is fed back over the network, and delay or loss can make a share late or wrong, but never
make it swing.

Only sums over the homes are needed, of three numbers each: a later masked mode can hide the single ones.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from coordinator.charter import Rules
from coordinator.codec import Verified
from coordinator.errors import RemoteProtocolError
from coordinator.messages import Deviation
from coordinator.slots import Slot


def share_w(total_w: float, own_headroom_w: float, total_headroom_w: float) -> float:
    """Return what the own battery contributes against the neighbourhood's exchange, by headroom [W].

    Args:
        total_w: Sum of all exchanges, + imports.
        own_headroom_w: How much more than planned the own battery can give (total_w > 0) or take (total_w < 0), >= 0.
        total_headroom_w: Sum of all such headrooms, the own one included, >= 0.

    Returns:
        + gives, - takes; never more than the own headroom, nor more than the whole exchange.
    """
    if own_headroom_w <= 0:
        return 0.0
    wanted_w = total_w * own_headroom_w / max(total_headroom_w, own_headroom_w)
    return min(max(wanted_w, -own_headroom_w), own_headroom_w)


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """What a home says of the running slot, or the sum of what several say.

    Attributes:
        power_w: Exchange with the grid beyond the contracts if the battery does as planned, + imports.
        give_w: How much more than planned the battery could give over the rest of the slot, >= 0.
        take_w: How much more than planned it could take, >= 0.
    """

    power_w: float = 0.0
    give_w: float = 0.0
    take_w: float = 0.0

    def headroom_w(self, total_w: float) -> float:
        """Return the headroom in the direction that answers an exchange of `total_w`."""
        return self.give_w if total_w > 0 else self.take_w

    def weighted(self, weight: float) -> "Numbers":
        return Numbers(power_w=weight * self.power_w, give_w=weight * self.give_w, take_w=weight * self.take_w)


def together(numbers: Iterable[Numbers]) -> Numbers:
    """Return the sums."""
    every = tuple(numbers)
    return Numbers(
        power_w=sum(each.power_w for each in every),
        give_w=sum(each.give_w for each in every),
        take_w=sum(each.take_w for each in every),
    )


FADING_SHARE = 0.25
"""In this last share of its life a number counts less and less, so that a home that falls silent causes no step."""


def weight(age_s: float, life_s: float) -> float:
    """Return how much a number of this age counts, 1 to 0."""
    return min(1.0, max(0.0, (life_s - age_s) / (FADING_SHARE * life_s)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    slot: int
    seq: int
    numbers: Numbers
    at: datetime


class Neighbours:
    """The newest numbers of every neighbour for the running slot.

    A number's age is counted from its arrival on the own clock: two homes' clocks may differ by more than its life.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._heard: dict[str, _Heard] = {}

    def receive(self, verified: Verified[Deviation], now: datetime) -> None:
        """Take a neighbour's numbers.

        Raises:
            RemoteProtocolError: If they are for another slot, not newer than its last ones, or beyond the charter.
        """
        said = verified.message
        if not self._rules.balances_together:
            raise RemoteProtocolError(said.sender, "deviation in a community that does not share them")
        if said.slot != Slot.at(now, self._rules.slot_s).key:
            raise RemoteProtocolError(said.sender, "deviation of another slot")
        if max(abs(said.power_w), said.give_w, said.take_w) > self._rules.deviation_limit_w:
            raise RemoteProtocolError(said.sender, "deviation beyond the charter's limit")
        # Numbers go on rising over a restart, whatever its incarnation: they begin with the time.
        last = self._heard.get(said.sender)
        if last is not None and said.seq <= last.seq:
            raise RemoteProtocolError(said.sender, "deviation not newer than the last one")
        numbers = Numbers(power_w=said.power_w, give_w=said.give_w, take_w=said.take_w)
        self._heard[said.sender] = _Heard(slot=said.slot, seq=said.seq, numbers=numbers, at=now)

    def fresh(self, now: datetime, life_s: float) -> list[Numbers]:
        """Return what counts now, each weighted by its age.

        Args:
            life_s: Older numbers do not count [s of slot time].
        """
        slot = Slot.at(now, self._rules.slot_s).key
        weights = [
            (weight((now - heard.at).total_seconds(), life_s), heard.numbers)
            for heard in self._heard.values()
            if heard.slot == slot
        ]
        return [numbers.weighted(share) for share, numbers in weights if share > 0]
