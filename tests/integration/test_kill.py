"""A short `make kill-test`: guard and agent, real processes, each killed and frozen once, alone and together."""

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from kill_test import KINDS, figures, kill_test


@pytest.mark.timeout(400)
def test_s7_whoever_dies_the_battery_is_on_its_own_in_time_and_commanded_again_on_fresh_data(tmp_path: Path) -> None:
    found = asyncio.run(kill_test(tmp_path, moments=len(KINDS), homes=2, seed=7))
    assert len({moment.kind for moment in found}) == len(KINDS)
    assert [moment for moment in found if not moment.in_time] == []
    assert [moment for moment in found if not moment.fresh] == []
    assert figures(found)["released_in_time"] == len(KINDS)
