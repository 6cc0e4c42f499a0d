"""A street of homes that balance together second by second: no sockets, a network that delays and loses."""

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import count, pairwise
from typing import Literal

from agent.control.controller import NOTHING_SHARED, Follow, Shared, decide, time_left_s
from agent.control.envelope import Envelope, Gate
from agent.control.headroom import ANYTHING, Storage, room
from agent.control.sharing import Sharing, Situation
from agent.control.smoothing import SHARE_OF_SLOT, NetLoad
from coordinator.balancing import Numbers, weight
from coordinator.charter import Rules
from coordinator.slots import Slot

RULES = Rules()
SLOT = Slot.at(datetime(2026, 6, 1, 9, tzinfo=UTC), RULES.slot_s)
ENVELOPE = Envelope(charge_w=3000, discharge_w=3000, reserve_pct=10, max_pct=95)
STORAGE = Storage(capacity_wh=8000, efficiency_charge=0.95, efficiency_discharge=0.95)
PLANNED_LOAD_W = 5000.0
"""So large that no deviation makes a load negative."""

Deviation = Callable[[int], float]
"""What the load differs by from its plan in a second of the slot [W]."""


@dataclass(frozen=True)
class Read:
    """What a home's devices show."""

    load_w: float
    soc_pct: float
    pv_w: float = 0.0
    quality: Literal["valid", "stale", "absent"] = "valid"
    missing: tuple[str, ...] = ()


@dataclass
class Home:
    """A home with its true load and, perhaps, a battery that does at once what it is told."""

    deviation: Deviation
    battery: bool
    shares: bool = True
    planned_battery_w: float = 0.0
    planned_grid_w: float = 0.0
    """What the plan takes from the grid beyond the contracts."""
    reach_w: tuple[float, float] = ANYTHING
    soc_pct: float = 50.0
    rules: Rules = RULES
    wear_limit_wh: float = float("inf")
    lie: Numbers | None = None
    """What it tells whatever is true."""
    net_wh: float = 0.0
    battery_wh: float = 0.0
    shared: Shared = NOTHING_SHARED
    battery_w: list[float] = field(default_factory=list)
    load_w: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        range_w = ENVELOPE.charge_w + ENVELOPE.discharge_w if self.battery else 0.0
        self.sharing = Sharing(
            rules=self.rules,
            interval_s=self.rules.deviation_s,
            life_s=self.rules.deviation_life_s,
            range_w=range_w,
            wear_limit_wh=self.wear_limit_wh,
        )
        self.smooth = NetLoad(time_constant_s=SHARE_OF_SLOT * self.rules.slot_s)
        self.smooth.add(SLOT.start_at - timedelta(seconds=1), PLANNED_LOAD_W)
        self.target_wh = (PLANNED_LOAD_W - self.planned_battery_w) * SLOT.hours

    def step(self, second: int, others: Sequence[Numbers]) -> Numbers | None:
        """Live one second; return what the neighbours are told."""
        now = SLOT.start_at + timedelta(seconds=second)
        load_w = PLANNED_LOAD_W + self.deviation(second)
        smooth_w = self.smooth.add(now, load_w)
        left_s = time_left_s(SLOT, now)
        can = None
        if self.battery:
            can = room(
                STORAGE,
                ENVELOPE,
                Gate(),
                self.soc_pct,
                planned_w=self.planned_battery_w,
                left_s=left_s,
                reach_w=self.reach_w,
            )
        home = Situation(
            net_w=load_w,
            smooth_w=smooth_w,
            planned_w=PLANNED_LOAD_W,
            grid_w=self.planned_grid_w,
            room=can,
            day=date(2026, 6, 1),
        )
        self.shared = self.sharing.step(now, SLOT, home, others if self.shares else ())
        power_w = self._battery_w(now, load_w, smooth_w) if self.battery else 0.0
        self.battery_w.append(power_w)
        self.load_w.append(load_w)
        self.battery_wh += power_w / 3600
        self.net_wh += (load_w - power_w) / 3600
        stored = power_w / STORAGE.efficiency_discharge if power_w > 0 else power_w * STORAGE.efficiency_charge
        self.soc_pct -= 100 * stored / 3600 / STORAGE.capacity_wh
        news = self.sharing.news if self.shares else None
        return news if news is None or self.lie is None else self.lie

    def _battery_w(self, now: datetime, load_w: float, smooth_w: float) -> float:
        decision = decide(
            Read(load_w, self.soc_pct),
            now=now,
            slot=SLOT,
            target_wh=self.target_wh,
            net_so_far_wh=self.net_wh,
            envelope=ENVELOPE,
            deadband_w=0.0,
            net_load_w=smooth_w,
            shared=self.shared,
        )
        assert isinstance(decision, Follow)
        return decision.target_w

    @property
    def error_wh(self) -> float:
        """How far the meter's energy is from its plan."""
        return self.net_wh - self.target_wh

    @property
    def grid_wh(self) -> float:
        """What the meter shows beyond the contracts."""
        return self.error_wh + self.planned_grid_w * SLOT.hours


@dataclass
class Street:
    """Homes and the network between them.

    Args:
        silent_from: From this second on nothing arrives any more.
    """

    homes: list[Home]
    seed: int = 1
    delay_s: float = 0.0
    loss: float = 0.0
    silent_from: int | None = None

    def run(self, until: int = RULES.slot_s) -> "Street":
        chance, order = random.Random(self.seed), count()
        queue: list[tuple[float, int, int, int, int, Numbers]] = []
        heard: list[dict[int, tuple[int, int, Numbers]]] = [{} for _ in self.homes]
        for second in range(until):
            while queue and queue[0][0] <= second:
                _, _, sender, to, told_at, numbers = heapq.heappop(queue)
                silent = self.silent_from is not None and second >= self.silent_from
                if not silent and told_at > heard[to].get(sender, (-1, 0, numbers))[0]:
                    heard[to][sender] = (told_at, second, numbers)
            for mine, home in enumerate(self.homes):
                shares = [(weight(second - at, RULES.deviation_life_s), n) for _, at, n in heard[mine].values()]
                news = home.step(second, [n.weighted(share) for share, n in shares if share > 0])
                for to in range(len(self.homes)):
                    if news is not None and to != mine and chance.random() >= self.loss:
                        arrives = second + chance.uniform(0, self.delay_s)
                        heapq.heappush(queue, (arrives, next(order), mine, to, second, news))
        return self

    @property
    def error_wh(self) -> float:
        return sum(home.error_wh for home in self.homes)

    @property
    def grid_wh(self) -> float:
        """What the homes together exchange with the grid beyond their contracts."""
        return sum(home.grid_wh for home in self.homes)

    def battery_w(self) -> list[float]:
        """Return the power of all batteries together, second by second."""
        return [sum(powers) for powers in zip(*(home.battery_w for home in self.homes), strict=True)]

    def deviation_w(self) -> list[float]:
        planned_w = PLANNED_LOAD_W * len(self.homes)
        return [sum(loads) - planned_w for loads in zip(*(home.load_w for home in self.homes), strict=True)]


def variation(values: Sequence[float]) -> float:
    """Return the sum of all steps, up and down."""
    return sum(abs(later - earlier) for earlier, later in pairwise(values))


def noisy(seed: int, bias_w: float, noise_w: float = 100.0) -> Deviation:
    """Return a deviation around a bias, the same for every run."""
    chance = random.Random(seed)
    values = [bias_w + chance.gauss(0, noise_w) for _ in range(RULES.slot_s)]
    return values.__getitem__


def step_of(watts: float, at: int) -> Deviation:
    return lambda second: watts if second >= at else 0.0


def ten_homes(seed: int, *, shares: bool = True) -> list[Home]:
    """Return ten homes, three of them with a battery, whose forecasts err as real ones do."""
    chance = random.Random(seed)
    return [Home(noisy(100 * seed + n, chance.uniform(-350, 600)), battery=n < 3, shares=shares) for n in range(10)]
