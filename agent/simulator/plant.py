"""The physics of one home: load and sun come from a profile, the battery follows its orders, the grid takes the rest.

Pure: time comes in through `advance`. Between two changes of the profile load and sun are constant and the battery
approaches its target exponentially, so every energy is integrated in closed form; a step of an hour is as exact as
3600 steps of a second. Powers are AC watts at the house bus, positive into the bus.
"""

import math
from dataclasses import dataclass, field
from datetime import datetime

from agent.simulator.profile import Profile
from coordinator.slots import require_utc

SETTLED_W = 1e-6
"""A battery this close to its target has reached it."""

BISECTIONS = 50
"""Halvings that find the moment a battery is full or empty: far below a microsecond of any step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Battery:
    """A battery behind its inverter. Efficiencies are one way, 0..1; `lag_s` is the time constant of its power."""

    capacity_wh: float
    charge_w: float
    discharge_w: float
    efficiency_charge: float = 0.95
    efficiency_discharge: float = 0.95
    lag_s: float = 2.0

    def __post_init__(self) -> None:
        if self.capacity_wh <= 0 or self.charge_w < 0 or self.discharge_w < 0 or self.lag_s < 0:
            raise ValueError(f"impossible battery: {self}")
        if not (0 < self.efficiency_charge <= 1 and 0 < self.efficiency_discharge <= 1):
            raise ValueError(f"efficiencies must lie in (0, 1]: {self}")

    def allowed_w(self, wanted_w: float, stored_wh: float) -> float:
        """Return the power the battery settles at when asked for `wanted_w` with `stored_wh` in it."""
        lowest_w = 0.0 if stored_wh >= self.capacity_wh else -self.charge_w
        highest_w = 0.0 if stored_wh <= 0 else self.discharge_w
        return min(max(wanted_w, lowest_w), highest_w)

    def stored_change_wh(self, energy_wh: float) -> float:
        """Return what `energy_wh` at the bus (+ discharged) does to the stored energy."""
        return -energy_wh * self.efficiency_charge if energy_wh < 0 else -energy_wh / self.efficiency_discharge


@dataclass(slots=True, kw_only=True)
class Counters:
    """Energy since the devices were installed, Wh; none of them ever falls.

    `inverter_wh` counts the inverter's AC output (sun and battery together) while it is positive.
    """

    import_wh: float = 0.0
    export_wh: float = 0.0
    load_wh: float = 0.0
    pv_wh: float = 0.0
    inverter_wh: float = 0.0
    battery_in_wh: float = 0.0
    battery_out_wh: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Powers of one moment; `load_w == grid_w + pv_w + battery_w`."""

    load_w: float
    pv_w: float
    battery_w: float

    @property
    def grid_w(self) -> float:
        return self.load_w - self.pv_w - self.battery_w

    @property
    def inverter_w(self) -> float:
        """AC power of the inverter: sun and battery together."""
        return self.pv_w + self.battery_w


@dataclass(slots=True)
class _Swing:
    """Battery power on its way from `start_w` to `target_w`."""

    start_w: float
    target_w: float
    lag_s: float

    def power_w(self, after_s: float) -> float:
        return self.target_w + (self.start_w - self.target_w) * self._decay(after_s)

    def energy_wh(self, after_s: float) -> float:
        swing_s = self.lag_s * (1 - self._decay(after_s))
        return (self.target_w * after_s + (self.start_w - self.target_w) * swing_s) / 3600

    def reaches_s(self, level_w: float) -> float:
        """Return when the power crosses `level_w` (infinity when it does not)."""
        way_w = self.start_w - self.target_w
        if way_w == 0 or not 0 < (ratio := (level_w - self.target_w) / way_w) < 1:
            return math.inf
        return -self.lag_s * math.log(ratio)

    def _decay(self, after_s: float) -> float:
        return math.exp(-after_s / self.lag_s) if self.lag_s > 0 else 0.0


@dataclass(slots=True, kw_only=True)
class Plant:
    """One home in motion. `stored_wh` and `battery_w` are the battery's state at `at`.

    Without orders the battery follows load minus sun (self-consumption). `ac_setpoint_w` orders the AC power of the
    whole inverter instead, so the battery adds what the sun lacks, within its limits.
    """

    profile: Profile
    battery: Battery | None
    at: datetime
    stored_wh: float = 0.0
    battery_w: float = 0.0
    ac_setpoint_w: float | None = None
    counters: Counters = field(default_factory=Counters)

    def __post_init__(self) -> None:
        self.at = require_utc(self.at)
        capacity_wh = self.battery.capacity_wh if self.battery else 0.0
        self.stored_wh = min(max(self.stored_wh, 0.0), capacity_wh)

    @property
    def soc_pct(self) -> float | None:
        """State of charge, 0..100; None without a battery."""
        return 100 * self.stored_wh / self.battery.capacity_wh if self.battery else None

    @property
    def flow(self) -> Flow:
        """Powers at `at`."""
        return Flow(load_w=self.profile.load_w(self.at), pv_w=self.profile.pv_w(self.at), battery_w=self.battery_w)

    def settle(self) -> None:
        """Put the battery where it would be had load, sun and orders long been what they are."""
        self.battery_w = self._swing(self.profile.load_w(self.at), self.profile.pv_w(self.at)).target_w

    def advance(self, to: datetime) -> None:
        """Live on until `to`. A moment that has passed already changes nothing: clocks may step back."""
        to = require_utc(to)
        while self.at < to:
            until = min(to, self.profile.next_change(self.at))
            self._live(self.profile.load_w(self.at), self.profile.pv_w(self.at), (until - self.at).total_seconds())
            self.at = until

    def _live(self, load_w: float, pv_w: float, for_s: float) -> None:
        """Integrate `for_s` seconds of constant load and sun, piece by piece between sign changes of any flow."""
        left_s = for_s
        while left_s > 0:
            left_s -= self._piece(load_w, pv_w, left_s)

    def _piece(self, load_w: float, pv_w: float, at_most_s: float) -> float:
        """Integrate until the first flow changes its sign or the battery is full or empty; return the seconds taken."""
        swing = self._swing(load_w, pv_w)
        crossings = {swing.reaches_s(level_w): level_w for level_w in (0.0, load_w - pv_w, -pv_w)}
        first_s = min(crossings)
        taken_s, end_w = (
            (first_s, crossings[first_s]) if first_s <= at_most_s else (at_most_s, swing.power_w(at_most_s))
        )
        if self.battery:
            stored_wh = self.stored_wh + self.battery.stored_change_wh(swing.energy_wh(taken_s))
            if not 0 <= stored_wh <= self.battery.capacity_wh:
                limit_wh = 0.0 if stored_wh < 0 else self.battery.capacity_wh
                taken_s, end_w, stored_wh = self._time_to(self.battery, limit_wh, swing, taken_s), 0.0, limit_wh
            self.stored_wh = stored_wh
        self._count(load_w, pv_w, swing.energy_wh(taken_s), taken_s)
        self.battery_w = end_w
        return taken_s

    def _swing(self, load_w: float, pv_w: float) -> _Swing:
        if self.battery is None:
            return _Swing(0.0, 0.0, 0.0)
        aim_w = load_w if self.ac_setpoint_w is None else self.ac_setpoint_w
        target_w = self.battery.allowed_w(aim_w - pv_w, self.stored_wh)
        at_target = self.battery.lag_s == 0 or abs(self.battery_w - target_w) < SETTLED_W
        return _Swing(target_w if at_target else self.battery_w, target_w, self.battery.lag_s)

    def _time_to(self, battery: Battery, limit_wh: float, swing: _Swing, within_s: float) -> float:
        """Return when the stored energy reaches `limit_wh`, which it does within `within_s` at power of one sign."""
        room_wh = abs(limit_wh - self.stored_wh)
        early_s, late_s = 0.0, within_s
        for _ in range(BISECTIONS):
            middle_s = (early_s + late_s) / 2
            if abs(battery.stored_change_wh(swing.energy_wh(middle_s))) < room_wh:
                early_s = middle_s
            else:
                late_s = middle_s
        return early_s

    def _count(self, load_w: float, pv_w: float, battery_wh: float, for_s: float) -> None:
        load_wh, pv_wh = load_w * for_s / 3600, pv_w * for_s / 3600
        grid_wh = load_wh - pv_wh - battery_wh
        counters = self.counters
        counters.load_wh += load_wh
        counters.pv_wh += pv_wh
        counters.import_wh += max(grid_wh, 0.0)
        counters.export_wh += max(-grid_wh, 0.0)
        counters.inverter_wh += max(pv_wh + battery_wh, 0.0)
        counters.battery_out_wh += max(battery_wh, 0.0)
        counters.battery_in_wh += max(-battery_wh, 0.0)
