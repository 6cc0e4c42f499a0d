"""Copies of a message over several links, and what a filter lets through: pure parts of the transport."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from coordinator.mqtt_topics import check_filter, check_topic, covers, direct_topic, pub_topic
from coordinator.transport import Deduplicator, payload_id


def test_a_copy_on_another_link_is_not_new() -> None:
    deduplicator = Deduplicator()
    arrivals = [("a", 0.0), ("b", 0.1), ("c", 0.2)]
    assert [deduplicator.is_new("id", link, now) for link, now in arrivals] == [True, False, False]


def test_a_retry_on_the_same_link_is_new_and_its_copies_elsewhere_are_not() -> None:
    deduplicator = Deduplicator()
    arrivals = ["a", "b", "a", "b", "b", "a"]
    assert [deduplicator.is_new("id", link, 0.0) for link in arrivals] == [True, False, True, False, True, False]


def test_a_copy_that_one_link_lost_costs_nothing() -> None:
    deduplicator = Deduplicator()
    arrivals = ["a", "a", "b"]  # b lost the first
    assert [deduplicator.is_new("id", link, 0.0) for link in arrivals] == [True, True, False]


def test_a_copy_that_was_refused_does_not_keep_another_links_copy_away() -> None:
    deduplicator = Deduplicator()
    assert deduplicator.is_new("id", "evil", 0.0)
    deduplicator.forget("id", "evil")
    assert deduplicator.is_new("id", "good", 0.1)
    assert not deduplicator.is_new("id", "evil", 0.2)
    deduplicator.forget("never seen", "evil")


def test_ids_are_forgotten_after_their_time_and_above_the_capacity() -> None:
    deduplicator = Deduplicator(capacity=2, ttl_s=10.0)
    assert deduplicator.is_new("one", "a", 0.0)
    assert not deduplicator.is_new("one", "b", 9.9)
    assert deduplicator.is_new("one", "b", 10.0)
    assert deduplicator.is_new("two", "a", 10.0)
    assert deduplicator.is_new("three", "a", 10.0)
    assert len(deduplicator) == 2
    assert deduplicator.is_new("one", "a", 10.0)


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("abc"), st.floats(0, 3)), max_size=200))
def test_a_message_is_delivered_as_often_as_its_best_link_brought_it(arrivals: list[tuple[int, str, float]]) -> None:
    deduplicator = Deduplicator(capacity=100, ttl_s=10_000.0)
    now, brought, delivered = 0.0, {}, dict.fromkeys(range(6), 0)
    for number, link, step_s in arrivals:
        now += step_s
        brought[number, link] = brought.get((number, link), 0) + 1
        delivered[number] += deduplicator.is_new(number, link, now)
    for number, times in delivered.items():
        assert times == max((brought.get((number, link), 0) for link in "abc"), default=0)


def test_a_forged_copy_with_another_signature_has_another_id() -> None:
    assert payload_id(b'{"v":1}\nsignature') != payload_id(b'{"v":1}\nforged')


LEVEL = st.sampled_from(["a", "b", "", "$x"])
TOPIC = st.lists(LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)
FILTER = st.builds(
    lambda levels, tail: "/".join(levels + tail),
    st.lists(st.sampled_from(["a", "b", "", "+", "$x"]), min_size=1, max_size=3),
    st.sampled_from([[], ["#"]]),
) | st.just("#")


@given(FILTER, TOPIC)
def test_a_filter_covers_exactly_the_topics_that_mqtt_matches(topic_filter: str, topic: str) -> None:
    assert covers(topic_filter, topic) == topic_matches_sub(topic_filter, topic)


@given(FILTER, FILTER, TOPIC)
def test_what_a_covered_filter_matches_its_cover_matches_too(allowed: str, wanted: str, topic: str) -> None:
    if covers(allowed, wanted) and covers(wanted, topic):
        assert covers(allowed, topic)


@pytest.mark.parametrize(
    ("allowed", "wanted"),
    [("cw/1/c/h/pub", "cw/1/c/h/+"), ("cw/1/c/h/to/me", "cw/1/c/h/#"), ("a/+", "a/#"), ("a/+/c", "a/b/+"), ("a", "#")],
)
def test_a_wider_filter_is_not_covered(allowed: str, wanted: str) -> None:
    assert not covers(allowed, wanted)
    assert covers(wanted, wanted)


def test_endless_topics_of_others_match_nothing_and_are_not_remembered() -> None:
    tracemalloc.start()
    for number in range(100):
        assert not covers("#", f"{number}" + "x" * 60_000)
        assert not covers("cw/1/c/h/pub", f"{number}" + "/" * 60_000)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 500_000


def test_the_topics_of_the_neighbourhood_name_who_publishes() -> None:
    assert pub_topic("c0ffee", "home") == "cw/1/c0ffee/home/pub"
    assert direct_topic("c0ffee", "home", "peer") == "cw/1/c0ffee/home/to/peer"


@pytest.mark.parametrize("text", ["", "a/#/b", "a#", "a/+b", " a", "a\nuser owner", "a\x00", "x" * 513])
def test_a_malformed_filter_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"filter|topic"):
        check_filter(text)


@pytest.mark.parametrize("text", ["", "a/#", "+/a", "$SYS/x", "a\rb", "a "])
def test_a_malformed_topic_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="topic"):
        check_topic(text)
