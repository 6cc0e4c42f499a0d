"""The simulator's file."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.simulator.settings import (
    ClockSettings,
    GateSettings,
    GeneratorSettings,
    HomeSettings,
    SimulatorSettings,
    default_settings,
)
from coordinator.clock import Pace
from coordinator.errors import ConfigError
from coordinator.toml_file import read_toml, toml_text

AT = datetime(2025, 6, 1, 7, tzinfo=UTC)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "simulator.toml"
    path.write_text(text)
    return path


def test_settings_written_as_toml_read_back_the_same(tmp_path: Path) -> None:
    trace = {"kind": "trace", "file": str(tmp_path / 'a "b".csv'), "slot_minutes": 60}
    settings = SimulatorSettings(
        clock=ClockSettings(start_at=AT, anchor_at=AT + timedelta(microseconds=250), speed=360),
        homes=(*default_settings().homes, HomeSettings.model_validate({"name": "zwei", "plant": trace})),
    )
    assert read_toml(written(tmp_path, toml_text(settings)), SimulatorSettings) == settings


def test_the_default_is_a_home_with_sun_and_battery_in_real_time() -> None:
    settings = default_settings()
    assert settings.homes[0].battery is not None
    assert settings.homes[0].plant.profile().pv_peak_w > 0
    assert settings.make_clock().speed == 1


def test_the_file_gives_the_clock_that_others_share(tmp_path: Path) -> None:
    clock_text = "[clock]\nstart_at = 2025-06-01T07:00:00Z\nanchor_at = 2025-01-01T00:00:00Z\nspeed = 360\n"
    clock = read_toml(written(tmp_path, clock_text + '[[homes]]\nname = "a"\n'), SimulatorSettings).make_clock()
    assert clock.speed == 360
    assert clock.now() > AT


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "homes: missing"),
        ("homes = []", "homes: "),
        (
            '[[homes]]\nname = "a"\ninvertor_port = 5020',
            "homes.0.invertor_port: unknown key, did you mean inverter_port",
        ),
        ('[[homes]]\nname = "a"\n[homes.plant]\nkind = "magic"', "homes.0.plant: .*magic.*generator.*trace"),
        ('[[homes]]\nname = "a"\n[homes.plant]\nkind = "generator"\npv_kwpp = 5', "did you mean pv_kwp"),
        ('[[homes]]\nname = "a"\n[homes.battery]\ncapacity_kwh = 0', "battery.capacity_kwh: .*greater than 0"),
        ('[[homes]]\nname = "a"\nmeter_port = 5020\ninverter_port = 5020', "share port 5020 and unit 1"),
        ('[[homes]]\nname = "a"\n[[homes]]\nname = "a"', "two homes are called a"),
        ('[[homes]]\nname="a"\nstate_file="s"\n[[homes]]\nname="b"\nstate_file="s"', "state in the same file"),
        (
            '[clock]\nstart_at = 2025-06-01T07:00:00\nanchor_at = 2025-01-01T00:00:00Z\nspeed = 1\n[[homes]]\nname="a"',
            "clock.start_at: .*timezone",
        ),
    ],
)
def test_a_wrong_file_names_key_cause_and_cure(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_toml(written(tmp_path, text), SimulatorSettings)


def test_equal_seeds_in_the_file_mean_equal_homes() -> None:
    first, second = (GeneratorSettings(seed=4).profile() for _ in range(2))
    assert first.load_w(AT) == second.load_w(AT)


def test_processes_share_the_pace_that_the_gate_was_last_given(tmp_path: Path) -> None:
    gate = GateSettings(file=tmp_path / "gate", wait_at=AT + timedelta(minutes=5))
    assert gate.paces() == []
    paces = [
        Pace(wall_at=AT + timedelta(seconds=10 * n), at=AT + timedelta(hours=n), speed=speed)
        for n, speed in enumerate((360.0, 270.0, 202.5))
    ]
    gate.set_pace(paces[0])
    assert gate.paces() == paces[:1]
    for pace in paces[1:]:
        gate.set_pace(pace)
    assert gate.paces() == paces[1:]
