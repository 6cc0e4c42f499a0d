"""What one poll alone cannot tell: jumps, contradictions, repetition, counters, nights. Without a network."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.devices.balance import DevicePart, combine
from agent.devices.counter import NEW_EPOCH_AFTER, SteadyCounter
from agent.devices.errors import BadAnswerError, LinkDownError, NoAnswerError
from agent.devices.judge import Judge
from agent.devices.layout import derive
from agent.devices.night import LONGEST_NIGHT_S, Night
from agent.devices.reading import DeviceSample
from agent.devices.schema import Profile

START = datetime(2024, 6, 12, 10, tzinfo=UTC)


def profile(points: Mapping[str, Mapping[str, Any]], **more: Any) -> Profile:
    """Return a profile with these points side by side in one block."""
    placed = {
        name: {"block": "b", "addr": 2 * at, "type": "i32", **spec} for at, (name, spec) in enumerate(points.items())
    }
    block = {"fc": 3, "addr": 0, "count": 2 * len(points)}
    data = {"schema": 1, "profile": "p", "title": "T", "kind": "meter", "evidence": "desk", "sources": ["s"]}
    return Profile.model_validate(
        data | {"limits": {"functions": [3]}, "blocks": {"b": block}, "points": placed} | more
    )


def judge_all(judge: Judge, *polls: Mapping[str, float | None]) -> list[dict[str, str]]:
    return [judge.judge(START + timedelta(seconds=at), float(at), values, live=at) for at, values in enumerate(polls)]


def test_a_jump_is_doubtful_until_a_second_poll_confirms_it() -> None:
    judge = Judge(profile({"grid_w": {"unit": "W", "sign": "import", "max_step": 1000}}))
    jumps = [{"grid_w": power} for power in (100.0, 900.0, 5000.0, 900.0, 5000.0, 5200.0, 5000.0, None, 5000.0)]
    doubts = ["grid_w" in found for found in judge_all(judge, *jumps)]
    assert doubts == [False, False, True, False, True, False, False, False, False]


def test_two_ways_to_one_figure_must_agree_within_both_limits() -> None:
    check = {"sum": ["a_w", "b_w"], "equals": "grid_w", "within": {"abs": 50, "rel": 0.02}}
    points = {name: {"unit": "W", "sign": "import"} for name in ("a_w", "b_w", "grid_w")}
    judge = Judge(profile(points, checks=[check]))
    agree, far, unknown = (
        {"a_w": 5000.0, "b_w": 5000.0, "grid_w": 10_150.0},
        {"a_w": 500.0, "b_w": 500.0, "grid_w": 1100.0},
        {"a_w": None, "b_w": 500.0, "grid_w": 9000.0},
    )
    found = judge_all(judge, agree, far, unknown)
    assert found == [{}, {"grid_w": "it shows 1100 where a_w and b_w make 1000"}, {}]


def test_a_product_is_checked_likewise() -> None:
    check = {"product": ["voltage_v", "current_a"], "equals": "grid_w", "within": {"abs": 100}}
    points = {"voltage_v": {"unit": "V"}, "current_a": {"unit": "A"}, "grid_w": {"unit": "W", "sign": "import"}}
    judge = Judge(profile(points, checks=[check]))
    (found,) = judge_all(judge, {"voltage_v": 230.0, "current_a": 10.0, "grid_w": 500.0})
    assert "make 2300" in found["grid_w"]


def test_what_is_made_of_doubtful_parts_is_doubtful() -> None:
    points = {name: {"unit": "W", "sign": "production", "max_step": 100} for name in ("ac_w", "dc_w")}
    judge = Judge(profile(points, derived={"pv_w": {"sum": ["+ac_w", "-dc_w"]}}))
    calm, jump = {"ac_w": 0.0, "dc_w": 0.0}, {"ac_w": 500.0, "dc_w": 0.0}
    assert set(judge_all(judge, calm, jump)[1]) == {"ac_w", "pv_w"}


def test_a_device_that_repeats_all_its_registers_is_frozen_and_one_that_changes_any_is_not() -> None:
    judge = Judge(profile({"grid_w": {"unit": "W", "sign": "import"}}, frozen_after_s=60))

    def look(at_s: float, live: int) -> dict[str, str]:
        return judge.judge(START, at_s, {"grid_w": 0.0}, live)

    assert look(0, 1) == look(59, 1) == {}
    assert look(60, 1) == {"grid_w": "nothing has changed for 1 min"}
    assert look(61, 2) == {}


def part(values: Mapping[str, float | None], doubtful: Mapping[str, str] | None = None, age_s: float = 0) -> DevicePart:
    sample = DeviceSample(name="d", at=START, monotonic_s=100 - age_s, values=values, doubtful=doubtful or {})
    return DevicePart(name="d", provides=frozenset(values), sample=sample)


@pytest.mark.parametrize(
    ("devices", "quality"),
    [
        ([part({"grid_w": 1.0})], "valid"),
        ([part({"grid_w": 1.0}, {"grid_w": "why"})], "doubtful"),
        ([part({"grid_w": 1.0}, {"grid_w": "why"}, age_s=9)], "stale"),
        ([part({"grid_w": 1.0}, {"grid_w": "why"}), part({"pv_w": None})], "absent"),
        ([part({"grid_w": 1.0, "import_wh": 5.0}, {"import_wh": "held"})], "valid"),
        ([part({"grid_w": 1.0}), part({"pv_w": 3.0}, {"pv_w": "why"})], "doubtful"),
    ],
)
def test_the_worst_quality_of_what_drives_a_plan_is_the_home_s(devices: list[DevicePart], quality: str) -> None:
    reading = combine(devices, now=START, monotonic_s=100, stale_after_s=5)
    assert reading.quality == quality
    assert ("load_w" in reading.missing) is (quality != "valid")


def test_a_held_counter_is_named_as_missing_so_that_its_slot_is_an_estimate() -> None:
    devices = [part({"grid_w": 1.0, "import_wh": 5.0, "export_wh": 6.0}, {"import_wh": "held"})]
    assert combine(devices, now=START, monotonic_s=100, stale_after_s=5).missing == ("import_wh",)


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=60), st.integers(0, 2**32 - 1))
def test_a_register_that_rolls_over_loses_no_energy(steps: list[int], start: int) -> None:
    counter = SteadyCounter(1e7, wraps_at_wh=2.0**32)
    first, _ = counter.add(START, float(start))
    total = start
    for index, step in enumerate(steps, start=1):
        total += step
        value, held = counter.add(START + timedelta(seconds=10 * index), float(total % 2**32))
        assert not held
    assert value - first == total - start


@given(st.lists(st.integers(0, 10_000_000), min_size=1, max_size=60))
def test_energy_never_runs_backwards_whatever_a_register_shows(raws: list[int]) -> None:
    counter = SteadyCounter(20_000)
    seen = [counter.add(START + timedelta(seconds=5 * index), float(raw))[0] for index, raw in enumerate(raws)]
    assert seen == sorted(seen)


def test_a_counter_that_resets_at_each_boot_is_believed_at_once_and_others_after_some_polls() -> None:
    for resets, polls in ((True, 1), (False, NEW_EPOCH_AFTER)):
        counter = SteadyCounter(20_000, resets=resets)
        counter.add(START, 50_000.0)
        held = [counter.add(START + timedelta(seconds=5 * i), 10.0 * i)[0] for i in range(1, polls + 2)]
        assert held[polls - 1] == 50_000
        assert held[polls] == 50_010


SLEEPER = profile(
    {"pv_w": {"unit": "W", "sign": "production"}},
    asleep={"looks": ["refuses", "silent"], "below_w": 50, "zero": ["pv_w"]},
)


def test_only_a_device_that_faded_out_sleeps_and_no_longer_than_a_night() -> None:
    night = Night(SLEEPER)
    assert not night.failed(0, LinkDownError("x")), "nobody knows how it was before"
    assert not night.seen(10, {"pv_w": 3000.0})
    assert not night.failed(20, LinkDownError("x"))
    assert not night.seen(30, {"pv_w": 20.0})
    assert night.failed(40, LinkDownError("x"))
    assert night.failed(40, NoAnswerError("x"))
    assert not night.failed(40, BadAnswerError("x")), "that is no way to sleep"
    assert not night.failed(31 + LONGEST_NIGHT_S, LinkDownError("x"))
    assert not night.seen(50, {"pv_w": None}), "this profile does not sleep by showing nothing"
    assert night.zeros() == {"pv_w": 0.0}


def test_a_device_without_a_night_never_sleeps() -> None:
    night = Night(profile({"pv_w": {"unit": "W", "sign": "production"}}))
    assert not night.seen(0, {"pv_w": 0.0})
    assert not night.failed(1, LinkDownError("x"))


def test_inputs_that_nothing_is_connected_to_may_be_left_out_of_a_sum_but_not_all_of_them() -> None:
    points = {f"pv{n}_w": {"unit": "W", "sign": "production"} for n in (1, 2)}
    terms = ["+pv1_w", "+pv2_w"]
    lenient = profile(points, derived={"pv_w": {"sum": terms, "least": 1}})
    strict = profile(points, derived={"pv_w": {"sum": terms}})
    one, none = {"pv1_w": 900.0, "pv2_w": None}, {"pv1_w": None, "pv2_w": None}
    assert (derive(lenient, one), derive(lenient, none)) == ({"pv_w": 900.0}, {"pv_w": None})
    assert derive(strict, one) == {"pv_w": None}
