"""`commonwatt study` on folders that are not the usual one: any slot length, things missing, the clock changing."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streets
from streets import rows_of, write_street
from typer.testing import CliRunner

from agent.cli.main import app
from agent.simulator.community import load_community
from agent.study import engine
from agent.study.lives import lives_of
from agent.study.study_period import gaps
from coordinator.errors import ConfigError


def study(folder: Path, work: Path, *arguments: str, strategies: str = "self_consumption,alone,traded") -> Any:
    options = ["--json", "--work", str(work), "--jobs", "1", "--strategies", strategies]
    done = CliRunner().invoke(app, ["study", str(folder), *options, *arguments])
    if done.exception is not None:
        raise done.exception
    return json.loads(done.stdout)


def bills(found: Any) -> dict[str, float]:
    return {name: each["bill"] for name, each in found["strategies"].items()}


NAIVE_DAY = ("--days", "1", "--forecast", "naive")


@pytest.mark.parametrize("minutes", [15, 30, 60])
def test_every_slot_length_tells_the_same_story(tmp_path: Path, minutes: int) -> None:
    folder = write_street(tmp_path / "elm", homes=3, days=9, slot_minutes=minutes)
    found = study(folder, tmp_path, *NAIVE_DAY, strategies="no_battery,alone,traded")
    assert bills(found)["no_battery"] == pytest.approx(metered_cost(folder, 1440 // minutes), abs=0.02)
    assert bills(found)["traded"] < bills(found)["alone"] < bills(found)["no_battery"]


def metered_cost(folder: Path, slots: int) -> float:
    """Return what the last `slots` slots of a folder with one tariff cost without battery, from the files alone."""
    prices = {row["time_utc"]: row for row in rows_of(folder / "tariff-0.csv")}
    cost = 0.0
    for trace in (folder / "homes").iterdir():
        for row in rows_of(trace)[-slots:]:
            net_kwh = (float(row["load_w"]) - float(row["pv_w"])) * 24 / slots / 1000
            way = "import" if net_kwh > 0 else "export"
            cost += net_kwh * float(prices[row["time_utc"]][f"{way}_price_per_kwh"])
    return cost


def test_homes_without_sun_and_battery_can_only_pay_the_grid(tmp_path: Path) -> None:
    folder = write_street(tmp_path / "elm", homes=2, days=8, flexible=False)
    found = study(folder, tmp_path, *NAIVE_DAY, strategies="no_battery,alone,traded,central")
    assert len(set(bills(found).values())) == 1
    assert found["strategies"]["traded"]["traded_kwh"] == found["strategies"]["traded"]["cycles"] == 0
    assert found["strategies"]["traded"]["self_sufficiency"] == pytest.approx(0.0, abs=1e-3)


def test_a_single_home_has_nobody_to_trade_with(tmp_path: Path) -> None:
    folder = write_street(tmp_path / "elm", homes=1, days=8)
    found = study(folder, tmp_path, *NAIVE_DAY, strategies="alone,traded")
    assert found["strategies"]["traded"]["traded_kwh"] == 0
    assert bills(found)["traded"] == pytest.approx(bills(found)["alone"], abs=0.05)


def test_a_home_whose_sun_was_never_metered_has_none(tmp_path: Path) -> None:
    folder = write_street(tmp_path / "elm", homes=2, days=9)
    trace = folder / "homes" / "1.csv"
    header, *lines = trace.read_text().splitlines()
    trace.write_text("\n".join([header, *(line.rpartition(",")[0] + "," for line in lines)]) + "\n")
    for forecast in ("naive", "model"):
        found = study(folder, tmp_path, "--days", "1", "--forecast", forecast)
        assert np.isfinite(list(bills(found).values())).all()
    lives = lives_of(load_community(folder))
    assert gaps(lives, lives.first, lives.slots) == []


def test_gaps_are_lived_like_the_day_before(tmp_path: Path) -> None:
    whole, gappy = (write_street(tmp_path / name, homes=2, days=10) for name in ("whole", "gappy"))
    for number in range(2):
        trace = gappy / "homes" / f"{number}.csv"
        lines = trace.read_text().splitlines()
        # the generated days are all alike, so the day that is filled is the day that is missing
        lines[-30:-6] = [f"{line.split(',')[0]},," for line in lines[-30:-6]]
        trace.write_text("\n".join(lines) + "\n")
    one, other = (
        study(folder, tmp_path / "work", "--days", "2", "--forecast", "naive", strategies="no_battery,traded")
        for folder in (whole, gappy)
    )
    assert bills(one)["no_battery"] == bills(other)["no_battery"]
    assert bills(one)["traded"] == pytest.approx(bills(other)["traded"], abs=0.2)


def test_the_day_of_the_clock_change_has_25_hours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streets, "START_AT", datetime(2025, 10, 17, 22, tzinfo=UTC))
    folder, report = write_street(tmp_path / "elm", homes=2, days=11), tmp_path / "report"
    arguments = ("--from", "2025-10-26", "--days", "1", "--forecast", "model", "--report", str(report))
    found = study(folder, tmp_path / "work", *arguments)
    assert (found["from"], found["to"]) == ("2025-10-25T22:00:00+00:00", "2025-10-26T23:00:00+00:00")
    assert len((report / "flows.csv").read_text().splitlines()) == 1 + 2 * 25
    assert found["monthly"] == {"2025-10": bills(found)}


def test_months_are_those_of_the_local_clock_and_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streets, "START_AT", datetime(2025, 5, 22, 22, tzinfo=UTC))
    folder = write_street(tmp_path / "elm", homes=2, days=11)
    span = ("--from", "2025-05-31", "--forecast", "naive")
    found = study(folder, tmp_path / "work", *span, "--days", "3", strategies="no_battery,traded")
    assert list(found["monthly"]) == ["2025-05", "2025-06"]
    for name, bill in bills(found).items():
        assert sum(of_month[name] for of_month in found["monthly"].values()) == pytest.approx(bill, abs=0.011)
    may = study(folder, tmp_path / "work", *span, "--days", "1", strategies="no_battery")
    assert found["monthly"]["2025-05"]["no_battery"] == may["monthly"]["2025-05"]["no_battery"]


def test_a_tariff_that_ends_before_the_record_is_named(tmp_path: Path) -> None:
    folder = write_street(tmp_path / "elm", homes=2, days=9)
    tariff = folder / "tariff-0.csv"
    tariff.write_text("\n".join(tariff.read_text().splitlines()[: 24 * 5]) + "\n")
    with pytest.raises(ConfigError, match=r"tariff-0\.csv"):
        study(folder, tmp_path / "work", *NAIVE_DAY)


def test_a_finished_study_is_read_and_not_lived_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_street(tmp_path / "elm", homes=2, days=9)
    first = study(folder, tmp_path / "work", *NAIVE_DAY)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").iterdir()}
    monkeypatch.setattr(engine, "live", None)
    again = study(folder, tmp_path / "work", *NAIVE_DAY, "--report", str(tmp_path / "report"))
    assert again == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "work").iterdir()} == files
    assert (tmp_path / "report" / "report.html").exists()


@pytest.mark.parametrize(
    ("command", "work"),
    [
        (["study"], "agent.cli.study._found"),
        (["market", "solve"], "agent.study.market.solve"),
        (["forecast", "backtest"], "agent.study.backtest.backtest"),
    ],
)
def test_a_report_without_a_place_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], work: str
) -> None:
    def begun(*_: object, **__: object) -> None:
        raise AssertionError("the work has begun")

    monkeypatch.setattr(work, begun)
    folder = write_street(tmp_path / "elm", homes=2, days=8)
    (tmp_path / "file").touch()
    done = CliRunner().invoke(app, [*command, str(folder), "--report", str(tmp_path / "file")])
    assert isinstance(done.exception, ConfigError)
    assert str(done.exception).endswith("file: cannot be written: File exists; name another folder")
