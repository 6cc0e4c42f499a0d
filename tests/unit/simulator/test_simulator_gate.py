"""A simulated clock that waits until all are there: it loses no time of the run, and all who share it agree."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.simulator.settings import ClockSettings, GateSettings
from coordinator.clock import PACE_LOOK_S, Pace
from coordinator.toml_file import read_toml, toml_text

START = datetime(2026, 5, 4, 6, 0, tzinfo=UTC)
SPEED = 3600.0


def clock_settings(folder: Path, anchor_at: datetime, waiting_s: float = 300.0) -> ClockSettings:
    gate = GateSettings(file=folder / "let-go", wait_at=START + timedelta(seconds=waiting_s))
    return ClockSettings(start_at=START, anchor_at=anchor_at, speed=SPEED, gate=gate)


def let_go(settings: ClockSettings, wall_at: datetime) -> None:
    assert settings.gate is not None
    settings.gate.set_pace(Pace(wall_at=wall_at, at=settings.paced().at(wall_at), speed=SPEED))
    time.sleep(1.2 * PACE_LOOK_S)


def test_until_it_is_let_go_the_clock_runs_at_wall_speed(tmp_path: Path) -> None:
    clock = clock_settings(tmp_path, datetime.now(UTC) - timedelta(seconds=10)).clock()
    first = clock.now()
    time.sleep(0.2)
    assert 10 <= (first - START).total_seconds() < 12
    assert 0.1 < (clock.now() - first).total_seconds() < 2


def test_it_never_passes_the_gate_before_it_is_let_go_and_goes_on_from_there(tmp_path: Path) -> None:
    late = clock_settings(tmp_path, datetime.now(UTC) - timedelta(hours=2))
    clock = late.clock()
    assert late.gate is not None
    assert clock.now() == clock.now() == late.gate.wait_at
    let_go(late, datetime.now(UTC) - timedelta(seconds=1))
    passed_s = (clock.now() - late.gate.wait_at).total_seconds()
    assert SPEED <= passed_s < 5 * SPEED


def test_time_neither_jumps_nor_runs_back_when_it_is_let_go(tmp_path: Path) -> None:
    settings = clock_settings(tmp_path, datetime.now(UTC))
    clock = settings.clock()
    seen = [clock.now()]
    begun = time.monotonic()
    let_go(settings, datetime.now(UTC) + timedelta(seconds=0.2))
    while (passed_s := time.monotonic() - begun) < 0.5:
        seen.append(clock.now())
    assert seen == sorted(seen)
    assert SPEED * 0.1 <= (seen[-1] - START).total_seconds() <= SPEED * (passed_s + 0.1)


def test_who_looks_late_at_the_gate_shares_the_clock_all_the_same(tmp_path: Path) -> None:
    settings = clock_settings(tmp_path, datetime.now(UTC) - timedelta(seconds=5))
    early = settings.clock()
    early.now()
    let_go(settings, datetime.now(UTC) - timedelta(seconds=2))
    file = tmp_path / "clock.toml"
    file.write_text(toml_text(settings))
    late = read_toml(file, ClockSettings).clock()
    assert abs(early.now() - late.now()) < timedelta(seconds=0.5 * SPEED)
    assert early.speed == late.speed == SPEED


def test_a_gate_that_is_no_time_is_an_error_and_no_start(tmp_path: Path) -> None:
    settings = clock_settings(tmp_path, datetime.now(UTC))
    (tmp_path / "let-go").write_text("soon")
    with pytest.raises(ValueError, match="soon"):
        settings.clock().now()
