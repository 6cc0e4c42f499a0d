"""What a battery could do over the rest of a slot, by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.control.envelope import Envelope, Gate
from agent.control.headroom import ANYTHING, Room, Storage, room

ENVELOPE = Envelope(charge_w=3000, discharge_w=2000, reserve_pct=20, max_pct=95)
STORAGE = Storage(capacity_wh=10_000, efficiency_charge=0.8, efficiency_discharge=0.9)


def at(soc_pct: float, planned_w: float = 0.0, left_s: float = 900.0, reach_w: tuple[float, float] = ANYTHING) -> Room:
    return room(STORAGE, ENVELOPE, Gate(), soc_pct, planned_w=planned_w, left_s=left_s, reach_w=reach_w)


@pytest.mark.parametrize(
    ("soc_pct", "planned_w", "left_s", "give_w", "take_w"),
    [
        (50, 0, 900, 2000, 3000),  # by power
        (50, 500, 900, 1500, 3500),  # a battery that gives can take more by giving less
        (50, -3000, 900, 5000, 0),
        (21, 0, 900, 360, 3000),  # 100 Wh above the reserve, 90 of them outside, in a quarter of an hour
        (21, 0, 450, 720, 3000),
        (94, 0, 900, 2000, 500),  # 100 Wh below the maximum take 125 from outside
        (10, 0, 900, 0, 3000),
        (99, 0, 900, 2000, 0),
        (10, -1000, 900, 1000, 2000),  # below the reserve it can still charge less
    ],
)
def test_headroom_is_what_power_and_energy_leave_beside_the_plan(
    soc_pct: float, planned_w: float, left_s: float, give_w: float, take_w: float
) -> None:
    made = at(soc_pct, planned_w, left_s)
    assert (made.give_w, made.take_w, made.lacking_w) == pytest.approx((give_w, take_w, 0))


def test_a_closed_gate_leaves_nothing_in_its_direction() -> None:
    closed = room(STORAGE, ENVELOPE, Gate(charge=False), 50, planned_w=0, left_s=900)
    assert (closed.give_w, closed.take_w) == (2000, 0)
    closed = room(STORAGE, ENVELOPE, Gate(discharge=False), 50, planned_w=0, left_s=900)
    assert (closed.give_w, closed.take_w) == (0, 3000)


@pytest.mark.parametrize(("soc_pct", "planned_w", "lacking_w"), [(21, 1000, 640), (94, -800, -300), (50, 1000, 0)])
def test_what_the_battery_cannot_do_of_its_plan_is_lacking(soc_pct: float, planned_w: float, lacking_w: float) -> None:
    assert at(soc_pct, planned_w).lacking_w == pytest.approx(lacking_w)


@given(st.floats(0, 100), st.floats(-5000, 5000), st.floats(1, 3600), st.floats(-9000, 9000))
def test_a_change_within_the_room_never_leaves_the_envelope(
    soc_pct: float, planned_w: float, left_s: float, wanted_w: float
) -> None:
    made = at(soc_pct, planned_w, left_s)
    does_w = planned_w - made.lacking_w + made.within(wanted_w)
    assert -3000.001 <= made.least_w - 0.001 <= does_w <= made.most_w + 0.001 <= 2000.002
    assert abs(made.within(wanted_w)) <= abs(wanted_w)


@pytest.mark.parametrize(
    ("planned_w", "reach_w", "give_w", "take_w"),
    [
        (500, (-math.inf, math.inf), 1500, 3500),
        (500, (500, 500), 0, 0),  # nothing but the plan pays
        (500, (0, math.inf), 1500, 500),  # taking pays only as giving less
        (-800, (-math.inf, 0), 800, 2200),
    ],
)
def test_energy_is_given_or_taken_only_where_it_pays(
    planned_w: float, reach_w: tuple[float, float], give_w: float, take_w: float
) -> None:
    made = at(50, planned_w, reach_w=reach_w)
    assert (made.give_w, made.take_w) == (give_w, take_w)
    assert made.lacking_w == 0, "the plan itself is never in question"


@pytest.mark.parametrize(("soc_pct", "planned_w", "lacking_w"), [(21, 1000, 640), (99, -800, -800)])
def test_what_pays_moves_no_limit_of_the_battery(soc_pct: float, planned_w: float, lacking_w: float) -> None:
    made = at(soc_pct, planned_w, reach_w=(planned_w, planned_w))
    assert (made.give_w, made.take_w) == (0, 0)
    assert made.lacking_w == pytest.approx(lacking_w)
