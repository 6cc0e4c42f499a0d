"""Who is there, and who sends too much."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from neighbourhood import START

from coordinator.peers import Presence, RateLimit


def test_a_peer_that_was_lost_comes_back_once_and_goes_once() -> None:
    presence = Presence(frozenset({"anna", "bert"}), absent_after_s=60)
    assert presence.heard("anna", 0.0, START) is False  # the first word is no return
    assert presence.is_online("anna")
    assert presence.heard("anna", 10.0, START) is False
    assert list(presence.online()) == ["anna"]
    assert presence.lost(70.0) == []
    assert presence.lost(70.1) == ["anna"]
    assert presence.lost(500.0) == []
    assert not presence.is_online("anna")
    assert presence.heard("anna", 501.0, START) is True
    assert presence.heard("anna", 502.0, START) is False
    assert presence.is_online("anna")


def test_several_that_fall_silent_are_told_in_order() -> None:
    presence = Presence(frozenset("abc"), absent_after_s=60)
    for home in "cab":
        presence.heard(home, 0.0, START)
    presence.heard("b", 50.0, START)
    assert presence.lost(61.0) == ["a", "c"]
    assert list(presence.online()) == ["b"]


def test_when_a_peer_was_last_heard_is_slot_time_for_people() -> None:
    presence = Presence(frozenset({"anna"}), absent_after_s=60)
    assert presence.last_heard_at("anna") is None
    presence.heard("anna", 5.0, START)
    presence.lost(1000.0)
    assert presence.last_heard_at("anna") == START


def test_the_home_itself_and_strangers_are_no_peers() -> None:
    presence = Presence(frozenset({"anna"}), absent_after_s=60)
    for _ in range(2):
        assert presence.heard("me", 0.0, START) is False
        assert not presence.is_online("me")
    assert presence.lost(1000.0) == []


def test_a_slots_worth_of_messages_may_come_at_once_and_no_more() -> None:
    limit = RateLimit(per_slot=10, slot_s=900)
    assert [limit.allow("anna", START) for _ in range(12)] == [True] * 10 + [False] * 2
    assert limit.allow("bert", START) is True


def test_the_bucket_fills_again_with_slot_time() -> None:
    limit = RateLimit(per_slot=10, slot_s=900)
    for _ in range(10):
        limit.allow("anna", START)
    assert limit.allow("anna", START + timedelta(seconds=89)) is False
    assert limit.allow("anna", START + timedelta(seconds=91)) is True
    later = START + timedelta(hours=5)
    assert [limit.allow("anna", later) for _ in range(11)] == [True] * 10 + [False]


@pytest.mark.parametrize("back_s", [1, 3600])
def test_a_clock_that_steps_back_gives_and_takes_nothing(back_s: int) -> None:
    limit = RateLimit(per_slot=2, slot_s=900)
    assert limit.allow("anna", START) is True
    assert limit.allow("anna", START - timedelta(seconds=back_s)) is True
    assert limit.allow("anna", START - timedelta(seconds=back_s)) is False


@given(st.lists(st.floats(0, 300), min_size=1, max_size=200))
def test_no_pattern_gets_more_than_a_burst_and_the_rate(gaps: list[float]) -> None:
    limit, now, allowed = RateLimit(per_slot=20, slot_s=900), START, 0
    for gap in gaps:
        now += timedelta(seconds=gap)
        allowed += limit.allow("anna", now)
    assert allowed <= 20 + (now - START).total_seconds() * 20 / 900 + 1e-6
