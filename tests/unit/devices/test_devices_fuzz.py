"""A short run of `make fuzz`: broken answers through the whole reading path end in nothing but what is expected."""

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from broken_frames import BREAKS
from fuzz_count import Count
from fuzz_frames import fuzz

FRAMES = 20_000


@pytest.fixture(scope="module")
def count() -> Count:
    return asyncio.run(fuzz(FRAMES, seed=20_260_612))


@pytest.mark.timeout(300)
def test_broken_frames_raise_nothing_but_device_errors(count: Count) -> None:
    assert count.unexpected == {}
    assert count.frames == FRAMES == count.dropped + count.refused + count.decoded


@pytest.mark.timeout(300)
def test_no_command_made_of_a_broken_frame_leaves_the_owner_s_limits(count: Count) -> None:
    assert count.commands > FRAMES / 50, "wrong values did reach the guard's mind"
    assert count.outside == 0


@pytest.mark.timeout(300)
def test_most_values_that_broken_frames_bring_are_seen_to_be_wrong(count: Count) -> None:
    assert count.wrong > FRAMES / 10
    assert (count.absent + count.doubtful) / count.wrong > 0.5


def test_frames_are_broken_in_many_ways() -> None:
    assert len({how.__name__ for how in BREAKS}) == 12
