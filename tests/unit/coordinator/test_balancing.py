"""Shared balancing between homes: who gives how much, and whose numbers count."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from neighbourhood import START, Neighbourhood
from sealed import Street

from coordinator.balancing import FADING_SHARE, Neighbours, Numbers, share_w, together, weight
from coordinator.charter import Rules
from coordinator.codec import Verified, encode
from coordinator.desk import MESSAGES_PER_SLOT
from coordinator.errors import RemoteProtocolError
from coordinator.messages import Deviation
from coordinator.slots import Slot

STREET = Street(3)
ANNA, BERT, CARL = STREET.ids
RULES = STREET.rules
SLOT = Slot.at(START, RULES.slot_s)
LIFE_S = 20.0
AT = SLOT.start_at + timedelta(seconds=100)
WATTS = st.floats(0, 5000)


def said(sender: str = ANNA, seq: int = 1, slot: Slot = SLOT, **numbers: int) -> Verified[Any]:
    body = {"slot": slot.key, "power_w": 0, "give_w": 0, "take_w": 0, **numbers}
    message: Any = Deviation.model_validate({**STREET.header(sender), **body, "seq": seq})
    return encode(message, STREET.identity(sender))


def after(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def why_refused(neighbours: Neighbours, verified: Verified[Any], now: datetime = AT) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        neighbours.receive(verified, now)
    return caught.value.reason


# A battery's share


@pytest.mark.parametrize(
    ("total_w", "own_w", "all_w", "share"),
    [
        (900, 1000, 3000, 300),
        (-900, 1000, 3000, -300),
        (900, 0, 3000, 0),
        (900, 1000, 1000, 900),
        (5000, 1000, 3000, 1000),  # all give all they can, and no more
        (-5000, 1000, 3000, -1000),
        (0, 1000, 3000, 0),
        (900, 1000, 0, 900),  # sums that cannot be: as if it were alone
        (900, 0, 0, 0),
        (900, -50, 3000, 0),
    ],
)
def test_a_battery_takes_its_share_by_headroom(total_w: float, own_w: float, all_w: float, share: float) -> None:
    assert share_w(total_w, own_w, all_w) == share


@given(total_w=st.floats(-20_000, 20_000), headrooms=st.lists(WATTS, min_size=1, max_size=8))
def test_together_the_shares_are_the_deviation_as_far_as_the_headroom_goes(
    total_w: float, headrooms: list[float]
) -> None:
    shares = [share_w(total_w, own, sum(headrooms)) for own in headrooms]
    covered = min(abs(total_w), sum(headrooms))
    assert sum(shares) == pytest.approx(covered if total_w > 0 else -covered, abs=1e-6)
    assert all(abs(share) <= own for share, own in zip(shares, headrooms, strict=True))


def test_opposite_deviations_cancel_without_any_battery() -> None:
    numbers = [Numbers(power_w=700, give_w=2000, take_w=1000), Numbers(power_w=-700, give_w=500, take_w=300)]
    everybody = together(numbers)
    assert everybody == Numbers(power_w=0, give_w=2500, take_w=1300)
    assert share_w(everybody.power_w, 2000, everybody.headroom_w(everybody.power_w)) == 0


def test_the_headroom_that_counts_is_the_one_that_answers() -> None:
    numbers = Numbers(give_w=2000, take_w=1000)
    assert (numbers.headroom_w(1), numbers.headroom_w(-1)) == (2000, 1000)


# Whose numbers count


def test_the_newest_number_of_each_neighbour_counts() -> None:
    neighbours = Neighbours(RULES)
    neighbours.receive(said(ANNA, 1, power_w=100), AT)
    neighbours.receive(said(BERT, 1, power_w=-40, give_w=7, take_w=8), AT)
    neighbours.receive(said(ANNA, 2, power_w=300), after(1))
    fresh = neighbours.fresh(after(2), LIFE_S)
    assert sorted(n.power_w for n in fresh) == [-40, 300]
    assert Numbers(power_w=-40, give_w=7, take_w=8) in fresh


@pytest.mark.parametrize("seq", [3, 2, 0])
def test_a_replay_or_an_overtaken_number_is_refused(seq: int) -> None:
    neighbours = Neighbours(RULES)
    neighbours.receive(said(seq=3, power_w=100), AT)
    assert why_refused(neighbours, said(seq=seq, power_w=900)) == "deviation not newer than the last one"
    assert neighbours.fresh(AT, LIFE_S) == [Numbers(power_w=100)]


@pytest.mark.parametrize("slots", [-1, 1, 96])
def test_a_number_of_another_slot_is_refused(slots: int) -> None:
    neighbours = Neighbours(RULES)
    assert why_refused(neighbours, said(slot=SLOT.shifted(slots))) == "deviation of another slot"
    assert neighbours.fresh(AT, LIFE_S) == []


def test_a_number_ends_with_its_slot_however_young() -> None:
    neighbours = Neighbours(RULES)
    just_before = SLOT.end_at - timedelta(seconds=1)
    neighbours.receive(said(power_w=100), just_before)
    assert len(neighbours.fresh(just_before, LIFE_S)) == 1
    assert neighbours.fresh(SLOT.end_at, LIFE_S) == []


@pytest.mark.parametrize("name", ["power_w", "give_w", "take_w"])
def test_a_number_beyond_the_charter_is_refused(name: str) -> None:
    neighbours, limit = Neighbours(RULES), RULES.deviation_limit_w
    assert why_refused(neighbours, said(**{name: limit + 1})) == "deviation beyond the charter's limit"
    neighbours.receive(said(**{name: limit}), AT)
    assert len(neighbours.fresh(AT, LIFE_S)) == 1


def test_a_shortage_too_large_is_refused_on_both_sides() -> None:
    reason = why_refused(Neighbours(RULES), said(power_w=-RULES.deviation_limit_w - 1))
    assert reason == "deviation beyond the charter's limit"


@pytest.mark.parametrize("off", ["shared_balancing", "residual_round"])
def test_a_community_that_does_not_share_refuses_every_number(off: str) -> None:
    rules = Rules.model_validate({**RULES.model_dump(), off: False})
    assert why_refused(Neighbours(rules), said()) == "deviation in a community that does not share them"


def test_a_number_fades_at_the_end_of_its_life() -> None:
    neighbours = Neighbours(RULES)
    neighbours.receive(said(power_w=1000, give_w=400), AT)
    full_s = (1 - FADING_SHARE) * LIFE_S
    assert neighbours.fresh(after(full_s), LIFE_S) == [Numbers(power_w=1000, give_w=400)]
    assert neighbours.fresh(after((full_s + LIFE_S) / 2), LIFE_S) == [Numbers(power_w=500, give_w=200)]
    assert neighbours.fresh(after(LIFE_S), LIFE_S) == []
    assert [weight(age, LIFE_S) for age in (-5, 0, 1000)] == [1, 1, 0], "a clock set back makes nobody count more"


# On the wire


def test_a_deviation_reaches_every_other_home_and_no_ledger(tmp_path: Path) -> None:
    street = Neighbourhood(tmp_path, homes=3)
    slot, (first, *others) = Slot.at(street.now, street.rules.slot_s), street.homes
    rows = {home: list(desk._store.rows()) for home, desk in street.desks.items()}
    street.desks[first].say_deviation(slot, Numbers(power_w=-120, give_w=30, take_w=40), street.now, 5.0)
    street.run(street.now + timedelta(seconds=2))
    for home in others:
        fresh = street.desks[home].neighbours.fresh(street.now, LIFE_S)
        assert fresh == [Numbers(power_w=-120, give_w=30, take_w=40)]
    assert street.desks[first].neighbours.fresh(street.now, LIFE_S) == []
    assert {home: list(desk._store.rows()) for home, desk in street.desks.items()} == rows


@pytest.mark.parametrize("slot_s", [60, 300, 900, 3600])
def test_deviations_leave_room_for_the_negotiation_within_the_rate_limit(slot_s: int) -> None:
    rules = Rules.for_slot(slot_s, 24)
    assert slot_s / rules.deviation_s <= MESSAGES_PER_SLOT / 4
    assert rules.deviation_life_s >= 4 * rules.deviation_s
