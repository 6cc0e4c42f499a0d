"""Only coordinator/clock.py reads a clock, so the same code runs at wall speed, at 360x and on a virtual clock."""

from pathlib import Path

import pytest
from clock_readers import clock_reads, naive_reads

ROOT = Path(__file__).parents[3]

ALLOWED = {"coordinator/clock.py": "it is the clock"}
"""The only files that may read a clock, each with its reason."""


def sources(*folders: str) -> dict[str, str]:
    return {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


def test_only_the_clock_module_reads_a_clock() -> None:
    reads = {
        f"{name}:{line}: {what}"
        for name, source in sources("agent", "coordinator").items()
        if name not in ALLOWED
        for line, what in clock_reads(source)
    }
    assert not reads, "take `now` as an argument or hold a coordinator.clock.Clock:\n" + "\n".join(sorted(reads))


def test_every_exception_to_the_rule_is_still_needed() -> None:
    found = sources("agent", "coordinator")
    assert [name for name in ALLOWED if not clock_reads(found.get(name, ""))] == []


def test_nothing_asks_for_the_present_without_a_zone() -> None:
    found = {
        f"{name}:{line}"
        for name, source in sources("agent", "coordinator", "tests").items()
        for line in naive_reads(source)
    }
    assert not found


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.time()",
        "import time as t\nt.monotonic_ns()",
        "from time import perf_counter",
        "from time import monotonic as tick\ntick()",
        "import datetime as dt\ndt.datetime.now(dt.UTC)",
        "from datetime import UTC, datetime\ndatetime.now(UTC)",
        "from datetime import date\ndate.today()",
        "import time\nrun(clock=time.monotonic)",
        "import asyncio\nasyncio.get_running_loop().time()",
        "async def f(loop):\n    return loop.time()",
        "class A:\n    def f(self):\n        return self._loop.time()",
    ],
)
def test_planted_clock_read_is_found(source: str) -> None:
    assert clock_reads(source)


@pytest.mark.parametrize(
    "source",
    [
        "def f(clock):\n    return clock.now(), clock.monotonic()",
        "from datetime import UTC, datetime\ndatetime.fromtimestamp(0, UTC)",
        "def f(local):\n    return local.time()",
        "import time\ntime.sleep(1)",
    ],
)
def test_code_that_is_handed_the_time_is_left_alone(source: str) -> None:
    assert not clock_reads(source)


@pytest.mark.parametrize(
    ("source", "naive"),
    [
        ("from datetime import datetime\ndatetime.now()", True),
        ("import datetime\ndatetime.datetime.utcnow()", True),
        ("from datetime import UTC, datetime\ndatetime.now(UTC)", False),
        ("from datetime import UTC, datetime\ndatetime.now(tz=UTC)", False),
    ],
)
def test_planted_zoneless_present_is_found(source: str, naive: bool) -> None:
    assert bool(naive_reads(source)) is naive
