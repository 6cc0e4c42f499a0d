"""Traces and community folders: what loads, and what is refused with which words."""

import gzip
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from agent.simulator.community import load_community
from agent.simulator.trace import TraceHome, read_trace
from coordinator.errors import ConfigError, LocalProtocolError

START = datetime(2025, 1, 1, tzinfo=UTC)
TOML = """
name = "street"
timezone = "Europe/Berlin"
slot_minutes = 60
currency = "EUR"
tariff = "tariff.csv"
weather = "tariff.csv"
country = "DE"
latitude = 52.5
longitude = 13.4

[[homes]]
name = "sunny"
trace = "homes/sunny.csv.gz"
pv_kwp = 4.0
fuse_a = 35
battery = { capacity_kwh = 6.4, charge_kw = 5.0, discharge_kw = 4.0, round_trip_efficiency = 0.81 }
shiftables = [{ name = "laundry", energy_kwh = 2, power_kw = 2, from = "09:00", to = "17:00" }]
tanks = [{ name = "hot water", litres = 200, heater_kw = 2, lowest_c = 45, highest_c = 60 }]

[[homes.vehicles]]
name = "car"
capacity_kwh = 40
charge_kw = 11
arrives = "18:00"
leaves = "07:00"
arrives_with_kwh = 15
needed_kwh = 25

[[homes]]
name = "plain"
trace = "homes/plain.csv"
tariff = "own.csv"
"""
HEADER = "time_utc,load_w,pv_w\n"
Edit = Callable[[Path], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "homes").mkdir()
    (tmp_path / "community.toml").write_text(TOML)
    for name in ("tariff.csv", "own.csv"):
        (tmp_path / name).write_text(
            "time_utc,import_price_per_kwh,export_price_per_kwh\n2025-01-01T00:00:00Z,0.3,0.1\n"
        )
    with gzip.open(tmp_path / "homes/sunny.csv.gz", "wt") as file:
        file.write(HEADER + "2025-01-01T00:00:00Z,100,0\n2025-01-01T01:00:00Z,,50.5\n2025-01-01T03:00:00Z,300,\n")
    (tmp_path / "homes/plain.csv").write_text(HEADER + "2025-01-01T02:00:00+01:00,7,0\n2025-01-01T02:00:00Z,8,0\n")
    return tmp_path


def test_a_folder_gives_every_home_on_one_grid_with_gaps_as_nan(folder: Path) -> None:
    community = load_community(folder)
    assert (community.start_at, community.slots, community.slot_s) == (START, 4, 3600)
    assert (community.name, community.currency, community.timezone.key) == ("street", "EUR", "Europe/Berlin")
    sunny, plain = community.homes
    np.testing.assert_array_equal(sunny.load_w, [100, math.nan, math.nan, 300])
    np.testing.assert_array_equal(sunny.pv_w, [0, 50.5, math.nan, math.nan])
    np.testing.assert_array_equal(plain.load_w, [math.nan, 7, 8, math.nan])
    assert (sunny.has_pv, plain.has_pv) == (True, False)
    assert (sunny.pv_kwp, sunny.fuse_a, plain.battery) == (4.0, 35, None)
    assert [len(things) for things in (sunny.wishes.vehicles, sunny.wishes.shiftables, sunny.wishes.tanks)] == [1, 1, 1]
    assert (sunny.wishes.vehicles[0].needed_kwh, sunny.wishes.shiftables[0].deadline) == (25, "17:00")
    assert plain.wishes.vehicles == ()
    assert sunny.tariff_path == folder / "tariff.csv"
    assert plain.tariff_path == folder / "own.csv"


def test_the_round_trip_efficiency_is_split_as_its_square_root(folder: Path) -> None:
    settings = load_community(folder).homes[0].battery
    assert settings is not None
    assert settings.initial_soc_pct == 50
    battery = settings.battery()
    assert battery.efficiency_charge == battery.efficiency_discharge == pytest.approx(0.9)
    assert (battery.capacity_wh, battery.charge_w, battery.discharge_w) == (6400, 5000, 4000)


def test_history_rows_say_none_where_the_record_has_nothing(folder: Path) -> None:
    rows = load_community(folder).homes[0].history_rows(START - timedelta(hours=1), 3)
    assert [(row.load_w, row.pv_w) for row in rows] == [(None, None), (100, 0), (None, 50.5)]
    assert rows[1].start_at == START


def replace(name: str, old: str, new: str) -> Edit:
    def edit(folder: Path) -> None:
        path = folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return edit


def append(line: str) -> Edit:
    def edit(folder: Path) -> None:
        with (folder / "homes/plain.csv").open("a") as file:
            file.write(line)

    return edit


def remove(name: str) -> Edit:
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (remove("community.toml"), "community.toml: no such file"),
        (remove("homes/plain.csv"), "plain.csv: no such file"),
        (remove("own.csv"), "homes.plain.tariff: no file .*own.csv"),
        (replace("community.toml", "currency =", "curency ="), "curency: unknown key, did you mean currency"),
        (replace("community.toml", "pv_kwp", "pv_kw"), r"homes.0.pv_kw: unknown key, did you mean pv_kwp"),
        (replace("community.toml", 'name = "street"', ""), "name: missing"),
        (replace("community.toml", "Europe/Berlin", "Europe/Berln"), "timezone: unknown time zone.*Europe/Berln"),
        (replace("community.toml", "slot_minutes = 60", "slot_minutes = 50"), "slot_minutes: slots must divide a day"),
        (replace("community.toml", '"plain"', '"sunny"'), "two homes are called sunny"),
        (replace("community.toml", 'country = "DE"', "country = DE"), "not valid TOML"),
        (replace("community.toml", "needed_kwh = 25", "needed_kwh = 45"), "vehicles.0: .*must not exceed capacity_kwh"),
        (
            replace("community.toml", "needed_kwh", "need_kwh"),
            "vehicles.0.need_kwh: unknown key, did you mean needed_kwh",
        ),
        (replace("community.toml", '"07:00"', '"7 am"'), "vehicles.0.leaves: write a time of day like 18:00"),
        (replace("community.toml", '"hot water"', '"laundry"'), "homes.0: two things of the home are called laundry"),
        (replace("community.toml", "0.81", "1.1"), "homes.0.battery.round_trip_efficiency: .*1.1"),
        (replace("homes/plain.csv", "load_w", "load"), "plain.csv, line 1: the header is"),
        (append("2025-01-01T03:00:00Z,9\n"), "plain.csv, line 4: 2 cells"),
        (append("2025-01-01T03:00:00,9,0\n"), "plain.csv, line 4: .*has no zone"),
        (append("noon,9,0\n"), "plain.csv, line 4: 'noon' is no time"),
        (append("2025-01-01T03:00:00Z,-9,0\n"), "plain.csv, line 4: load_w is -9: watts are 0 or more"),
        (append("2025-01-01T03:00:00Z,nan,0\n"), "plain.csv, line 4: load_w is nan"),
        (append("2025-01-01T03:00:00Z,9,much\n"), "plain.csv, line 4: pv_w is 'much'"),
        (append("2025-01-01T02:00:00Z,9,0\n"), "plain.csv, line 4: .* is not after the line before"),
        (append("2025-01-01T03:30:00Z,9,0\n"), "plain.csv, line 4: .* does not start a slot of 60 minutes"),
        (append("2225-01-01T03:00:00Z,9,0\n"), "plain.csv: spans"),
        (lambda folder: (folder / "homes/plain.csv").write_text(HEADER), "plain.csv: no line below the header"),
        (lambda folder: (folder / "homes/sunny.csv.gz").write_bytes(b"no gzip"), "sunny.csv.gz: cannot be read"),
    ],
)
def test_what_is_wrong_is_refused_with_file_place_and_cause(folder: Path, edit: Edit, words: str) -> None:
    edit(folder)
    with pytest.raises(ConfigError, match=words):
        load_community(folder)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere: no such folder"):
        load_community(tmp_path / "nowhere")


def test_a_home_lives_through_the_gaps_of_its_record(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    hours = [(START + timedelta(hours=hour), hour) for hour in range(48) if hour != 30]
    path.write_text(HEADER + "".join(f"{at:%Y-%m-%dT%H:%M:%SZ},{load},{2 * load}\n" for at, load in hours))
    home = TraceHome(read_trace(path, 3600))
    assert home.load_w(START + timedelta(hours=5, minutes=59)) == 5
    assert home.pv_w(START + timedelta(hours=31)) == 62
    assert home.load_w(START + timedelta(hours=30)) == 6, "the same time of the day before"
    assert home.load_w(START + timedelta(hours=48 + 2)) == 24 + 2, "beyond the record its last day repeats"
    assert home.load_w(START - timedelta(hours=1)) == 23, "before the record its first day repeats"
    assert home.next_change(START + timedelta(minutes=7)) == START + timedelta(hours=1)
    assert home.pv_peak_w == 94
    assert [row.load_w for row in home.history_rows(START + timedelta(hours=29), 3, 3600)] == [29, None, 31]
    with pytest.raises(LocalProtocolError, match="slots of 3600 s"):
        home.history_rows(START, 4, 900)
