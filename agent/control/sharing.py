"""One home's side of shared balancing: what it tells of its slot, and what its battery does within it. Pure.

Told is what the home would exchange with the grid beyond its contracts if its battery did as planned, so that the
*energy* told comes out right at the slot's end. The battery does its share of the neighbourhood's sum, without
neighbours of its own, as far as that pays; the rest is left to the own meter, and settled with the neighbours in the
residual round: `meter = contracts + exchange - share`. What was left to the meter is never asked back: a message that
is lost or late costs the energy of its few seconds, and cannot make the battery swing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from agent.control.controller import Shared, time_left_s
from agent.control.headroom import Room
from coordinator.balancing import FADING_SHARE, Numbers, share_w, together
from coordinator.charter import Rules
from coordinator.slots import Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """The home at one moment.

    Attributes:
        net_w: Load minus sun; of a battery that is not steered, its power counts as load.
        smooth_w: The same, smoothed.
        planned_w: The same, as planned for the slot.
        grid_w: What the plan exchanges with the grid beyond the contracts, + imports.
        room: What the battery could do; None when there is none to steer.
        day: The owner's local day.
    """

    net_w: float
    smooth_w: float
    planned_w: float
    grid_w: float
    room: Room | None
    day: date

    def beyond_w(self, net_w: float) -> float:
        """Return what is exchanged beyond the contracts at this net load, before the battery reacts: + imports.

        What the battery cannot do of its plan is in it.
        """
        return net_w - self.planned_w + self.grid_w + self.lacking_w

    @property
    def lacking_w(self) -> float:
        return 0.0 if self.room is None else self.room.lacking_w


@dataclass(slots=True, kw_only=True)
class _Slot:
    """What happened in one slot so far."""

    slot: Slot
    untold_wh: float = 0.0
    """What was to be told minus what was told of it."""
    left_wh: float = 0.0
    """Left to the own meter, beyond the plan."""
    moved_wh: float = 0.0
    """What the battery moved, in either direction, otherwise than it would have for the own home."""
    told_at: datetime | None = None
    told: Numbers = field(default_factory=Numbers)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """What holds until the next step."""

    at: datetime
    beyond_w: float = 0.0
    left_w: float = 0.0
    given_w: float = 0.0
    extra_w: float = 0.0


@dataclass(slots=True, kw_only=True)
class Sharing:
    """The shared balancing of one home.

    Args:
        rules: The charter's rules.
        interval_s: The home tells its numbers this often [s of slot time].
        life_s: Numbers hold this long [s of slot time]; nothing is counted over a longer gap.
        range_w: From full charging to full discharging [W]; 0 without a battery.
        wear_limit_wh: Most the battery may move per day for others on top of what it moves for its own home.
        worn_wh: What it moved so on `worn_on`, from before a restart.
    """

    rules: Rules
    interval_s: float
    life_s: float
    range_w: float
    wear_limit_wh: float = float("inf")
    worn_wh: float = 0.0
    worn_on: date | None = None
    news: Numbers | None = None
    """What is to be told now; None when nothing is."""
    _slot: _Slot | None = None
    _last: _Step | None = None

    def step(self, at: datetime, slot: Slot, home: Situation, others: Sequence[Numbers]) -> Shared:
        """Take the home's situation and the neighbours' fresh numbers; return the neighbours' part in the control.

        Args:
            others: As `coordinator.balancing.Neighbours.fresh` returns them.
        """
        here = self._count(at, slot, home)
        left_s = time_left_s(slot, at)
        self.news = None
        if here.told_at is None or (at - here.told_at).total_seconds() >= self.interval_s:
            here.told_at, here.told = at, self._numbers(here, home, left_s)
            self.news = here.told
        left_w, alone_w, does_w = 0.0, 0.0, 0.0
        if home.room is not None:
            alone_w = home.room.within(here.told.power_w)
            does_w = self._does_w(at, here, home.room, others, left_s)
            left_w = here.told.power_w - home.grid_w - does_w
        self._last = _Step(
            at=at,
            beyond_w=home.beyond_w(home.net_w),
            left_w=left_w,
            given_w=does_w - alone_w,
            extra_w=max(0.0, abs(does_w) - abs(alone_w)),
        )
        return Shared(left_w=left_w, left_wh=here.left_wh, given_w=does_w - alone_w, homes=len(others))

    def _count(self, at: datetime, slot: Slot, home: Situation) -> _Slot:
        """Add up what held since the last step."""
        here, last = self._slot, self._last
        if self.worn_on != home.day:
            self.worn_on, self.worn_wh = home.day, 0.0
        if here is None or here.slot != slot:
            here = self._slot = _Slot(slot=slot)
            last = None if last is None else _Step(at=max(last.at, slot.start_at), beyond_w=home.beyond_w(home.net_w))
        if last is None or not 0 < (passed_s := (at - last.at).total_seconds()) <= self.life_s:
            return here
        hours = passed_s / 3600
        mean_w = (last.beyond_w + home.beyond_w(home.net_w)) / 2
        here.untold_wh += (mean_w - here.told.power_w) * hours
        here.left_wh += last.left_w * hours
        here.moved_wh += abs(last.given_w) * hours
        self.worn_wh += last.extra_w * hours
        return here

    def _numbers(self, here: _Slot, home: Situation, left_s: float) -> Numbers:
        """Return what to tell: whole watts, within the charter's limit."""
        limit_w = self.rules.deviation_limit_w
        power_w = home.beyond_w(home.smooth_w) + here.untold_wh * 3600 / left_s
        power_w = min(max(power_w, -limit_w), limit_w)
        if home.room is None:
            return Numbers(power_w=round(power_w))
        alone_w = home.room.within(power_w)
        word_w, extra_w = self._caps_w(here, left_s)

        def offered_w(headroom_w: float, own_w: float) -> int:
            caps_w = min(own_w + word_w, abs(own_w) + extra_w, limit_w)
            return int(max(0.0, min(headroom_w, caps_w)))

        return Numbers(
            power_w=round(power_w),
            give_w=offered_w(home.room.give_w, alone_w),
            take_w=offered_w(home.room.take_w, -alone_w),
        )

    def _caps_w(self, here: _Slot, left_s: float) -> tuple[float, float]:
        """Return the power the battery may still move on others' word, and on top of its own: the rest, spread evenly.

        So a neighbour that claims a shortage for ever costs at most the charter's energy, and never causes a step.
        """
        word_wh = max(0.0, self.rules.sharing_limit_wh - here.moved_wh)
        extra_wh = max(0.0, self.wear_limit_wh - self.worn_wh)
        return word_wh * 3600 / left_s, extra_wh * 3600 / left_s

    def _does_w(self, at: datetime, here: _Slot, room: Room, others: Sequence[Numbers], left_s: float) -> float:
        """Return what the battery does on top of its plan: its share of all; without neighbours the home's own."""
        told, wanted_w = here.told, 0.0
        alone_w = room.within(told.power_w)
        if others:
            everybody = together([told, *others])
            total_w = everybody.power_w
            share = share_w(total_w, told.headroom_w(total_w), everybody.headroom_w(total_w))
            wanted_w = self._capped(share, alone_w, here, left_s) - alone_w
        # A cap is stronger than the ramp.
        return room.within(self._capped(alone_w + self._ramped(at, wanted_w), alone_w, here, left_s))

    def _capped(self, does_w: float, alone_w: float, here: _Slot, left_s: float) -> float:
        word_w, extra_w = self._caps_w(here, left_s)
        most_w = abs(alone_w) + extra_w
        does_w = min(max(does_w, -most_w), most_w)
        return min(max(does_w, alone_w - word_w), alone_w + word_w)

    def _ramped(self, at: datetime, wanted_w: float) -> float:
        """Return what the battery does for the neighbours now: a home that comes or goes moves it by no step."""
        last_w, last_at = (0.0, at) if self._last is None else (self._last.given_w, self._last.at)
        most_w = self.range_w / (FADING_SHARE * self.life_s) * max(0.0, (at - last_at).total_seconds())
        return min(max(wanted_w, last_w - most_w), last_w + most_w)
