"""A plant that outlives its process."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.simulator.home import SimulatedHome
from agent.simulator.plant import Plant
from agent.simulator.settings import BatterySettings, GeneratorSettings, HomeSettings
from coordinator.clock import ManualClock
from coordinator.errors import ConfigError

START = datetime(2025, 6, 10, 6, tzinfo=UTC)


def home(state_file: Path, at: datetime) -> SimulatedHome:
    settings = HomeSettings(
        state_file=state_file,
        plant=GeneratorSettings(pv_kwp=4.0),
        battery=BatterySettings(capacity_kwh=5, charge_kw=2, discharge_kw=2),
        battery_lag_s=0,
    )
    return SimulatedHome(settings, ManualClock(at))


def run_briefly(which: SimulatedHome) -> Plant:
    """Start and stop the home in its own loop, at one moment of its clock; return its plant."""

    async def session() -> None:
        await which.start()
        await which.stop()

    asyncio.run(session())
    return which.plant


def test_while_it_was_down_the_home_went_on_in_self_consumption(tmp_path: Path) -> None:
    path = tmp_path / "home.json"
    hours = [START + timedelta(hours=hour) for hour in (0, 1, 8)]
    run_briefly(home(path, hours[0]))
    run_briefly(home(path, hours[1]))
    interrupted = run_briefly(home(path, hours[2]))
    whole = run_briefly(home(tmp_path / "other.json", hours[0]))
    whole.advance(hours[2])
    assert whole.counters.export_wh > 318_200
    assert interrupted.counters.import_wh == pytest.approx(whole.counters.import_wh, abs=0.01)
    assert interrupted.counters.export_wh == pytest.approx(whole.counters.export_wh, abs=0.01)
    assert interrupted.stored_wh == pytest.approx(whole.stored_wh, abs=0.01)


def test_a_damaged_state_file_is_named_with_its_cure(tmp_path: Path) -> None:
    path = tmp_path / "home.json"
    for text in ('{"version": 1, "at":', "{}", '{"version": 2}', "[]"):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"home\.json: not the state of a simulated home: delete it"):
            run_briefly(home(path, START))


def test_the_state_of_a_later_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "home.json"
    run_briefly(home(path, START + timedelta(days=1)))
    with pytest.raises(ConfigError, match="belongs to another run"):
        run_briefly(home(path, START))


def test_a_folder_that_vanished_is_reported_once_and_the_home_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    which = home(tmp_path / "gone" / "home.json", START)
    run_briefly(which)
    run_briefly(which)
    assert [record.message for record in caplog.records if "cannot save" in record.message] == [
        f"home-1: cannot save the plant to {tmp_path / 'gone' / 'home.json'}: No such file or directory"
    ]
