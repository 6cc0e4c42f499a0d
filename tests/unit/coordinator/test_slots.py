"""Delivery periods: half open, in UTC, on one grid."""

import itertools
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.errors import LocalProtocolError
from coordinator.slots import Slot, require_utc

LENGTHS = st.sampled_from([60, 300, 900, 1800, 3600])
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(TIMES, LENGTHS)
def test_every_moment_lies_in_exactly_one_slot(at: datetime, length_s: int) -> None:
    slot = Slot.at(at, length_s)
    assert slot.start_at <= at < slot.end_at
    assert slot.key % length_s == 0
    assert slot.shifted(1).start_at == slot.end_at


def test_the_end_belongs_to_the_next_slot() -> None:
    slot = Slot.at(datetime(2026, 6, 1, 9, 14, 59, 999_999, tzinfo=UTC), 900)
    assert slot.start_at == datetime(2026, 6, 1, 9, 0, tzinfo=UTC)
    assert Slot.at(slot.end_at, 900) == slot.shifted(1) != slot


@given(TIMES, LENGTHS, st.integers(-500, 500))
def test_shifting_there_and_back_changes_nothing(at: datetime, length_s: int, count: int) -> None:
    slot = Slot.at(at, length_s)
    assert slot.shifted(count).shifted(-count) == slot
    assert slot.shifted(count).start_at - slot.start_at == count * slot.length


def test_a_horizon_follows_without_gaps() -> None:
    slot = Slot.at(datetime(2026, 6, 1, tzinfo=UTC), 900)
    horizon = list(slot.horizon(96))
    assert horizon[0] == slot
    assert all(a.end_at == b.start_at for a, b in itertools.pairwise(horizon))
    assert horizon[-1].end_at == slot.start_at + timedelta(days=1)
    assert sum(s.hours for s in horizon) == 24


def test_one_moment_is_one_slot_in_whatever_zone_it_is_told() -> None:
    at = datetime(2026, 6, 1, 9, 20, tzinfo=UTC)
    assert Slot.at(at.astimezone(timezone(timedelta(hours=5, minutes=45))), 900) == Slot.at(at, 900)


def test_the_hour_that_a_clock_shows_twice_is_two_slots() -> None:
    zone = ZoneInfo("Europe/Berlin")
    first, second = (datetime(2026, 10, 25, 2, 30, tzinfo=zone, fold=fold) for fold in (0, 1))
    assert Slot.at(second, 900).key - Slot.at(first, 900).key == 3600


def test_a_time_without_its_zone_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="zone"):
        require_utc(datetime(2026, 6, 1))  # noqa: DTZ001
    with pytest.raises(LocalProtocolError):
        Slot.at(datetime(2026, 6, 1), 900)  # noqa: DTZ001
