"""`commonwatt study` on a street as people bring it: everything at once that is not the usual case.

One home has sun and battery, one sun only, one a battery only, one neither; two tariffs; gaps; the clock changes.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import streets
from streets import recomputed_bills, rows_of, write_street
from typer.testing import CliRunner

from agent.cli.main import app

BEGINS = {"spring": datetime(2026, 3, 20, 23, tzinfo=UTC), "autumn": datetime(2025, 10, 17, 23, tzinfo=UTC)}
CHANGES = {"spring": "2026-03-29", "autumn": "2025-10-26"}
HOURS = {"spring": 23, "autumn": 25}
DAYS = 9
"""The record ends with the day of the change, or an hour after it."""


def messy_street(folder: Path, minutes: int, season: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the street; on the last day home 1 loses its sun around noon, home 3 its load in the second half."""
    monkeypatch.setattr(streets, "START_AT", BEGINS[season])
    write_street(folder, homes=4, days=DAYS, slot_minutes=minutes, tariffs=2)
    day = 1440 // minutes
    for number, column, lost in ((1, 2, slice(-day * 2 // 3, -day // 2)), (3, 1, slice(-day // 2, None))):
        trace = folder / "homes" / f"{number}.csv"
        header, *lines = trace.read_text().splitlines()
        for place in range(len(lines))[lost]:
            cells = lines[place].split(",")
            cells[column] = ""
            lines[place] = ",".join(cells)
        trace.write_text("\n".join([header, *lines]) + "\n")
    return folder


def study(folder: Path, *arguments: str) -> Any:
    done = CliRunner().invoke(app, ["study", str(folder), "--json", "--jobs", "1", *arguments])
    if done.exception is not None:
        raise done.exception
    return json.loads(done.stdout)


def cost_without_battery(folder: Path, number: int, minutes: int, since: str) -> float:
    """Return what a home pays without battery, from the files alone; a gap is lived like the day before."""
    day, cost = 1440 // minutes, 0.0
    prices = {row["time_utc"]: row for row in rows_of(folder / f"tariff-{number % 2}.csv")}
    last: dict[tuple[int, str], str] = {}
    for place, row in enumerate(rows_of(folder / "homes" / f"{number}.csv")):
        for name in ("load_w", "pv_w"):
            row[name] = last[place % day, name] = row[name] or last[place % day, name]
        if row["time_utc"] >= since:
            net_kwh = round((float(row["load_w"]) - float(row["pv_w"])) * minutes / 60) / 1000
            way = "import" if net_kwh > 0 else "export"
            cost += net_kwh * float(prices[row["time_utc"]][f"{way}_price_per_kwh"])
    return cost


def check_bills(folder: Path, minutes: int, found: Any) -> None:
    bills = {name: lived["homes"] for name, lived in found["strategies"].items()}
    since = f"{datetime.fromisoformat(found['from']):%Y-%m-%dT%H:%M:%SZ}"
    for number in range(4):
        told = cost_without_battery(folder, number, minutes, since)
        assert bills["no_battery"][f"home-{number}"]["bill"] == pytest.approx(told, abs=0.006)
    # a home without battery can only gain by trading
    for name in ("home-1", "home-3"):
        assert bills["alone"][name]["bill"] == bills["no_battery"][name]["bill"]
        assert bills["traded"][name]["bill"] <= bills["alone"][name]["bill"]
    totals = {name: lived["bill"] for name, lived in found["strategies"].items()}
    assert totals["traded"] < totals["alone"] < totals["no_battery"]


SOME = ("--strategies", "no_battery,alone,traded", "--forecast", "naive")


@pytest.mark.parametrize(("minutes", "season"), [(15, "spring"), (30, "autumn")])
def test_the_bills_of_a_messy_street_are_right_in_short_slots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minutes: int, season: str
) -> None:
    folder = messy_street(tmp_path / "elm", minutes, season, monkeypatch)
    found = study(folder, "--from", CHANGES[season], *SOME, "--work", str(tmp_path / "work"))
    check_bills(folder, minutes, found)


def test_every_bill_of_a_messy_street_follows_from_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    season = "autumn"
    folder, files = messy_street(tmp_path / "elm", 60, season, monkeypatch), tmp_path / "report"
    found = study(folder, "--from", CHANGES[season], *SOME, "--work", str(tmp_path / "work"), "--report", str(files))
    check_bills(folder, 60, found)
    constants = json.loads((files / "constants.json").read_text())
    traded = found["strategies"]["traded"]["homes"]
    assert recomputed_bills(files, constants) == pytest.approx(
        {name: home["bill"] for name, home in traded.items()}, abs=0.0051
    )


@pytest.mark.parametrize("season", ["spring", "autumn"])
def test_the_day_of_a_clock_change_lasts_as_long_as_it_does_in_all_strategies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, season: str
) -> None:
    folder = messy_street(tmp_path / "elm", 60, season, monkeypatch)
    found = study(folder, "--from", CHANGES[season], "--days", "1", "--work", str(tmp_path / "work"))
    start, end = (datetime.fromisoformat(found[key]) for key in ("from", "to"))
    assert (end - start).total_seconds() == 3600 * HOURS[season]
    assert len(found["strategies"]) == 7
    assert found["monthly"] == {CHANGES[season][:7]: {name: each["bill"] for name, each in found["strategies"].items()}}
