"""What a home knows again after a restart."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.config import load_config
from agent.devices.energy import Counters, SlotEnergy
from agent.devices.reading import HomeReading
from agent.first_files import write_first_files
from agent.forecast.forecaster import Forecast
from agent.memory import HomeMemory
from coordinator.charter import Rules
from coordinator.slots import Slot

NOW = datetime(2026, 6, 1, 9, tzinfo=UTC)


def test_what_was_moved_for_neighbours_on_a_day_is_known_after_a_restart(tmp_path: Path) -> None:
    files = write_first_files(tmp_path, name="home-1", timezone="UTC", currency="EUR")
    config = load_config(files)
    config.home.data_dir.mkdir(exist_ok=True)
    memory = HomeMemory(config, Rules(), NOW)
    assert memory.worn() == (None, 0.0)
    memory.worn_is(None, 5.0)
    assert memory.worn() == (None, 0.0)
    memory.worn_is(date(2026, 6, 1), 120.5)
    memory.close()
    again = HomeMemory(config, Rules(), NOW)
    assert again.worn() == (date(2026, 6, 1), 120.5)
    again.close()


def test_a_home_fresh_from_init_sells_nothing_from_its_battery(tmp_path: Path) -> None:
    """Its settings name a battery, and control is off."""
    config = load_config(write_first_files(tmp_path, name="home-1", timezone="UTC", currency="EUR"))
    config.home.data_dir.mkdir(exist_ok=True)
    memory = HomeMemory(config, Rules(), NOW)
    home = memory.open_home(lambda change, slot: None)
    slot = Slot.at(NOW.replace(hour=20), 900)  # after sunset
    reading = HomeReading(
        at=slot.start_at, monotonic_s=0.0, grid_w=0.0, pv_w=0.0, battery_w=0.0, load_w=0.0, soc_pct=90.0,
        import_wh=0.0, export_wh=0.0, quality="valid", missing=(),
    )  # fmt: skip
    home.observe(reading)
    preparation = home.prepare(slot, slot.start_at)
    assert preparation is not None
    assert preparation.bidder.bid([600_000] * 96, [-500.0] * 96)[:4] == [0] * 4
    memory.close()


class _Target:
    """What `HomeMemory.planned` reads of a slot's target."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.plan = self
        self.schedule = self
        self.battery_w = self.trade_w = np.zeros(96)


def test_yesterdays_accuracy_is_that_of_the_forecast_issued_at_its_local_midnight(tmp_path: Path) -> None:
    config = load_config(write_first_files(tmp_path, name="home-1", timezone="Europe/Berlin", currency="EUR"))
    config.home.data_dir.mkdir(exist_ok=True)
    memory = HomeMemory(config, Rules(), NOW)
    midnight = datetime(2026, 5, 30, 22, tzinfo=UTC)
    for n in range(-96, 96):
        slot = Slot.at(midnight + n * timedelta(minutes=15), 900)
        load_wh = 100.0 if n >= 0 else 130.0
        memory.slot_done(
            SlotEnergy(
                slot=slot, import_wh=0, export_wh=0, load_wh=load_wh, pv_wh=0.0, battery_wh=0.0, soc_pct=None,
                estimated=False,
            )
        )  # fmt: skip
    for hour, median_w in ((0, 380.0), (6, 9000.0)):
        first = Slot.at(midnight + timedelta(hours=hour), 900)
        band_w = np.tile([300.0, median_w, 500.0], (96, 1))
        forecast = Forecast(
            first=first, load_w=band_w[:, 1], pv_w=np.zeros(96), load_band_w=band_w, pv_band_w=np.zeros((96, 3)),
            load_source="model", pv_source="model",
        )  # fmt: skip
        target: Any = _Target(first)
        memory.planned(target, forecast)
    found = memory.yesterday(Slot.at(NOW, 900))
    assert found is not None
    assert (found.mean_w, found.mae_w, found.mae_day_w, found.inside_pct) == pytest.approx((400, 20, 120, 100))
    assert memory.yesterday(Slot.at(NOW + timedelta(days=1), 900)) is None
    memory.close()


def test_where_the_counters_stood_when_the_running_slot_began_is_known_after_a_restart(tmp_path: Path) -> None:
    config = load_config(write_first_files(tmp_path, name="home-1", timezone="UTC", currency="EUR"))
    config.home.data_dir.mkdir(exist_ok=True)
    memory = HomeMemory(config, Rules(), NOW)
    assert memory.counters() is None
    stood = Counters(at=NOW, import_wh=123_456.25, export_wh=7.5)
    memory.save_counters(stood)
    memory.close()
    again = HomeMemory(config, Rules(), NOW)
    assert again.counters() == stood
    again.close()
