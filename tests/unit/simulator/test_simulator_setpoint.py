"""Model 704's active power function and its reversion timer."""

from dataclasses import replace

from agent.simulator.setpoint import ActivePowerControl

RUNNING = ActivePowerControl(enabled=True, set_w=2000, revert_after_s=60, deadline_s=160.0)


def test_a_setpoint_acts_only_while_enabled() -> None:
    control = ActivePowerControl().written({"WSet": 1500}, 0.0)
    assert control.target_w is None
    assert control.written({"WSetEna": 1}, 0.0).target_w == 1500


def test_the_timer_runs_from_the_enabling_and_ends_in_self_consumption() -> None:
    control = ActivePowerControl().written({"WSetRvrtTms": 60, "WSet": -800}, 10.0)
    assert control.remaining_s(10.0) == 0
    control = control.written({"WSetEna": 1}, 20.0)
    assert control.remaining_s(20.0) == 60
    assert control.remaining_s(50.5) == 30
    assert not control.expired(79.9)
    assert control.expired(80.0)
    assert control.reverted().target_w is None
    assert control.reverted().revert_after_s == 60


def test_rewriting_setpoint_timer_or_enable_restarts_the_timer() -> None:
    for changes in ({"WSet": 2000}, {"WSetRvrtTms": 60}, {"WSetEna": 1}):
        assert RUNNING.written(changes, 130.0).remaining_s(130.0) == 60


def test_writing_anything_else_does_not_restart_the_timer() -> None:
    assert RUNNING.written({"WSetRvrt": 5, "WSetMod": 1}, 130.0).remaining_s(130.0) == 30


def test_a_timer_of_zero_means_no_reversion() -> None:
    control = RUNNING.written({"WSetRvrtTms": 0}, 130.0)
    assert not control.expired(1e9)
    assert control.target_w == 2000


def test_disabling_stops_setpoint_and_timer() -> None:
    control = RUNNING.written({"WSetEna": 0}, 130.0)
    assert control.target_w is None
    assert control.remaining_s(130.0) == 0
    assert not control.expired(1e9)


def test_an_enabled_reversion_setpoint_takes_over_and_stays() -> None:
    control = replace(RUNNING, revert_enabled=True, revert_w=300).reverted()
    assert control.target_w == 300
    assert not control.expired(1e9)
