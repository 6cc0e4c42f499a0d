"""Backtests on a made-up street: nothing of the future enters, and the files hold what the figures follow from."""

import csv
import gzip
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from typer.testing import CliRunner

from agent.cli.main import app
from agent.simulator.community import load_community
from agent.study.backtest import Walk, backtest, backtest_home, issue_keys, means
from coordinator.errors import ConfigError

DAYS = 24
START_S = int(datetime(2026, 3, 16, tzinfo=UTC).timestamp())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two homes in Berlin over the night of 29 March 2026, one with sun; half-hour slots."""
    path = tmp_path_factory.mktemp("street")
    (path / "community.toml").write_text(
        'name = "street"\ntimezone = "Europe/Berlin"\nslot_minutes = 30\ncurrency = "EUR"\ntariff = "tariff.csv"\n'
        'country = "DE"\n[[homes]]\nname = "dark"\ntrace = "dark.csv"\n[[homes]]\nname = "sunny"\n'
        'trace = "sunny.csv"\npv_kwp = 4\nfuse_a = 35\n'
    )
    (path / "tariff.csv").write_text(
        "time_utc,import_price_per_kwh,export_price_per_kwh\n2026-01-01T00:00:00Z,0.3,0.1\n"
    )
    r = np.random.default_rng(7)
    for name, sun_w in (("dark", 0), ("sunny", 3000)):
        lines = ["time_utc,load_w,pv_w"]
        for n in range(48 * DAYS):
            at = datetime.fromtimestamp(START_S + 1800 * n, UTC)
            load = 300 + 500 * (17 <= at.hour < 20) + r.exponential(80)
            pv = sun_w * max(0.0, np.sin((at.hour + at.minute / 60 - 6) / 12 * np.pi)) * r.uniform(0.3, 1)
            cell = "" if name == "dark" and 100 <= n < 130 else f"{load:.1f}"
            lines.append(f"{at:%Y-%m-%dT%H:%M:%SZ},{cell},{pv:.1f}")
        (path / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return path


def test_issues_are_local_midnights_after_the_history_each_with_a_day_of_record(folder: Path) -> None:
    community = load_community(folder)
    keys = issue_keys(community, Walk())
    local = [datetime.fromtimestamp(key, UTC).astimezone(community.timezone) for key in keys.tolist()]
    assert all((at.hour, at.minute) == (0, 0) for at in local)
    assert local[0].isoformat() == "2026-03-31T00:00:00+02:00"
    assert keys[-1] + 86_400 <= START_S + DAYS * 86_400
    every = issue_keys(community, Walk(issue="slot"))
    assert every.size > 40 * keys.size


def test_where_no_slot_begins_at_midnight_the_days_first_one_is_taken(folder: Path) -> None:
    """Slots of half an hour in Nepal, five hours and three quarters ahead of UTC."""
    community = replace(load_community(folder), timezone=ZoneInfo("Asia/Kathmandu"))
    keys = issue_keys(community, Walk())
    local = [datetime.fromtimestamp(key, UTC).astimezone(community.timezone) for key in keys.tolist()]
    assert {(at.hour, at.minute) for at in local} == {(0, 15)}
    assert keys.size == pytest.approx(issue_keys(load_community(folder), Walk()).size, abs=1)


def test_a_span_without_an_issue_time_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="no forecast can be issued"):
        issue_keys(load_community(folder), Walk(start_at=datetime(2027, 1, 1, tzinfo=UTC)))


def test_what_comes_after_an_issue_does_not_change_its_forecast(folder: Path) -> None:
    community = load_community(folder)
    walk = Walk(start_at=datetime(2026, 3, 31, tzinfo=UTC), refit_days=4)
    honest = backtest_home(community, community.homes[1], walk)
    home = community.homes[1]
    cut = 48 * 20  # midnight UTC of 5 April
    other = replace(home.trace, load_w=home.trace.load_w.copy(), pv_w=home.trace.pv_w.copy())
    other.load_w[cut:] = 7.0
    other.pv_w[cut:] = 1.0
    changed = backtest_home(community, replace(home, trace=other), walk)
    for mine, theirs in ((honest.load, changed.load), (honest.pv, changed.pv)):
        assert mine is not None
        assert theirs is not None
        before = mine.keys[:, 0] <= START_S + 1800 * cut
        assert before.sum() >= 5
        np.testing.assert_array_equal(mine.band_w[before], theirs.band_w[before])
        assert not np.array_equal(mine.band_w, theirs.band_w)


def test_several_processes_find_the_same(folder: Path) -> None:
    community = load_community(folder)
    alone = dict(backtest(community, community.homes, Walk()))
    together = dict(backtest(community, community.homes, Walk(), jobs=2))
    assert {n: r.load.scores for n, r in alone.items() if r.load} == {
        n: r.load.scores for n, r in together.items() if r.load
    }
    assert means(list(alone.values()))["skill_mae"] > 0


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["forecast", "backtest", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_command_prints_the_promised_figures_as_json(folder: Path) -> None:
    figures = json.loads(run(str(folder), "--json", "--home", "sunny", "--from", "2026-04-01", "--to", "2026-04-04"))
    assert list(figures["homes"]) == ["sunny"]
    wanted = {"mae", "rmse", "bias", "coverage80", "mae_day", "mae_week", "mae_mean7", "mae_meanw4", "rmse_mean7"}
    assert wanted <= figures["homes"]["sunny"].keys()
    assert wanted <= figures["homes"]["sunny"]["pv"].keys()
    assert figures["homes"]["sunny"]["slots"] == 3 * 48
    assert figures["mean"].keys() >= {"skill_mae", "rmse_ratio_mean7", "coverage80"}


def test_the_report_holds_every_forecast_from_which_the_figures_follow(folder: Path, tmp_path: Path) -> None:
    said = run(str(folder), "--from", "2026-04-01", "--report", str(tmp_path / "report"))
    assert "report.html" in said.replace("\n", "")
    with gzip.open(tmp_path / "report" / "forecasts.csv.gz", "rt") as file:
        rows = [row for row in csv.DictReader(file) if (row["home"], row["quantity"]) == ("dark", "load")]
    missed = [abs(float(row["truth_w"]) - float(row["q50_w"])) for row in rows if row["truth_w"]]
    figures = json.loads((tmp_path / "report" / "backtest.json").read_text())
    assert np.mean(missed) == pytest.approx(figures["homes"]["dark"]["mae"], abs=0.1)
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.count("<svg") == 4
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )


def test_wrong_options_are_named(folder: Path) -> None:
    for arguments, said in ((["--home", "nobody"], "there are dark, sunny"), (["--issue", "noon"], "midnight or slot")):
        with pytest.raises(ConfigError, match=said):
            run(str(folder), *arguments)
