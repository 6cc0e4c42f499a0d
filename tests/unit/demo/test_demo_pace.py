"""A demo runs as fast as asked while the machine keeps up, slower while it does not, and recovers."""

from agent.demo.pace import BUSY_SHARE, CALM_SHARE, SLOWER, SLOWEST, WINDOW_S, Pacemaker

NAP_S = 0.02


def run(pacemaker: Pacemaker, busy: float, *, seconds: float) -> list[float]:
    """Let the loop be at work for this share of its time; return the speeds it was told."""
    late_s = NAP_S * busy / (1 - busy)
    told = (pacemaker.slept(NAP_S, late_s) for _ in range(round(seconds / (NAP_S + late_s))))
    return [speed for speed in told if speed is not None]


def test_a_machine_that_keeps_up_is_left_alone() -> None:
    assert run(Pacemaker(most=360), CALM_SHARE / 2, seconds=120) == []


def test_overload_slows_the_demo_step_by_step_down_to_a_floor() -> None:
    pacemaker = Pacemaker(most=400)
    speeds = run(pacemaker, BUSY_SHARE + 0.1, seconds=120)
    assert speeds == sorted(speeds, reverse=True)
    assert len(speeds) > 3
    assert speeds[0] == 400 * SLOWER
    assert pacemaker.speed == speeds[-1] == 400 * SLOWEST


def test_the_burst_at_a_slots_begin_is_no_overload() -> None:
    pacemaker = Pacemaker(most=400)
    for _ in range(10):
        assert pacemaker.slept(NAP_S, 0.4 * WINDOW_S) is None
        assert run(pacemaker, 0.05, seconds=WINDOW_S) == []


def test_a_machine_with_time_left_gets_back_to_the_speed_asked_for_and_never_past_it() -> None:
    pacemaker = Pacemaker(most=400)
    run(pacemaker, BUSY_SHARE + 0.1, seconds=10)
    assert pacemaker.speed < 400
    speeds = run(pacemaker, CALM_SHARE / 2, seconds=200)
    assert speeds == sorted(speeds)
    assert speeds[-1] == pacemaker.speed == 400


def test_a_machine_that_is_neither_calm_nor_overloaded_keeps_its_pace() -> None:
    pacemaker = Pacemaker(most=400)
    run(pacemaker, BUSY_SHARE + 0.1, seconds=2 * WINDOW_S)
    between = (BUSY_SHARE + CALM_SHARE) / 2
    run(pacemaker, between, seconds=2 * WINDOW_S)  # what is left of the overload's last window
    slowed = pacemaker.speed
    assert slowed < 400
    assert run(pacemaker, between, seconds=60) == []
    assert pacemaker.speed == slowed
