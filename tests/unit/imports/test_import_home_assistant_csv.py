"""The two CSV files that Home Assistant's pages save."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from import_sources import NEW, START_AT, counter, finding, load_w, report, run, sun_w, write_recorder

from agent.simulator.community import load_community
from coordinator.errors import ConfigError

HOURS = 48


def moment(hours: float) -> str:
    return f"{START_AT + timedelta(hours=hours):%Y-%m-%dT%H:%M:%S.000Z}"


def history(path: Path, rows: list[tuple[str, object, float]]) -> Path:
    """Write a history of (entity, state, hours after the start)."""
    lines = ["entity_id,state,last_changed", *(f"{name},{state},{moment(hours)}" for name, state, hours in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_energy_dashboards_file_says_itself_what_is_what(tmp_path: Path) -> None:
    hours = range(HOURS)
    net = [(load_w(h % 24) - sun_w(h % 24)) / 1000 for h in hours]
    rows = {
        "sensor.grid_in,grid_consumption,kWh": [max(0.0, each) for each in net],
        "sensor.cost,grid_consumption_cost,EUR": [0.1] * HOURS,
        "sensor.grid_out,grid_return,kWh": [max(0.0, -each) for each in net],
        "sensor.roof,solar_production,kWh": [sun_w(h % 24) / 1000 for h in hours],
        "sensor.washer,device_consumption,kWh": [0.05] * HOURS,
    }
    path = tmp_path / "energy.csv"
    lines = [f"{name},{','.join(map(str, values))}" for name, values in rows.items()]
    path.write_text("\n".join([f"entity_id,type,unit,{','.join(moment(h) for h in hours)}", *lines]) + "\n")
    found = report(path, tmp_path / "elm", *NEW)
    assert {column["role"]: column["name"] for column in found["columns"]} == {
        "grid_import": "sensor.grid_in",
        "grid_export": "sensor.grid_out",
        "pv": "sensor.roof",
    }
    np.testing.assert_allclose(
        load_community(tmp_path / "elm").homes[0].load_w, [load_w(h % 24) for h in hours], atol=0.01
    )


def test_an_energy_file_of_days_is_refused_with_the_cure(tmp_path: Path) -> None:
    path = tmp_path / "energy.csv"
    path.write_text(f"entity_id,type,unit,{moment(0)},{moment(24)}\nsensor.in,grid_consumption,kWh,5,6\n")
    with pytest.raises(ConfigError, match="longer than an hour: show one day to one week"):
        run(path, tmp_path / "elm", *NEW)


def test_hourly_readings_of_a_history_are_those_of_the_hours_end(tmp_path: Path) -> None:
    # the same counter as the recorder's own statistics and as the history page saves them
    amounts = [load_w(h % 24) / 1000 for h in range(HOURS)]
    recorder = write_recorder(tmp_path / "ha.db", {("sensor.in", "kWh"): counter(amounts, first=5000)})
    readings = [5000 + sum(amounts[: n + 1]) for n in range(HOURS)]
    path = history(tmp_path / "history.csv", [("sensor.in", each, hour) for hour, each in enumerate(readings)])
    report(recorder, tmp_path / "elm", "--grid-import", "sensor.in", *NEW)
    report(path, tmp_path / "oak", "--grid-import", "sensor.in=kWh", *NEW)
    ours, theirs = (load_community(tmp_path / name).homes[0] for name in ("elm", "oak"))
    # the first row of a history only opens the counter
    np.testing.assert_allclose(theirs.load_w, ours.load_w[1:], atol=0.01)


def test_single_changes_after_hourly_rows_neither_lose_nor_double_energy(tmp_path: Path) -> None:
    rows: list[tuple[str, object, float]] = [("sensor.in", 100 + hour + 1, hour) for hour in range(24)]
    rows += [
        ("sensor.in", "unavailable", 24.2),
        *(("sensor.in", 124 + n / 10, 24.002 + n / 10) for n in range(0, 200) if n != 2),
    ]
    rows.sort(key=lambda row: row[2])
    found = report(history(tmp_path / "h.csv", rows), tmp_path / "elm", "--grid-import", "sensor.in=kWh", *NEW)
    home = load_community(tmp_path / "elm").homes[0]
    assert found["columns"][0]["energy_wh"] == pytest.approx(1000 * (124 + 19.9 - 101), abs=1)
    np.testing.assert_allclose(home.load_w[:-1], 1000, atol=5)


def test_a_silent_counter_at_night_is_no_gap_and_a_silent_load_is(tmp_path: Path) -> None:
    sun: list[tuple[str, object, float]] = [
        ("sensor.roof", 10 + day * 2 + n * 0.1, 24 * day + 8 + n / 2 + 0.01) for day in range(3) for n in range(21)
    ]
    power: list[tuple[str, object, float]] = [
        ("sensor.load", 500 + n % 7, n / 10) for n in range(720) if not 300 <= n < 340
    ]
    path = history(tmp_path / "h.csv", [*sun, *power])
    found = report(path, tmp_path / "elm", "--load", "sensor.load=W", "--pv", "sensor.roof=kWh,counter", *NEW)
    home = load_community(tmp_path / "elm").homes[0]
    night = slice(20, 31)
    assert home.pv_w[night].tolist() == [0.0] * 11
    # the last hour is not over when the file ends, and left out
    assert home.load_w.size == 71
    assert np.flatnonzero(np.isnan(home.load_w)).tolist() == [30, 31, 32, 33]
    assert found["energy_wh"]["pv"] == pytest.approx(6000, abs=110)
    assert finding(found, "missing_load")["count"] == 4


def test_a_history_names_no_units_so_the_owner_must(tmp_path: Path) -> None:
    path = history(tmp_path / "h.csv", [("sensor.in", n, n / 7) for n in range(40)])
    with pytest.raises(ConfigError, match=r"--load sensor\.in: its unit is not known: .* sensor\.in=kWh"):
        run(path, tmp_path / "elm", "--load", "sensor.in", *NEW)
    with pytest.raises(ConfigError, match="a history holds readings"):
        run(path, tmp_path / "elm", "--load", "sensor.in=kWh,interval", *NEW)


def test_a_history_that_goes_back_in_time_is_refused(tmp_path: Path) -> None:
    path = history(tmp_path / "h.csv", [("sensor.in", 1, 3), ("sensor.in", 2, 2), ("sensor.in", 3, 4)])
    later = datetime(2025, 6, 1, 2, tzinfo=UTC)
    with pytest.raises(ConfigError, match=f"goes back to {later:%Y-%m-%d %H:%M} UTC: sort"):
        run(path, tmp_path / "elm", "--load", "sensor.in=kWh,counter", *NEW)
