"""What an import writes: new folders, further homes, tariffs; and that it never loses what was there."""

import csv
import gzip
import json
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from import_sources import NEW, START_AT, load_w, report, run, sun_w
from typer.testing import CliRunner

from agent.cli.main import app
from agent.simulator.community import load_community
from agent.storage.home_store import HomeStore, StoredSlot
from agent.study.homes import tariff_at
from agent.study.lives import lives_of
from coordinator.errors import ConfigError
from coordinator.slots import Slot

HOURS = 24 * 9


def table(path: Path, *, hours: int = HOURS, shift_h: int = 0, more_w: float = 0.0) -> Path:
    lines = ["time,load_w,pv_w"]
    for n in range(shift_h, shift_h + hours):
        lines.append(f"{START_AT + timedelta(hours=n):%Y-%m-%dT%H:%MZ},{load_w(n % 24) + more_w},{sun_w(n % 24):.1f}")
    path.write_text("\n".join(lines) + "\n")
    return path


COLUMNS = ("--load", "load_w", "--pv", "pv_w")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return table(tmp_path / "a.csv")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_new_folder_says_all_that_was_told(source: Path, tmp_path: Path) -> None:
    told = ("--country", "DE", "--latitude", 52.5, "--longitude", 13.4, "--name", "Elm Street", "--currency", "CHF")
    house = (
        "--home",
        "Anna's house",
        "--fuse-a",
        35,
        "--pv-kwp",
        5,
        "--battery-kwh",
        10,
        "--charge-kw",
        4,
        "--round-trip",
        0.85,
    )
    report(source, tmp_path / "elm", *COLUMNS, *told, *house, *NEW)
    community = load_community(tmp_path / "elm")
    assert (community.name, community.country, community.currency) == ("Elm Street", "DE", "CHF")
    assert (community.latitude, community.longitude, community.timezone.key) == (52.5, 13.4, "Europe/Berlin")
    (home,) = community.homes
    assert (home.name, home.trace_path.name, home.fuse_a, home.pv_kwp) == ("Anna's house", "Anna-s-house.csv.gz", 35, 5)
    assert home.battery is not None
    battery = home.battery
    assert (battery.capacity_kwh, battery.charge_kw, battery.discharge_kw, battery.round_trip_efficiency) == (
        10,
        4,
        4,
        0.85,
    )


def prices(folder: Path) -> Iterator[tuple[str, str, str]]:
    with gzip.open(folder / "tariff.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            yield row["time_utc"], row["import_price_per_kwh"], row["export_price_per_kwh"]


def test_prices_by_the_time_of_day_follow_the_local_clock_and_know_a_day_more_than_the_record(
    source: Path, tmp_path: Path
) -> None:
    periods = ("--period", "22:00-6:00=0.21", "--period", "06:00-22:00=0.36", "--export-price", 0.07)
    report(source, tmp_path / "elm", *COLUMNS, "--timezone", "Europe/Berlin", *periods)
    rows = list(prices(tmp_path / "elm"))
    assert len(rows) == HOURS + 24
    assert rows[3] == ("2025-06-01T03:00:00Z", "0.21", "0.07")  # five o'clock in Berlin
    assert rows[4] == ("2025-06-01T04:00:00Z", "0.36", "0.07")
    assert rows[20][1] == "0.21"


def test_a_tariff_file_is_taken_as_it_is(source: Path, tmp_path: Path) -> None:
    report(source, tmp_path / "elm", *COLUMNS, *NEW)
    file = tmp_path / "elm" / "tariff.csv.gz"
    found = report(source, tmp_path / "oak", *COLUMNS, "--timezone", "Europe/Berlin", "--tariff", file)
    assert (tmp_path / "oak" / "tariff.csv.gz").read_bytes() == file.read_bytes()
    assert len(found["files"]) == 3


def test_a_second_home_joins_and_the_first_ones_words_stay(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elm"
    report(source, folder, *COLUMNS, *NEW)
    toml = folder / "community.toml"
    toml.write_text("# ours\n" + toml.read_text() + "# the first one\n")
    before = contents(folder)
    found = report(table(tmp_path / "b.csv", more_w=50), folder, *COLUMNS, "--import-price", 0.4)
    assert found["home"] == "home-2"
    after = contents(folder)
    assert toml.read_text().startswith(before["community.toml"].decode())
    assert {name for name in after if after[name] != before.get(name)} == {
        "community.toml",
        "homes/home-2.csv.gz",
        "tariff-home-2.csv.gz",
    }
    community = load_community(folder)
    assert [home.name for home in community.homes] == ["home-1", "home-2"]
    np.testing.assert_allclose(community.homes[1].load_w - community.homes[0].load_w, 50)
    slot = Slot.at(START_AT, 3600)
    micro = [tariff_at(home.tariff_path, community).import_micro(slot) for home in community.homes]
    assert [Decimal(price) / 10**6 for price in micro] == [Decimal("0.32"), Decimal("0.4")]


def test_nothing_that_exists_is_overwritten_without_force(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elm"
    report(source, folder, *COLUMNS, *NEW)
    report(source, folder, *COLUMNS)
    before = contents(folder)
    with pytest.raises(ConfigError, match="there is a home home-1: choose another --home, or --force to replace it"):
        run(table(tmp_path / "b.csv", more_w=50), folder, *COLUMNS, "--home", "home-1")
    stray = folder / "homes" / "attic.csv.gz"
    stray.write_text("mine")
    with pytest.raises(ConfigError, match=r"attic\.csv\.gz exists"):
        run(source, folder, *COLUMNS, "--home", "attic")
    assert stray.read_text() == "mine"
    stray.unlink()
    assert contents(folder) == before
    report(table(tmp_path / "b.csv", more_w=50), folder, *COLUMNS, "--home", "home-1", "--fuse-a", 63, "--force")
    community = load_community(folder)
    assert [(home.name, home.fuse_a) for home in community.homes] == [("home-1", 63), ("home-2", None)]
    np.testing.assert_allclose(community.homes[0].load_w - community.homes[1].load_w, 50)


def test_a_home_with_its_own_price_can_be_studied_with_homes_whose_record_is_longer(
    source: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "elm"
    report(source, folder, *COLUMNS, "--battery-kwh", 5, *NEW)
    report(table(tmp_path / "b.csv", hours=48, shift_h=72), folder, *COLUMNS, "--import-price", 0.4)
    community = load_community(folder)
    lives = lives_of(community)
    assert (lives.homes[1].import_micro == 400_000).all()
    assert np.isfinite(community.homes[1].load_w).sum() == 48


def test_a_study_of_an_imported_folder_pays_what_the_source_says(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elm"
    report(source, folder, *COLUMNS, "--battery-kwh", 5, *NEW)
    options = ("--days", "1", "--strategies", "no_battery,alone", "--forecast", "naive", "--jobs", "1", "--json")
    done = CliRunner().invoke(app, ["study", str(folder), "--work", str(tmp_path / "work"), *options])
    assert done.exception is None
    bills = {name: found["bill"] for name, found in json.loads(done.stdout)["strategies"].items()}
    net_wh = [load_w(n % 24) - sun_w(n % 24) for n in range(24)]
    assert bills["no_battery"] == pytest.approx(sum(wh * (0.32 if wh > 0 else 0.08) for wh in net_wh) / 1000, abs=0.01)
    assert bills["alone"] < bills["no_battery"]


def test_the_same_home_again_changes_nothing(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elm"
    for _ in range(2):
        report(source, folder, *COLUMNS, "--home", "first", "--force", *NEW)
    once = contents(folder)
    report(source, folder, *COLUMNS, "--home", "second")
    report(source, folder, *COLUMNS, "--home", "first", "--force")
    assert [home.name for home in load_community(folder).homes] == ["first", "second"]
    assert once["homes/first.csv.gz"] == contents(folder)["homes/first.csv.gz"]


def test_a_dry_run_reports_and_writes_nothing(source: Path, tmp_path: Path) -> None:
    found = report(source, tmp_path / "elm", *COLUMNS, "--dry-run", *NEW)
    assert (found["slots"], found["files"]) == (HOURS, [])
    assert "Nothing was written" in run(source, tmp_path / "elm", *COLUMNS, "--dry-run", *NEW)
    assert not (tmp_path / "elm").exists()


def test_a_home_beyond_the_others_tariff_is_refused_unless_it_is_cut(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elm"
    report(source, folder, *COLUMNS, *NEW)
    before = contents(folder)
    longer = table(tmp_path / "b.csv", hours=HOURS + 24 * 7)
    with pytest.raises(ConfigError, match=r"tariff\.csv\.gz: no price for .* can be taken with --from and --to"):
        run(longer, folder, *COLUMNS, "--import-price", 0.4)
    assert contents(folder) == before
    found = report(longer, folder, *COLUMNS, "--from", "2025-06-03", "--to", "2025-06-10")
    assert (found["from"], found["to"]) == ("2025-06-02T22:00:00+00:00", "2025-06-09T22:00:00+00:00")
    assert np.isnan(load_community(folder).homes[1].load_w[:46]).all()


def test_the_same_import_writes_the_same_bytes(source: Path, tmp_path: Path) -> None:
    for name in ("elm", "oak"):
        report(source, tmp_path / name, *COLUMNS, "--name", "street", *NEW)
    assert contents(tmp_path / "elm") == contents(tmp_path / "oak")


def test_batches_leave_no_trace_in_what_is_written(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report(source, tmp_path / "elm", *COLUMNS, "--name", "street", *NEW)
    monkeypatch.setattr("agent.imports.table.BATCH", 7)
    report(source, tmp_path / "oak", *COLUMNS, "--name", "street", *NEW)
    assert contents(tmp_path / "elm") == contents(tmp_path / "oak")


def test_the_agents_own_database_needs_no_words(tmp_path: Path) -> None:
    with HomeStore(tmp_path / "home.db") as store:
        first = Slot.at(START_AT, 900)
        for n, slot in enumerate(first.horizon(96)):
            unseen = n in (10, 11)
            store.save_slot(StoredSlot(key=slot.key, length_s=900, load_wh=None if unseen else 100.0 + n, pv_wh=n / 2))
        store.save_slot(StoredSlot(key=first.key - 3600, length_s=3600, load_wh=1.0, pv_wh=0.0))
        found = report(tmp_path / "home.db", tmp_path / "elm", *NEW)  # the agent goes on meanwhile
    home = load_community(tmp_path / "elm").homes[0]
    assert np.flatnonzero(np.isnan(home.load_w)).tolist() == [10, 11]
    assert home.load_w[:10].tolist() == [400.0 + 4 * n for n in range(10)]
    assert home.pv_w.tolist() == [2.0 * n for n in range(96)]
    assert found["left_out"] == ["slots of another length than 15 minutes, left out: 1"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--import-price", "0.3"), "Time zone.* not told: give --timezone"),
        (
            ("--timezone", "Europe/Berlin"),
            "Price of a kWh from the grid: not told: give --import-price, --period or --tariff",
        ),
        ((*NEW, "--timezone", "Mars"), "'Mars' is no time zone"),
        ((*NEW, "--country", "ZZ"), "--country ZZ: no public holidays"),
        ((*NEW, "--period", "0:00-24:00=0.3"), "give one of them"),
        (("--timezone", "Europe/Berlin", "--period", "dear"), "write it like 22:00-06:00=0.21"),
        (("--timezone", "Europe/Berlin", "--period", "00:00-12:00=0.3"), "no period of time_of_use covers 12:00"),
        (("--timezone", "Europe/Berlin", "--import-price", "0.1", "--export-price", "0.2"), "exceeds"),
        ((*NEW, "--charge-kw", "3"), "give --battery-kwh too"),
        ((*NEW, "--battery-kwh", "-3"), "battery.capacity_kwh"),
        ((*NEW, "--home", "x" * 40), "name"),
        ((*NEW, "--times-zone", "+1"), "is no offset from UTC"),
    ],
)
def test_wrong_options_name_their_cure_before_anything_is_written(
    source: Path, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        run(source, tmp_path / "elm", *COLUMNS, *options)
    assert not (tmp_path / "elm").exists()


def test_panels_without_a_column_are_asked_for(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name the column of what they generate with --pv"):
        run(source, tmp_path / "elm", "--load", "load_w", "--pv-kwp", 5, *NEW)


def test_options_that_contradict_the_folder_are_named(source: Path, tmp_path: Path) -> None:
    report(source, tmp_path / "elm", *COLUMNS, *NEW)
    for options, said in (
        (("--timezone", "Europe/Paris"), "the folder's is Europe/Berlin"),
        (("--slot-minutes", "30"), "has slots of 60 minutes"),
        (("--export-price", "0.1"), "needs --import-price or --period too"),
    ):
        with pytest.raises(ConfigError, match=said):
            run(source, tmp_path / "elm", *COLUMNS, *options)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        (b"SQLite format 3\x00 and then nothing that one could read", "a damaged database"),
        (b"\x1f\x8b no gzip", "no line below a header"),
    ],
)
def test_files_that_are_no_source_are_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "thing.db"
    if content is not None:
        path.write_bytes(content)
    for options in (NEW, ()):  # before anything is asked
        with pytest.raises(ConfigError, match=said):
            run(path, tmp_path / "elm", "--load", "x", *options)


def test_a_folder_as_source_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a folder: name the file in it"):
        run(tmp_path, tmp_path / "elm")


def test_a_table_without_a_column_of_numbers_is_told_as_such(tmp_path: Path) -> None:
    lines = ["time;load_w", *(f"2026-01-01T{hour:02d}:00:00Z;{hour} W" for hour in range(20))]
    (tmp_path / "words.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(ConfigError, match="--load load_w: no column holds numbers throughout: see --decimal"):
        run(tmp_path / "words.csv", tmp_path / "elm", "--load", "load_w", *NEW)


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.db") as db:
        db.execute("CREATE TABLE things (a)")
    db.close()
    with pytest.raises(ConfigError, match="neither Home Assistant's recorder nor a home of ours"):
        run(tmp_path / "other.db", tmp_path / "elm", *NEW)


def test_a_person_is_asked_for_what_was_not_told(tmp_path: Path) -> None:
    lines = ["when;Bezug;Einspeisung;PV W"]
    total_in = total_out = 0.0
    for n in range(48):
        net = load_w(n % 24) - sun_w(n % 24)
        lines.append(
            f"{START_AT + timedelta(hours=n):%Y-%m-%dT%H:%MZ};{total_in:.4f};{total_out:.4f};{sun_w(n % 24):.1f}"
        )
        total_in, total_out = total_in + max(0.0, net) / 1000, total_out + max(0.0, -net) / 1000
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    # zone; no load; import column 9, which does not exist, then 1 with its unit; export 2; the sun as suggested; prices
    answers = ["Europe/Berlin", "-", "9", "1", "kWh", "2", "Pfund", "kWh", "", "-", "-", "-", "cheap", "0,31", "0.08"]
    shown = run(tmp_path / "a.csv", tmp_path / "elm", "--ask", answers="\n".join(answers) + "\n")
    assert "home-1: 2025-06-01 00:00" in shown
    home = load_community(tmp_path / "elm").homes[0]
    np.testing.assert_allclose(home.load_w[:47], [load_w(n % 24) for n in range(47)], atol=1.5)
