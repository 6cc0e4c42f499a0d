"""A demo runs as fast as asked while the machine keeps up, slower while it does not, and recovers."""

from agent.demo.pace import CALM_S, FASTER_AFTER_S, SLOWEST, STALL_S, Pacemaker


def run(pacemaker: Pacemaker, lateness_s: float, *, start_s: float, seconds: float) -> list[float]:
    """Let the loop be this late ten times a second; return the speeds it asked for."""
    asked = (pacemaker.late(lateness_s, start_s + n / 10) for n in range(round(10 * seconds)))
    return [speed for speed in asked if speed is not None]


def test_a_machine_that_keeps_up_is_left_alone() -> None:
    assert run(Pacemaker(most=360), 0.01, start_s=5, seconds=120) == []


def test_stalls_slow_the_demo_step_by_step_down_to_a_floor() -> None:
    pacemaker = Pacemaker(most=400)
    speeds = run(pacemaker, 2 * STALL_S, start_s=0, seconds=120)
    assert speeds == sorted(speeds, reverse=True)
    assert len(speeds) > 3
    assert pacemaker.speed == speeds[-1] == 400 * SLOWEST


def test_one_stall_is_answered_once_and_only_after_the_pace_had_its_time() -> None:
    pacemaker = Pacemaker(most=400)
    assert pacemaker.late(10.0, 0.0) is None
    assert pacemaker.late(10.0, 2.5) == 300
    assert pacemaker.late(10.0, 2.6) is None


def test_a_calm_machine_gets_back_to_the_speed_asked_for_and_never_past_it() -> None:
    pacemaker = Pacemaker(most=400)
    run(pacemaker, 2 * STALL_S, start_s=0, seconds=10)
    assert pacemaker.speed < 400
    speeds = run(pacemaker, CALM_S / 2, start_s=10, seconds=400)
    assert speeds == sorted(speeds)
    assert speeds[-1] == pacemaker.speed == 400


def test_a_machine_that_is_neither_calm_nor_stalled_keeps_its_pace() -> None:
    pacemaker = Pacemaker(most=400)
    run(pacemaker, 2 * STALL_S, start_s=0, seconds=4)
    slowed = pacemaker.speed
    assert slowed < 400
    assert run(pacemaker, (CALM_S + STALL_S) / 2, start_s=4, seconds=5 * FASTER_AFTER_S) == []
    assert pacemaker.speed == slowed
