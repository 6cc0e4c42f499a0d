from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agent.control.effect import EffectCheck, Tolerance
from agent.control.envelope import Envelope
from agent.control.orders import Command, Keep, Lease, LetGo, Traits
from agent.control.settings import ControlSettings
from agent.control.supervisor import Supervisor

TOLERANCE = Tolerance(after_s=10, abs_w=200, rel=0.3)
ENVELOPE = Envelope(charge_w=3000, discharge_w=2000, reserve_pct=20, max_pct=95)
TRAITS = Traits(reversion_s=60, refresh_s=20, includes_pv=True, tolerance=TOLERANCE)
SETTINGS = ControlSettings(enabled=True)


@dataclass(frozen=True)
class Seen:
    monotonic_s: float
    values: Mapping[str, float | None]
    doubtful: Mapping[str, str] = field(default_factory=dict)


def seen(at_s: float, battery_w: float | None = 0.0, soc_pct: float | None = 50.0, pv_w: float | None = 0.0) -> Seen:
    return Seen(at_s, {"battery_w": battery_w, "soc_pct": soc_pct, "pv_w": pv_w})


class GuardedBattery(RuleBasedStateMachine):
    """Any order of wishes, samples, failures and time: what is written stays inside the envelope and the timers."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.mind = Supervisor(SETTINGS, ENVELOPE, TRAITS)
        self.lease_until_s: float | None = None
        self.sample: Seen | None = None
        self.free = False
        self.begun = False
        self.commanded_s: float | None = None

    @rule(target_w=st.floats(allow_nan=True, allow_infinity=True), lasts_s=st.floats(0, 60))
    def wish(self, target_w: float, lasts_s: float) -> None:
        self.lease_until_s = self.now_s + lasts_s
        self.mind.grant(Lease(target_w=target_w, reason="x", until_s=self.lease_until_s))

    @rule()
    def withdraw(self) -> None:
        self.lease_until_s = None
        self.mind.withdraw("x")

    @rule(
        battery_w=st.none() | st.floats(-1e4, 1e4),
        soc_pct=st.none() | st.floats(-10, 200) | st.just(float("nan")),
        pv_w=st.none() | st.floats(0, 1e4),
    )
    def sample_comes(self, battery_w: float | None, soc_pct: float | None, pv_w: float | None) -> None:
        sample = seen(self.now_s, battery_w, soc_pct, pv_w)
        self.mind.observe(sample)
        if self.sample is None or sample.monotonic_s > self.sample.monotonic_s:  # one moment has one sample
            self.sample = sample

    @rule(by_s=st.floats(0.1, 30))
    def time_passes(self, by_s: float) -> None:
        self.now_s += by_s

    @rule()
    def person_resets(self) -> None:
        self.mind.reset()
        self.free = self.begun = False

    @rule(works=st.booleans())
    def guard_looks(self, works: bool) -> None:
        action = self.mind.next(self.now_s)
        match action:
            case Command():
                assert self.begun, "control begins with a release"
                self._check(action)
                self.free = False
                self.commanded_s = self.now_s
                self.mind.touched()
                if works:
                    self.mind.commanded(self.now_s, action)
                else:
                    self.mind.lost()
            case LetGo():
                assert not self.free
                if works:
                    self.mind.let_go()
                    self.free = self.begun = True
            case Keep():
                if not self.free:
                    assert self.commanded_s is not None
                    assert self.now_s - self.commanded_s < TRAITS.refresh_s, "the timer is refreshed in time"

    def _check(self, command: Command) -> None:
        assert self.mind.latched is None
        assert self.lease_until_s is not None
        assert self.now_s < self.lease_until_s
        assert self.sample is not None
        assert self.now_s - self.sample.monotonic_s <= SETTINGS.stale_after_s
        soc_pct = self.sample.values["soc_pct"]
        assert soc_pct is not None
        assert -3000 <= command.battery_w <= 2000
        if not 20 < soc_pct <= 100:
            assert command.battery_w <= 0
        if not 0 <= soc_pct < 95:
            assert command.battery_w >= 0

    @invariant()
    def target_is_shown_only_while_it_is_in_force(self) -> None:
        assert self.mind.target_w is None or not self.mind.released


GuardedBattery.TestCase.settings = hypothesis_settings(max_examples=40, stateful_step_count=30, deadline=None)
TestGuardedBattery = GuardedBattery.TestCase


def following(target_w: float = 1000.0, pv_w: float = 0.0) -> Supervisor:
    mind = Supervisor(SETTINGS, ENVELOPE, TRAITS)
    mind.let_go()
    mind.observe(seen(0, pv_w=pv_w))
    mind.grant(Lease(target_w=target_w, reason="x", until_s=1000))
    action = mind.next(0)
    assert isinstance(action, Command)
    mind.touched()
    mind.commanded(0, action)
    return mind


def test_s12_one_strange_reading_is_forgiven_and_three_in_a_row_are_not() -> None:
    mind = following()
    assert [mind.observe(seen(11 + i, battery_w)) for i, battery_w in enumerate((-1000, 1000, -1000, 0))] == [None] * 4
    assert mind.observe(seen(20, -1000)) == "the battery shows -1000 W where 1000 W was commanded"
    assert mind.observe(seen(21, -1000)) is None, "told once"
    assert isinstance(mind.next(21), LetGo)


def test_the_same_sample_is_judged_once() -> None:
    mind = following()
    assert [mind.observe(seen(11, -1000)) for _ in range(5)] == [None] * 5
    assert mind.latched is None


@pytest.mark.parametrize(
    ("at_s", "battery_w", "soc_pct", "misses"),
    [
        pytest.param(9, -2000, 50, False, id="the device still has time"),
        pytest.param(11, 810, 50, False, id="within 200 W"),
        pytest.param(11, 690, 50, True, id="off by more than 30 % and 200 W"),
        pytest.param(11, 1310, 50, True, id="too much is as wrong as too little"),
        pytest.param(11, 100, 9, False, id="an almost empty battery may give less"),
        pytest.param(11, -300, 9, True, id="but not go the other way"),
        pytest.param(11, 100, 96, True, id="a full one has no reason to"),
    ],
)
def test_effect_is_judged_after_its_time_and_beyond_both_tolerances(
    at_s: float, battery_w: float, soc_pct: float, misses: bool
) -> None:
    check = EffectCheck(TOLERANCE)
    check.commanded(0, 1000)
    assert bool(check.missed(at_s, battery_w, soc_pct, 0)) is misses


def test_battery_on_its_way_between_two_setpoints_is_no_miss() -> None:
    check = EffectCheck(TOLERANCE)
    check.commanded(0, 2000)
    check.commanded(12, -2000)
    assert check.missed(13, 100, 50, 0) is None
    assert check.missed(23, 1500, 50, 0) is not None


def test_setpoint_of_the_whole_inverter_is_judged_with_the_sun_of_the_moment() -> None:
    check = EffectCheck(TOLERANCE)
    check.commanded(0, 3000)
    assert check.missed(11, 1000, 50, 2000) is None
    assert check.missed(12, 1000, 50, 500) is not None


def test_full_battery_may_take_less_than_it_is_told() -> None:
    check = EffectCheck(TOLERANCE)
    check.commanded(0, -2000)
    assert check.missed(11, -100, 96, 0) is None
    assert check.missed(11, -100, 60, 0) is not None
