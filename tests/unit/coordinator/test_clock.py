"""Clocks that homes share, and that tests move."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from coordinator.clock import PACE_LOOK_S, ManualClock, Pace, PacedClock, ScaledClock, WallClock, unix_ms
from coordinator.errors import LocalProtocolError

START = datetime(2026, 6, 1, 9, 0, tzinfo=UTC)


def test_processes_with_the_same_three_values_share_the_clock() -> None:
    anchor = datetime.now(UTC) - timedelta(seconds=10)
    one, other = (ScaledClock(START, anchor, 360) for _ in range(2))
    before = one.now()
    between = other.now()
    after = one.now()
    assert before <= between <= after
    assert before - START >= timedelta(hours=1)


def test_a_scaled_clock_runs_as_many_times_as_fast_as_it_says() -> None:
    clock = ScaledClock(START, datetime.now(UTC), 3600)
    wall, simulated = time.monotonic(), clock.now()
    time.sleep(0.05)
    simulated_s, wall_s = (clock.now() - simulated).total_seconds(), time.monotonic() - wall
    assert simulated_s / 3600 == pytest.approx(wall_s, abs=0.02)


def test_sleeping_on_a_scaled_clock_ends_when_its_hour_is_over() -> None:
    clock = ScaledClock(START, datetime.now(UTC), 36_000)
    wall = time.monotonic()
    asyncio.run(clock.sleep_until(clock.now() + timedelta(hours=1)))
    assert clock.now() >= START + timedelta(hours=1)
    assert 0.09 < time.monotonic() - wall < 5


def test_device_timers_run_at_wall_speed_on_every_real_clock() -> None:
    fast = ScaledClock(START, datetime.now(UTC), 3600)
    assert fast.monotonic() == pytest.approx(time.monotonic(), abs=0.5)
    assert WallClock().monotonic() == pytest.approx(time.monotonic(), abs=0.5)
    assert WallClock.speed == 1.0


def test_the_wall_clock_sleeps_no_longer_than_asked() -> None:
    clock = WallClock()
    wake_at = clock.now() + timedelta(seconds=0.05)
    asyncio.run(clock.sleep_until(wake_at))
    assert wake_at <= clock.now() < wake_at + timedelta(seconds=5)
    assert clock.now().tzinfo is UTC


@pytest.mark.parametrize("speed", [0.0, -1.0])
def test_a_clock_that_stands_still_or_runs_backwards_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        ScaledClock(START, START, speed)


def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(START)
    assert clock.now() == clock.now() == START
    assert clock.advance(timedelta(minutes=1)) == clock.now() == START + timedelta(minutes=1)
    assert clock.monotonic() == 60.0


def test_sleepers_on_a_manual_clock_wake_when_it_was_moved_past_them() -> None:
    async def sleep_and_move() -> list[str]:
        clock, order = ManualClock(START), []

        async def sleeper() -> None:
            await clock.sleep_until(START + timedelta(seconds=10))
            order.append("awake")

        task = asyncio.create_task(sleeper())
        await asyncio.sleep(0)
        clock.advance(timedelta(seconds=9))
        for _ in range(5):
            await asyncio.sleep(0)
        order.append("nine seconds")
        clock.advance(timedelta(seconds=1))
        await task
        return order

    assert asyncio.run(sleep_and_move()) == ["nine seconds", "awake"]


def test_times_without_a_zone_never_get_into_a_clock_or_a_message() -> None:
    naive = datetime(2026, 6, 1)  # noqa: DTZ001
    for refused in (lambda: ManualClock(naive), lambda: ScaledClock(naive, START, 1), lambda: unix_ms(naive)):
        with pytest.raises(LocalProtocolError):
            refused()
    assert unix_ms(datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)) == 1500


def paced_clock(anchor: datetime, paces: list[Pace]) -> PacedClock:
    return PacedClock(START, anchor, 360, wait_at=START + timedelta(minutes=5), ask=lambda: paces)


def test_a_paced_clock_runs_at_wall_speed_until_it_waits_and_goes_on_from_there() -> None:
    anchor = datetime.now(UTC)
    paces: list[Pace] = []
    clock = paced_clock(anchor, paces)
    assert clock.at(anchor + timedelta(seconds=30)) == START + timedelta(seconds=30)
    assert clock.at(anchor + timedelta(hours=1)) == START + timedelta(minutes=5)
    assert clock.speed == 360
    go_at = anchor + timedelta(seconds=600)
    time.sleep(1.5 * PACE_LOOK_S)
    paces.append(Pace(wall_at=go_at, at=clock.at(go_at), speed=360))
    assert clock.at(go_at + timedelta(seconds=1)) == START + timedelta(minutes=5, seconds=360)


def test_a_change_of_pace_neither_jumps_nor_is_felt_before_its_time() -> None:
    anchor = datetime.now(UTC)
    first = Pace(wall_at=anchor, at=START, speed=360)
    known = paced_clock(anchor, [first])
    change_at = anchor + timedelta(seconds=100)
    slower = Pace(wall_at=change_at, at=known.at(change_at), speed=90)
    clock = paced_clock(anchor, [first, slower])
    just_before = change_at - timedelta(seconds=1)
    assert clock.at(just_before) == known.at(just_before)
    assert clock.at(change_at) == known.at(change_at)
    assert clock.at(change_at + timedelta(seconds=10)) == clock.at(change_at) + timedelta(seconds=900)


def test_sleeping_on_a_paced_clock_ends_in_time_though_the_pace_was_not_what_was_expected() -> None:
    now = datetime.now(UTC)
    clock = paced_clock(now, [Pace(wall_at=now, at=START, speed=1.0)])
    wake_at = clock.now() + timedelta(seconds=0.2)
    asyncio.run(clock.sleep_until(wake_at))
    assert wake_at <= clock.now() < wake_at + timedelta(seconds=5)
