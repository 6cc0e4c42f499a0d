"""One home's battery through a slot: what it is asked to do, and what the neighbours hear of the home."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from agent.config import HomeConfig
from agent.control.envelope import Gate
from agent.control.ports import GuardStatus
from agent.control.priorities import Party
from agent.devices.reading import HomeReading
from agent.steering import Aim, Steering, owner_sharing
from coordinator.balancing import Numbers
from coordinator.charter import Rules
from coordinator.clock import ManualClock
from coordinator.slots import Slot

RULES = Rules()
SLOT = Slot.at(datetime(2026, 6, 1, 9, tzinfo=UTC), RULES.slot_s)
AIM = Aim(net_wh=100.0, traded_wh=100.0, battery_w=600.0)
PLAIN: dict[str, Any] = {
    "home": {"name": "home-1"},
    "community": {"charter": "charter.json", "key_file": "key.pem"},
    "mqtt": {"own": {"url": "mqtt://127.0.0.1:1883", "password": "x"}},
    "devices": {"meter": {"profile": "eastron_sdm630", "url": "tcp://127.0.0.1:5021"}},
    "tariff": {"fixed": {"import_per_kwh": 0.3, "export_per_kwh": 0.1}},
}
BATTERY = {"capacity_kwh": 10.0, "charge_kw": 3.0, "discharge_kw": 3.0, "round_trip_efficiency": 0.81}
READING = HomeReading(
    at=SLOT.start_at, monotonic_s=0.0, grid_w=400.0, pv_w=0.0, battery_w=600.0, load_w=1000.0, soc_pct=50.0,
    import_wh=0.0, export_wh=0.0, quality="valid", missing=(),
)  # fmt: skip


HOMES = [SimpleNamespace(name=f"home-{number}") for number in range(6)]
STREET = [SimpleNamespace(name=f"home-{number}") for number in range(12)]


@dataclass
class FakeGuard:
    """Does what it is told, and remembers it."""

    control: str = "following"
    obeys: bool = True
    gate: Gate = field(default_factory=Gate)
    leases: list[float] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    @property
    def status(self) -> Any:
        return GuardStatus(control=self.control, target_w=None, reason="", obeys=self.obeys)  # type: ignore[arg-type]

    def lease(self, target_w: float, reason: str, *, party: Party = Party.PRICE) -> None:
        self.leases.append(target_w)
        self.reasons.append(reason)

    def release(self, reason: str) -> None:
        self.reasons.append(reason)


def config(**sections: Any) -> HomeConfig:
    return HomeConfig.model_validate({**PLAIN, **sections})


def steering(guard: Any = None, rules: Rules = RULES, homes: list[Any] = HOMES, **sections: Any) -> Steering:
    charter: Any = SimpleNamespace(rules=rules, homes=homes)
    sections = {**sections, "control": {"jitter_s": 0, **sections.get("control", {})}}
    return Steering(config(**sections), guard, ManualClock(SLOT.start_at), charter)


def steer(made: Steering, second: float, reading: HomeReading = READING, *others: Numbers) -> Numbers | None:
    now = SLOT.start_at + timedelta(seconds=second)
    return made.steer(
        replace(reading, at=now), now=now, slot=SLOT, aim=AIM, so_far=(100 / 900 * second, 0.0), others=others
    )


def test_a_home_as_planned_tells_so_and_what_its_battery_could_do() -> None:
    assert steer(steering(FakeGuard(), battery=BATTERY), 0) == Numbers(power_w=0, give_w=2400, take_w=3600)


def test_the_battery_does_its_share_and_says_so() -> None:
    guard = FakeGuard()
    made = steering(guard, battery=BATTERY)
    steer(made, 0)
    steer(made, 5, READING, Numbers(power_w=700))
    assert guard.leases == pytest.approx([600, 1300])
    assert guard.reasons[1].endswith("the battery gives 1300 W, 700 W for the neighbours")
    assert made.shared is not None
    assert (made.shared.homes, made.shared.given_w) == (1, 700)


def test_a_home_without_a_battery_only_tells() -> None:
    made = steering()
    told = steer(made, 0, replace(READING, battery_w=0.0, soc_pct=None, load_w=700.0, grid_w=700.0))
    assert told == Numbers(power_w=300), "700 W at the meter, where 400 were planned"


@pytest.mark.parametrize("control", ["observe", "released"])
def test_a_battery_that_does_not_follow_counts_as_load_and_offers_nothing(control: str) -> None:
    made = steering(FakeGuard(control), battery=BATTERY)
    assert steer(made, 0, replace(READING, battery_w=900.0, grid_w=100.0)) == Numbers(power_w=-300)


@pytest.mark.parametrize(
    "reading",
    [replace(READING, quality="stale"), replace(READING, quality="absent", load_w=None)],
    ids=["stale", "absent"],
)
def test_a_home_that_does_not_know_itself_tells_nothing(reading: HomeReading) -> None:
    guard = FakeGuard()
    made = steering(guard, battery=BATTERY)
    assert steer(made, 0, reading, Numbers(power_w=700)) is None
    assert guard.leases == []
    assert made.shared is not None
    assert made.shared.homes == 0


def test_an_owner_who_does_not_share_tells_nothing_and_keeps_the_own_plan() -> None:
    guard = FakeGuard()
    made = steering(guard, battery=BATTERY, control={"share": False})
    assert [steer(made, second, READING, Numbers(power_w=700)) for second in (0, 5)] == [None, None]
    assert guard.leases == pytest.approx([600, 600])
    assert made.shared is None


@pytest.mark.parametrize("off", ["shared_balancing", "residual_round"])
def test_a_community_that_does_not_share_hears_nothing(off: str) -> None:
    rules = Rules.model_validate({**RULES.model_dump(), off: False})
    assert steer(steering(FakeGuard(), rules, battery=BATTERY), 0) is None


@pytest.mark.parametrize(
    ("speed", "homes", "interval_s", "life_s"),
    [(1.0, 6, 5, 60), (360.0, 6, 108, 1440), (360.0, 64, 1152, 4608), (1.0, 64, 5, 60)],
)
def test_on_a_fast_clock_wall_time_sets_how_often_and_how_long(
    speed: float, homes: int, interval_s: float, life_s: float
) -> None:
    sharing = owner_sharing(config(battery=BATTERY, control={"share_wh_per_day": 300}), RULES, speed, homes)
    assert (sharing.interval_s, sharing.life_s) == pytest.approx((interval_s, life_s))
    assert (sharing.range_w, sharing.wear_limit_wh) == (6000, 300)


def test_plans_count_on_a_battery_only_while_it_is_commanded() -> None:
    """It is read every 2 seconds; not commissioned, commissioned, stopped, resumed, without lease, led again."""
    guard = FakeGuard("observe", obeys=False)
    made = steering(guard, battery=BATTERY)
    now = SLOT.start_at

    def commands(control: str, obeys: bool, seconds: float = 2) -> bool:
        nonlocal now
        guard.control, guard.obeys = control, obeys
        now += timedelta(seconds=seconds)
        return made.commands(now)

    assert not commands("observe", False)
    assert commands("released", True), "it may be written to: the next slot can be planned with it"
    assert commands("following", True, 3600)
    assert not commands("released", False), "stopped, given up, or its guard is gone"
    assert commands("released", True, 3600)
    assert commands("following", True)
    assert commands("released", True, 2 * RULES.slot_s), "the meter was away for a while"
    assert not commands("released", True), "for long nobody has led it"
    assert commands("following", True)


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({}, "no battery to command"),
        ({"battery": BATTERY}, "the battery is only observed: [control] enabled = false"),
        (
            {"battery": BATTERY, "control": {"enabled": True}},
            "the battery is only observed: no device here takes commands",
        ),
    ],
)
def test_a_home_without_a_guard_says_why_its_battery_is_not_commanded(sections: dict[str, Any], reason: str) -> None:
    made = steering(**sections)
    assert not made.commands(SLOT.start_at)
    assert (made.status.control, made.status.reason) == ("observe", reason)


def test_s4_homes_change_one_after_the_other_at_the_start_of_a_slot() -> None:
    """Each goes on as before for a part of the minute that is its own, and another one in each slot."""
    changed_at = []
    for member in STREET:
        guard = FakeGuard()
        made = steering(guard, homes=STREET, home={"name": member.name}, battery=BATTERY, control={"jitter_s": 60})
        before = SLOT.shifted(-1)
        early = Aim(net_wh=100.0, traded_wh=0.0, battery_w=600.0)
        now = before.end_at - timedelta(seconds=1)
        made.steer(replace(READING, at=now), now=now, slot=before, aim=early, so_far=(99.9, 0.0))
        held_w = guard.leases[-1]
        later = Aim(net_wh=-300.0, traded_wh=-300.0, battery_w=2000.0)
        for second in range(0, 62):
            now = SLOT.start_at + timedelta(seconds=second)
            made.steer(replace(READING, at=now), now=now, slot=SLOT, aim=later, so_far=(0.0, 0.0))
            if guard.leases[-1] != held_w:
                changed_at.append(second)
                break
            assert "as before" in guard.reasons[-1]
    assert sorted(changed_at) == [3 + 5 * place for place in range(12)], "each has its turn, no two at once"
    assert changed_at != sorted(changed_at), "by lot"


def test_s4_a_home_that_begins_at_the_start_of_a_slot_waits_for_its_turn_too() -> None:
    guard = FakeGuard()
    made = steering(guard, homes=STREET, home={"name": "home-3"}, battery=BATTERY, control={"jitter_s": 60})
    for second in range(60):
        steer(made, second)
        if guard.leases:
            break
        assert "homes change in turn" in guard.reasons[-1]
    assert 2 <= second < 60


def test_s9_after_a_jump_of_the_clock_the_battery_is_on_its_own_until_the_next_slot() -> None:
    guard, clock = FakeGuard(), ManualClock(SLOT.start_at)
    charter: Any = SimpleNamespace(rules=RULES, homes=HOMES)
    made = Steering(config(battery=BATTERY, control={"jitter_s": 0}), guard, clock, charter)

    def look(slot: Slot, shown: datetime) -> None:
        made.steer(replace(READING, at=shown), now=shown, slot=slot, aim=AIM, so_far=(0.0, 0.0))

    look(SLOT, SLOT.start_at)
    assert guard.leases
    clock.advance(timedelta(seconds=2))  # and the wall clock says that an hour has passed
    later = Slot.at(SLOT.start_at + timedelta(hours=1, seconds=2), RULES.slot_s)
    look(later, SLOT.start_at + timedelta(hours=1, seconds=2))
    assert "the clock jumped" in guard.reasons[-1]
    count = len(guard.leases)
    clock.advance(timedelta(seconds=600))
    look(later, SLOT.start_at + timedelta(hours=1, seconds=602))
    assert len(guard.leases) == count
    clock.advance(timedelta(seconds=300))
    look(later.shifted(1), SLOT.start_at + timedelta(hours=1, seconds=902))
    assert len(guard.leases) == count + 1
