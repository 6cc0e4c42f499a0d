import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.control.controller import Follow, Release, Shared, decide
from agent.control.envelope import Envelope
from coordinator.slots import Slot

SLOT = Slot.at(datetime(2024, 6, 12, 10, tzinfo=UTC), 900)
ENVELOPE = Envelope(charge_w=5000, discharge_w=5000, reserve_pct=20, max_pct=95)


@dataclass(frozen=True)
class Home:
    load_w: float | None = 1000.0
    pv_w: float | None = 0.0
    soc_pct: float | None = 50.0
    quality: Literal["valid", "stale", "absent"] = "valid"
    missing: tuple[str, ...] = ()


def follow(
    home: Home,
    target_wh: float,
    so_far_wh: float = 0.0,
    second: float = 0.0,
    last_w: float | None = None,
    shared: Shared | None = None,
) -> Follow:
    decision = decide(
        home,
        now=SLOT.start_at + timedelta(seconds=second),
        slot=SLOT,
        target_wh=target_wh,
        net_so_far_wh=so_far_wh,
        envelope=ENVELOPE,
        last_target_w=last_w,
        shared=shared or Shared(),
    )
    assert isinstance(decision, Follow)
    return decision


@pytest.mark.parametrize(
    ("home", "target_wh", "so_far_wh", "second", "target_w"),
    [
        pytest.param(Home(), 0, 0, 0, 1000, id="nothing from the grid: the battery carries the load"),
        pytest.param(Home(), 250, 0, 0, 0, id="the grid carries the load"),
        pytest.param(Home(), 500, 0, 0, -1000, id="the grid charges the battery"),
        pytest.param(Home(pv_w=3000), 0, 0, 0, -2000, id="the sun charges the battery"),
        pytest.param(Home(pv_w=3000), -500, 0, 0, 0, id="the sun is sold"),
        pytest.param(Home(), 250, 125, 450, 0, id="half of the energy in half of the time"),
        pytest.param(Home(), 250, 200, 450, 600, id="too much so far: the battery makes up for it"),
        pytest.param(Home(), 250, 0, 450, -1000, id="too little so far: the grid gives more"),
        pytest.param(Home(), -250, 0, 880, 5000, id="hopelessly late: the battery's limit"),
        pytest.param(
            Home(), 0, 10, 890, 1200, id="the last seconds make up an error as if a fifth of the slot was left"
        ),
    ],
)
def test_battery_carries_what_the_grid_must_not(
    home: Home, target_wh: float, so_far_wh: float, second: float, target_w: float
) -> None:
    assert follow(home, target_wh, so_far_wh, second).target_w == pytest.approx(target_w)


@given(st.floats(0, 20_000), st.floats(0, 20_000), st.floats(-5000, 5000), st.floats(-5000, 5000), st.floats(0, 899))
def test_target_never_leaves_the_envelope(
    load_w: float, pv_w: float, target_wh: float, so_far_wh: float, second: float
) -> None:
    assert abs(follow(Home(load_w, pv_w), target_wh, so_far_wh, second).target_w) <= 5000


def test_following_to_the_end_of_the_slot_meets_its_energy() -> None:
    so_far_wh = 0.0
    for second in range(0, 900, 5):
        load_w = 1500 + 1000 * math.sin(second / 50)
        battery_w = follow(Home(load_w), 200, so_far_wh, second).target_w
        so_far_wh += (load_w - battery_w) * 5 / 3600
    assert so_far_wh == pytest.approx(200, abs=5)


@pytest.mark.parametrize(
    ("home", "reason"),
    [
        (Home(quality="stale", missing=("grid_w", "load_w")), "no fresh value of grid_w, load_w"),
        (Home(load_w=None, quality="absent", missing=("load_w",)), "no fresh value of load_w"),
        (Home(soc_pct=None), "the battery's charge is unknown"),
    ],
)
def test_battery_is_released_when_the_home_is_not_known(home: Home, reason: str) -> None:
    decision = decide(home, now=SLOT.start_at, slot=SLOT, target_wh=0, net_so_far_wh=0, envelope=ENVELOPE)
    assert decision == Release(reason=reason)


def test_battery_is_released_without_a_plan_for_now_or_a_meter_at_the_slot_s_start() -> None:
    late = decide(Home(), now=SLOT.end_at, slot=SLOT, target_wh=0, net_so_far_wh=0, envelope=ENVELOPE)
    assert late == Release(reason="there is no plan for this slot yet")
    unseen = decide(Home(), now=SLOT.start_at, slot=SLOT, target_wh=0, net_so_far_wh=None, envelope=ENVELOPE)
    assert unseen == Release(reason="the meter was not seen at the start of this slot")


def test_small_changes_leave_the_target_as_it_is() -> None:
    assert follow(Home(1020), 0, last_w=1000).target_w == 1000
    assert follow(Home(1040), 0, last_w=1000).target_w == 1040
    assert follow(Home(1020, soc_pct=20), 0, last_w=1000).target_w == 0, "but never beyond a limit"


@pytest.mark.parametrize(
    ("home", "target_wh", "reason"),
    [
        (Home(), 250, "taking 250 Wh from the grid in this slot, as planned: the battery rests"),
        (Home(), -100, "giving 100 Wh to the grid in this slot, as planned: the battery gives 1400 W"),
        (Home(pv_w=3000), 0, "nothing to or from the grid in this slot, as planned: the battery takes 2000 W"),
        (Home(9000), 0, "nothing to or from the grid in this slot, as planned: the battery gives 5000 W, its limit"),
        (
            Home(soc_pct=20),
            0,
            "nothing to or from the grid in this slot, as planned: the battery rests, because its charge is at the "
            "reserve of 20 %",
        ),
        (
            Home(soc_pct=96, pv_w=3000),
            0,
            "nothing to or from the grid in this slot, as planned: the battery rests, because its charge is at the "
            "maximum of 95 %",
        ),
    ],
)
def test_reason_says_in_plain_words_why_the_battery_does_it(home: Home, target_wh: float, reason: str) -> None:
    assert follow(home, target_wh).reason == reason


# With the neighbours


@pytest.mark.parametrize(
    ("shared", "so_far_wh", "second", "target_w"),
    [
        pytest.param(Shared(left_w=400), 0, 0, -400, id="400 W of the load are the neighbours' to cover"),
        pytest.param(Shared(left_w=-400), 0, 0, 400, id="400 W are given to the neighbours"),
        pytest.param(Shared(left_w=400, left_wh=50), 175, 450, -400, id="what was left to the meter is no error"),
        pytest.param(Shared(left_wh=50), 175, 450, 0, id="and is not asked back when sharing ends"),
        pytest.param(Shared(left_w=-9000), 0, 0, 5000, id="never beyond the envelope"),
    ],
)
def test_what_is_shared_is_left_to_the_meter(shared: Shared, so_far_wh: float, second: float, target_w: float) -> None:
    assert follow(Home(), 250, so_far_wh, second, shared=shared).target_w == pytest.approx(target_w)


@pytest.mark.parametrize(
    ("given_w", "words"),
    [
        (300, "the battery gives 300 W, 300 W for the neighbours"),
        (-300, "the battery takes 300 W, 300 W from the neighbours"),
        (20, "the battery rests"),
    ],
)
def test_reason_says_what_is_done_for_the_neighbours(given_w: float, words: str) -> None:
    left_w = -given_w if abs(given_w) > 30 else 0.0
    shared = Shared(left_w=left_w, given_w=given_w, homes=2)
    assert follow(Home(), 250, shared=shared).reason == f"taking 250 Wh from the grid in this slot, as planned: {words}"
