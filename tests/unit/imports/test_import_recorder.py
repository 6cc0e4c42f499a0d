"""Home Assistant's recorder database becomes a community folder with the same energies."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from import_sources import HOUR_S, NEW, START_AT, counter, finding, kinds, load_w, report, run, sun_w, write_recorder

from agent.simulator.community import load_community
from coordinator.errors import ConfigError

HOURS = 24 * 10
IMPORT, EXPORT, SUN = "sensor.grid_import", "sensor.grid_export", "sensor.solar_energy"
CHARGED, DISCHARGED = "sensor.battery_charged", "sensor.battery_discharged"
FLOWS = ("--grid-import", IMPORT, "--grid-export", EXPORT, "--pv", SUN)


def flows() -> dict[str, list[float]]:
    """Return ten days of a home in kWh an hour; the battery moves a part of the sun into the evening."""
    load = [load_w(hour % 24) / 1000 for hour in range(HOURS)]
    sun = [sun_w(hour % 24) / 1000 for hour in range(HOURS)]
    charged = [0.8 if 9 <= hour % 24 < 12 else 0.0 for hour in range(HOURS)]
    discharged = [0.7 if 18 <= hour % 24 < 21 else 0.0 for hour in range(HOURS)]
    net = [a - b + c - d for a, b, c, d in zip(load, sun, charged, discharged, strict=True)]
    return {
        "load": load,
        SUN: sun,
        CHARGED: charged,
        DISCHARGED: discharged,
        IMPORT: [max(0.0, each) for each in net],
        EXPORT: [max(0.0, -each) for each in net],
    }


@pytest.fixture
def recorder(tmp_path: Path) -> Path:
    return write_recorder(
        tmp_path / "home-assistant_v2.db",
        {(name, "kWh"): counter(amounts, first=1234.5) for name, amounts in flows().items() if name != "load"},
    )


def test_a_recorder_becomes_a_folder_that_loads_and_whose_energy_is_the_sources_to_a_wh(
    recorder: Path, tmp_path: Path
) -> None:
    battery = ("--battery-charge", CHARGED, "--battery-discharge", DISCHARGED)
    found = report(recorder, tmp_path / "elm", *FLOWS, *battery, "--battery-kwh", 6, "--pv-kwp", 4.5, *NEW)
    assert found["energy_wh"]["load"] == pytest.approx(1000 * sum(flows()["load"]), abs=1)
    assert found["energy_wh"]["pv"] == pytest.approx(1000 * sum(flows()[SUN]), abs=1)
    community = load_community(tmp_path / "elm")
    (home,) = community.homes
    assert (community.start_at, community.slots, community.slot_s) == (START_AT, HOURS, HOUR_S)
    assert home.load_w.sum() == pytest.approx(1000 * sum(flows()["load"]), abs=1)
    np.testing.assert_allclose(home.load_w, [1000 * kwh for kwh in flows()["load"]], atol=0.01)
    np.testing.assert_allclose(home.pv_w, [1000 * kwh for kwh in flows()[SUN]], atol=0.01)
    assert home.battery is not None
    assert (home.battery.capacity_kwh, home.battery.charge_kw, home.pv_kwp) == (6.0, 3.0, 4.5)
    assert kinds(found) == set()


def test_finer_slots_share_an_hour_evenly_and_say_so(recorder: Path, tmp_path: Path) -> None:
    found = report(recorder, tmp_path / "elm", *FLOWS, "--slot-minutes", 15, *NEW)
    home = load_community(tmp_path / "elm").homes[0]
    assert home.pv_w.size == 4 * HOURS
    assert home.pv_w.sum() / 4 == pytest.approx(1000 * sum(flows()[SUN]), abs=1)
    assert (home.pv_w.reshape(-1, 4) == home.pv_w[::4, None]).all()
    assert "share it evenly" in finding(found, "spread")["text"]


def test_the_last_days_come_in_five_minutes_where_the_recorder_still_has_them(tmp_path: Path) -> None:
    # a day of hours; its last four hours also in five minutes, in which all flows in the first quarter of each hour
    fine = [0.4 if minute % 60 < 15 else 0.0 for minute in range(0, 240, 5)]
    hours = [1.0] * 20 + [1.2] * 4
    begin = START_AT.timestamp() + 20 * HOUR_S
    total = [20 + sum(fine[: n + 1]) for n in range(len(fine))]
    short = [(begin + 300 * n, None, each, each) for n, each in enumerate(total)]
    path = write_recorder(tmp_path / "ha.db", {(IMPORT, "kWh"): counter(hours)}, {(IMPORT, "kWh"): short})
    report(path, tmp_path / "elm", "--grid-import", IMPORT, "--slot-minutes", 15, *NEW)
    found_w = load_community(tmp_path / "elm").homes[0].load_w
    np.testing.assert_allclose(found_w[:80], 1000, atol=0.01)
    np.testing.assert_allclose(found_w[80:], [4800, 0, 0, 0] * 4, atol=0.01)


def test_a_lost_hour_is_shared_and_a_lost_day_is_missing_with_its_energy_told(tmp_path: Path) -> None:
    rows = counter([0.5] * 96)
    kept = [row for n, row in enumerate(rows) if n != 10 and not 30 <= n < 54]
    path = write_recorder(tmp_path / "ha.db", {(IMPORT, "kWh"): kept})
    found = report(path, tmp_path / "elm", "--grid-import", IMPORT, *NEW)
    assert found["missing_slots"]["load"] == 25
    (column,) = found["columns"]
    assert column["energy_wh"] + column["in_pauses_wh"] == pytest.approx(96 * 500, abs=1)
    assert "12.5 kWh flowed in pauses" in finding(found, "pause")["text"]
    assert "1 gap, the longest of 25 h from 2025-06-02 05:00 UTC" in finding(found, "missing_load")["text"]
    assert load_community(tmp_path / "elm").homes[0].load_w[9:11].tolist() == [500, 500]


def test_a_counters_reset_is_told_and_costs_no_energy(tmp_path: Path) -> None:
    rows = counter([0.5] * 48, first=900)
    # the recorder's sum goes on where the meter's own reading begins anew
    reset = [(at, mean, state if n < 24 else (n - 24) * 0.5, total) for n, (at, mean, state, total) in enumerate(rows)]
    path = write_recorder(tmp_path / "ha.db", {(IMPORT, "kWh"): reset})
    found = report(path, tmp_path / "elm", "--grid-import", IMPORT, *NEW)
    assert found["energy_wh"]["load"] == pytest.approx(24_000, abs=1)
    assert "began anew once" in finding(found, "counter_reset")["text"]


def test_two_tariff_counters_add_up_and_units_are_those_of_the_recorder(tmp_path: Path) -> None:
    day, night = (
        [0.5 if 7 <= h % 24 < 21 else 0.0 for h in range(48)],
        [300 if h % 24 < 7 or h % 24 >= 21 else 0 for h in range(48)],
    )
    path = write_recorder(
        tmp_path / "ha.db", {("sensor.import_t1", "kWh"): counter(day), ("sensor.import_t2", "Wh"): counter(night)}
    )
    found = report(
        path, tmp_path / "elm", "--grid-import", "sensor.import_t1", "--grid-import", "sensor.import_t2", *NEW
    )
    assert found["energy_wh"]["load"] == pytest.approx(1000 * sum(day) + sum(night), abs=1)
    assert found["missing_slots"]["load"] == 0


def test_mean_power_is_energy_and_a_meter_that_counts_export_as_positive_is_inverted(tmp_path: Path) -> None:
    at = START_AT.timestamp()
    grid_kw = [(at + h * HOUR_S, -(load_w(h % 24) - sun_w(h % 24)) / 1000, None, None) for h in range(48)]
    sun = [(at + h * HOUR_S, sun_w(h % 24), None, None) for h in range(48)]
    path = write_recorder(tmp_path / "ha.db", {("sensor.meter", "kW"): grid_kw, ("sensor.roof", "W"): sun})
    report(path, tmp_path / "elm", "--grid", "sensor.meter=kW,inverted", "--pv", "sensor.roof", *NEW)
    home = load_community(tmp_path / "elm").homes[0]
    np.testing.assert_allclose(home.load_w, [load_w(h % 24) for h in range(48)], atol=0.01)


def test_times_of_an_older_recorder_are_read_too(tmp_path: Path) -> None:
    path = write_recorder(tmp_path / "ha.db", {(IMPORT, "kWh"): counter([0.5] * 48)}, old=True)
    found = report(path, tmp_path / "elm", "--grid-import", IMPORT, *NEW)
    assert found["from"] == START_AT.isoformat()
    assert found["energy_wh"]["load"] == pytest.approx(24_000, abs=1)


def test_only_power_and_energy_are_offered_with_what_they_seem_to_be(recorder: Path) -> None:
    with closing(sqlite3.connect(recorder)) as db:
        db.execute("INSERT INTO statistics_meta VALUES (99,'sensor.outside','recorder','°C',1,0,NULL,1)")
        db.commit()
    shown = run(recorder, "--list")
    assert "sensor.outside" not in shown
    for name, role in ((IMPORT, "grid import"), (EXPORT, "grid export"), (SUN, "pv"), (CHARGED, "battery charge")):
        line = next(line for line in shown.splitlines() if name in line)
        assert role in line


def test_the_recorder_is_not_touched(recorder: Path, tmp_path: Path) -> None:
    before = recorder.read_bytes()
    report(recorder, tmp_path / "elm", *FLOWS, *NEW)
    assert recorder.read_bytes() == before


def test_without_columns_the_error_lists_them(recorder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"which column is what\? Give --load.*sensor\.battery_charged"):
        run(recorder, tmp_path / "elm", *NEW)
    with pytest.raises(
        ConfigError, match=r"--load sensor\.nothing: there is no such column of numbers; there are sensor"
    ):
        run(recorder, tmp_path / "elm", "--load", "sensor.nothing", *NEW)
    assert not (tmp_path / "elm").exists()
