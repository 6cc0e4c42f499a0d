"""`commonwatt study`: the figures, the files they can be recomputed from, and errors that name the cure."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from streets import START_AT, recomputed_bills, rows_of, write_street
from typer.testing import CliRunner

from agent.cli.main import app
from agent.simulator.community import load_community
from agent.study.lives import lives_of
from agent.study.study_period import Wanted, notes, period
from coordinator.errors import ConfigError
from coordinator.slots import Slot

STRATEGIES = ["no_battery", "self_consumption", "alone", "auction", "traded", "central", "perfect"]
SPAN = ["--from", "2025-06-08", "--days", "7", "--forecast", "naive", "--jobs", "1"]


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_street(tmp_path_factory.mktemp("street") / "elm", days=16, tariffs=2)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def report(street: Path, work: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    run(street, *SPAN, "--work", str(work), "--report", str(folder), "--json")
    return folder


@pytest.fixture(scope="module")
def constants(report: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((report / "constants.json").read_text())
    return loaded


@pytest.fixture(scope="module")
def figures(constants: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = constants["figures"]
    return found


def run(folder: Path, *arguments: str) -> str:
    done = CliRunner().invoke(app, ["study", str(folder), *arguments])
    if done.exception is not None:
        raise done.exception
    return done.stdout


def test_the_figures_are_those_of_the_definitions(figures: dict[str, Any]) -> None:
    assert figures["community"] == "elm"
    assert (figures["from"], figures["to"]) == ("2025-06-07T22:00:00+00:00", "2025-06-14T22:00:00+00:00")
    assert list(figures["strategies"]) == STRATEGIES
    for found in figures["strategies"].values():
        assert found.keys() >= {"bill", "homes", "import_kwh", "export_kwh", "traded_kwh", "cycles", "seconds"}
        assert sum(home["bill"] for home in found["homes"].values()) == pytest.approx(found["bill"], abs=0.03)
        for side in ("bought_kwh", "sold_kwh"):
            traded = sum(home[side] for home in found["homes"].values())
            assert traded == pytest.approx(found["traded_kwh"], abs=5e-3)
    bills = {name: found["bill"] for name, found in figures["strategies"].items()}
    baseline = min(bills["alone"], bills["self_consumption"])
    assert bills["traded"] < baseline < bills["no_battery"]
    assert figures["captured"] == pytest.approx((baseline - bills["traded"]) / (baseline - bills["perfect"]), abs=0.01)
    of_central = (baseline - bills["traded"]) / (baseline - bills["central"])
    assert figures["captured_of_central"] == pytest.approx(of_central, abs=0.01)
    assert figures["captured"] > 0.9
    assert figures["homes_worse_off"] == 0
    assert figures["monthly"].keys() == {"2025-06"}
    assert figures["monthly"]["2025-06"] == pytest.approx(bills)


def test_the_bills_follow_from_the_files(report: Path, constants: dict[str, Any], figures: dict[str, Any]) -> None:
    bills = recomputed_bills(report, constants)
    homes = figures["strategies"]["traded"]["homes"]
    assert bills == pytest.approx({name: home["bill"] for name, home in homes.items()}, abs=0.0051)


def test_the_files_say_which_trades_came_after_the_slot(report: Path) -> None:
    assert {row["kind"] for row in rows_of(report / "contracts.csv")} == {"slot", "residual"}


def test_the_reports_pictures_also_stand_alone(report: Path) -> None:
    assert "Together: Commonwatt" in (report / "bills.svg").read_text()
    for name in ("bills.svg", "week.svg"):
        root = ElementTree.parse(report / name).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "background: #ffffff" in root.attrib["style"]


def test_the_page_has_pictures_homes_and_assumptions_and_needs_no_network(report: Path) -> None:
    page = (report / "report.html").read_text()
    assert page.count("<svg") == page.count("</svg>") == 3  # no picture of months: it is one
    for said in ("home-3", "No home would have paid more than alone", "grid fees", "mean of the seven days before"):
        assert said in page
    assert not re.search(r'(src|href)="https?:', page)
    for jargon in ("imbalance", "horizon", "ADMM", "captured", "setpoint"):
        assert jargon not in page


def test_the_terminal_shows_bills_homes_and_what_was_found(street: Path, work: Path) -> None:
    shown = run(street, *SPAN, "--work", str(work))
    for said in ("Without batteries", "Together: Commonwatt", "If the future were known", "home-3", "rounds of bids"):
        assert said in shown


def test_a_study_of_few_strategies_says_what_it_can(street: Path, work: Path) -> None:
    arguments = [*SPAN, "--work", str(work), "--strategies", "traded,no_battery"]
    found = json.loads(run(street, *arguments, "--json"))
    assert list(found["strategies"]) == ["no_battery", "traded"]
    assert [found[key] for key in ("captured", "captured_of_central", "homes_worse_off")] == [None] * 3
    assert "No battery" in run(street, *arguments)
    assert "Batteries keep" in run(street, *SPAN, "--work", str(work), "--strategies", "self_consumption")


def test_the_same_question_has_the_same_answer_and_another_price_rule_another(
    street: Path, figures: dict[str, Any], tmp_path: Path
) -> None:
    arguments = ["--strategies", "alone,traded", "--json", "--work", str(tmp_path)]
    again = json.loads(run(street, *SPAN, *arguments))
    other = json.loads(run(street, *SPAN, *arguments, "--rule", "sdr"))
    homes = [found["strategies"]["traded"]["homes"] for found in (figures, again, other)]
    assert homes[0] == homes[1] != homes[2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "2031-01-01", "--days", "3"], "runs from 2025-06-01 02:00 to 2025-06-17 02:00"),
        (["--from", "2025-06-10", "--to", "2025-06-09"], "at least a day"),
        (["--from", "2025-06-08", "--to", "2025-06-12", "--days", "2"], "give two of them"),
        (["--strategies", "alone,magic"], "'magic' is none: there are no_battery"),
        (["--strategies", "alone", "--report", "x"], "add traded to --strategies"),
    ],
)
def test_errors_name_the_cure(street: Path, arguments: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        run(street, *arguments)


def test_a_missing_folder_and_an_unwritable_one_are_named(street: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        run(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="name another folder"):
        run(street, *SPAN, "--work", str(tmp_path / "file" / "below"))


def test_the_period_is_in_local_days_also_where_the_clock_changes(street: Path) -> None:
    lives = lives_of(load_community(street))
    # 16 days of record: a week to learn from, nine to look at
    assert period(lives, Wanted()) == (Slot.at(START_AT + timedelta(days=7), 3600), 24 * 9)
    first, slots = period(lives, Wanted(end=datetime(2025, 6, 12), days=2))  # noqa: DTZ001
    assert (first.start_at, slots) == (datetime(2025, 6, 9, 22, tzinfo=UTC), 48)
    autumn = Slot.at(datetime(2025, 10, 20, 22, tzinfo=UTC), 3600)
    first, slots = period(replace(lives, first=autumn), Wanted(start=datetime(2025, 10, 26), days=1))  # noqa: DTZ001
    assert (first.start_at, slots) == (datetime(2025, 10, 25, 22, tzinfo=UTC), 25)


def test_what_is_filled_and_what_is_left_out_is_said(tmp_path: Path) -> None:
    folder = write_street(tmp_path / "elm", homes=2, days=9)
    trace = folder / "homes" / "1.csv"
    header, *lines = trace.read_text().splitlines()
    nothing = [f"{line.split(',')[0]},," for line in lines]
    trace.write_text("\n".join([header, *lines[:-12], *nothing[-12:]]) + "\n")
    with (folder / "community.toml").open("a") as file:
        file.write('shiftables = [{ name = "laundry", energy_kwh = 2, power_kw = 2, from = "09:00", to = "17:00" }]\n')
    community = load_community(folder)
    lives = lives_of(community)
    first, slots = period(lives, Wanted(days=2))
    gaps, thin, left_out = notes(community, lives, first, slots)
    assert "home-1 25.0 % of the time" in gaps
    assert thin.startswith("Only 7 days of record lie before")
    assert "tanks of 1 home are left out" in left_out
    trace.write_text("\n".join([header, *nothing]) + "\n")
    with pytest.raises(ConfigError, match="home-1: no load in its whole trace"):
        notes(community, lives_of(load_community(folder)), first, slots)
