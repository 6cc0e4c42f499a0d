"""`market solve`: the figures, the files they can be recomputed from, and errors that name the cure."""

import csv
import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from streets import START_AT, write_street
from typer.testing import CliRunner

from agent.cli.main import app
from agent.simulator.community import load_community
from agent.study import pictures
from agent.study.market import Market, Question, solve, when
from agent.study.market_page import market_page, progress_by_round
from agent.study.market_report import write_market_report
from agent.study.market_words import limit_words
from coordinator.errors import ConfigError

KEYS = [
    "homes",
    "slots",
    "rounds",
    "cost_alone",
    "cost_auction",
    "cost_traded",
    "cost_optimum",
    "captured",
    "captured_auction",
    "ms_per_answer",
    "bytes_per_home_per_round",
    "unmatched_wh",
]


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_street(tmp_path_factory.mktemp("street") / "elm", homes=5, tariffs=2)


@pytest.fixture(scope="module")
def market(street: Path) -> Market:
    return solve(load_community(street), Question(), keep_rounds=True)


def test_trading_finds_nearly_all_that_one_optimiser_finds_and_more_than_the_auction(market: Market) -> None:
    figures = market.figures()
    assert list(figures) == KEYS
    assert figures["homes"] == 5
    assert figures["slots"] == 24
    assert figures["cost_optimum"] - 1e-4 <= figures["cost_traded"] < figures["cost_auction"] < figures["cost_alone"]
    assert 0.97 < figures["captured"] <= 1.0001
    assert 0 < figures["captured_auction"] < figures["captured"]
    assert figures["unmatched_wh"] <= market.rules.unmatched_wh


def test_a_car_of_the_folder_is_charged_and_paid_for(street: Path, market: Market, tmp_path: Path) -> None:
    shutil.copytree(street, tmp_path / "elm")
    with (tmp_path / "elm" / "community.toml").open("a") as file:  # the last home's
        file.write('[[homes.vehicles]]\nname = "car"\ncapacity_kwh = 40\ncharge_kw = 7\narrives = "12:00"\n')
        file.write('leaves = "20:00"\narrives_with_kwh = 10\nneeded_kwh = 18\n')
    driven = solve(load_community(tmp_path / "elm"), Question())
    owner = driven.homes[-1]
    charged_wh = -float(owner.traded.flexible_w.sum()) * market.first.hours
    assert charged_wh * 0.92 == pytest.approx(8000, rel=0.01)
    assert owner.cost_alone > market.homes[-1].cost_alone
    figures = driven.figures()
    assert 0.97 < figures["captured"] <= 1.0001


def test_nobody_is_worse_off_than_alone_at_the_own_forecast(market: Market) -> None:
    assert all(home.gain > -0.01 for home in market.homes)
    assert all(home.cost_auction <= home.cost_alone for home in market.homes)
    assert all(home.short_wh < 1 for home in market.homes)


def test_payments_cancel_over_all_homes(market: Market) -> None:
    paid = sum(home.cost_traded - home.traded.cost for home in market.homes)
    assert abs(paid) < 1e-9
    assert sum(home.bought_wh for home in market.homes) == sum(home.sold_wh for home in market.homes) > 0


def recomputed_cost(folder: Path) -> tuple[float, float]:
    """Return the homes' costs together, from the files alone, and the largest error of a power balance in W."""
    constants: dict[str, Any] = json.loads((folder / "constants.json").read_text())
    hours = constants["slot_s"] / 3600
    with (folder / "flows.csv").open() as file:
        flows = list(csv.DictReader(file))
    with (folder / "contracts.csv").open() as file:
        contracts = list(csv.DictReader(file))
    slots = sorted({row["slot"] for row in flows})
    net_wh: dict[tuple[str, str], float] = {}
    cost = 0.0
    for row in contracts:
        for home, sign in ((row["buyer"], 1), (row["seller"], -1)):
            net_wh[row["slot"], home] = net_wh.get((row["slot"], home), 0) + sign * int(row["energy_wh"])
            cost += sign * int(row["energy_wh"]) / 1000 * float(row["price"])
    worst_w = 0.0
    for row in flows:
        home = constants["homes"][row["home"]]
        tariff, index = constants["tariffs"][home["tariff"]], slots.index(row["slot"])
        grid_w, battery_w = float(row["grid_w"]), float(row["battery_w"])
        worst_w = max(worst_w, abs(float(row["load_w"]) - float(row["pv_w"]) - battery_w - grid_w))
        left_wh = grid_w * hours - net_wh.get((row["slot"], row["home"]), 0)
        cost += left_wh / 1000 * tariff["import_per_kwh" if left_wh > 0 else "export_per_kwh"][index]
        if home["battery"]:
            cost += home["battery"]["wear_per_kwh"] / 2 * abs(battery_w) * hours / 1000
            if row["slot"] == slots[-1]:
                stored_wh = float(row["soc_pct"]) / 100 * home["battery"]["capacity_wh"]
                efficiency = home["battery"]["efficiency_discharge"]
                cost -= tariff["terminal_per_kwh"] * efficiency * stored_wh / 1000
    return cost, worst_w


def test_the_costs_follow_from_the_files(market: Market, tmp_path: Path) -> None:
    write_market_report(tmp_path, market)
    cost, worst_w = recomputed_cost(tmp_path)
    assert cost == pytest.approx(market.cost_traded, abs=5e-4)
    assert worst_w < 0.05


def test_the_page_has_every_picture_and_home_and_needs_no_network(market: Market) -> None:
    page = market_page(market)
    assert page.count("<svg") == page.count("</svg>") == 4
    for home in market.homes:
        assert f"<td>{home.name}</td>" in page
    assert not re.search(r'(src|href)="https?:', page)


def test_the_same_figures_draw_the_same_picture() -> None:
    drawn = [pictures.gains(["anna", "ben"], [0.5, -0.1], [0.2, 0.0], "EUR") for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert "anna" in drawn[0]


def test_later_rounds_miss_less_of_the_gain(market: Market) -> None:
    progress = progress_by_round(market)
    assert len(progress) == market.outcome.rounds
    assert progress[-1].captured == pytest.approx(market.figures()["captured"], abs=1e-3)
    assert progress[-1].unmatched_wh < progress[0].unmatched_wh


def test_with_lost_messages_nobody_sells_more_than_it_bid(street: Path) -> None:
    market = solve(load_community(street), Question(loss=0.2, seed=3, rounds=12))
    assert len({id(view) for view in market.outcome.views.values()}) == 5
    assert market.trades
    for home in market.homes:
        said = market.outcome.views[home.name].bids_wh[home.name]
        sold = [0] * len(said)
        for trade in market.trades:
            if trade.seller == home.name:
                sold[trade.index] += trade.energy_wh
        assert all(wh <= max(0, -bid) for wh, bid in zip(sold, said, strict=True))


def test_the_same_seed_loses_the_same_messages(street: Path) -> None:
    community = load_community(street)
    ones, same, other = (solve(community, Question(loss=0.3, seed=seed, rounds=4)) for seed in (7, 7, 8))
    assert ones.trades == same.trades
    assert ones.trades != other.trades


def test_an_island_shares_what_there_is_and_leaves_less_load_unserved(street: Path) -> None:
    market = solve(load_community(street), Question(island=True, rounds=40))
    figures = market.figures()
    assert list(figures) == KEYS
    assert figures["cost_auction"] is None
    assert figures["captured_auction"] is None
    for alone_wh, traded_wh in zip(market.unserved_wh(trading=False), market.unserved_wh(trading=True), strict=True):
        assert traded_wh < alone_wh
    assert figures["cost_optimum"] - 0.01 <= figures["cost_traded"] < figures["cost_alone"]
    assert max(abs(home.traded.grid_w).max() for home in market.homes) < 1
    assert "Load left unserved" in market_page(market)


def test_a_feeder_limit_is_held_and_costs_no_more_than_it_must(street: Path, market: Market) -> None:
    limited = solve(load_community(street), Question(feeder_limit_w=5000, rounds=60))
    assert market.grid_peak_w > 5500
    assert limited.grid_peak_w < 5100
    assert limited.cost_optimum > market.cost_optimum
    assert limited.cost_traded == pytest.approx(limited.cost_optimum, abs=0.05)
    assert limit_words(limited) == ["All homes together exchange at most 5.0 kW with the grid; the limit is 5.0 kW."]


def test_the_past_week_is_the_forecast_where_there_is_one(tmp_path: Path) -> None:
    community = load_community(write_street(tmp_path / "elm", homes=2, days=9))
    first, known = when(community, None)
    assert (first.start_at, known) == (START_AT + timedelta(days=7), False)
    market = solve(community, Question(at=START_AT + timedelta(days=8)))
    # every day of the generated record is nearly the same
    assert not market.known
    assert market.planners["home-0"].problem.load_w == pytest.approx(community.homes[0].load_w[:24], rel=0.2)


def test_a_single_day_is_its_own_forecast(street: Path) -> None:
    assert when(load_community(street), None)[1] is True


def test_times_outside_the_record_are_named(tmp_path: Path, street: Path) -> None:
    with pytest.raises(ConfigError, match="single day"):
        when(load_community(street), START_AT + timedelta(hours=3))
    longer = load_community(write_street(tmp_path / "elm", homes=2, days=9))
    for at in (START_AT, START_AT + timedelta(days=10)):
        with pytest.raises(ConfigError, match="the record runs from 2025-06-01 00:00 to 2025-06-10 00:00 UTC"):
            when(longer, at)


def test_a_street_with_nothing_to_sell_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nobody has anything to sell"):
        solve(load_community(write_street(tmp_path / "plain", flexible=False)), Question())
    with pytest.raises(ConfigError, match="a market needs two or more homes"):
        solve(load_community(write_street(tmp_path / "one", homes=1)), Question())


def test_the_command_prints_the_figures_as_json_and_nothing_else(street: Path, market: Market) -> None:
    done = CliRunner().invoke(app, ["market", "solve", str(street), "--json"])
    assert done.exit_code == 0
    printed = json.loads(done.stdout)
    assert list(printed) == KEYS
    moving = {"ms_per_answer"}
    assert {k: v for k, v in printed.items() if k not in moving} == {
        k: v for k, v in market.figures().items() if k not in moving
    }


def test_the_command_shows_costs_homes_and_prices_and_writes_the_report(street: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["market", "solve", str(street), "--report", str(tmp_path / "r"), "--rule", "midpoint"]
    )
    assert done.exit_code == 0, done.output
    for said in (
        "Every home alone",
        "One optimiser with all data",
        "home-4",
        "neighbours",
        "Settled after",
        "report.html",
    ):
        assert said in done.output
    names = {"contracts.csv", "flows.csv", "constants.json", "report.html"}
    assert {path.name for path in (tmp_path / "r").iterdir()} == names
    assert json.loads((tmp_path / "r" / "constants.json").read_text())["rules"]["price_rule"] == "midpoint"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "no such folder"),
        (["{street}", "--at", "noon"], "--at 'noon' is no time"),
        (["{street}", "--at", "2031-01-01"], "the record runs from"),
        (["{street}", "--island", "--feeder-limit", "5"], "exclude each other"),
    ],
)
def test_errors_name_the_cure(street: Path, arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["market", "solve", *(text.format(street=street) for text in arguments)])
    assert isinstance(done.exception, ConfigError)
    assert said in str(done.exception)


def test_a_time_without_zone_is_utc_and_any_other_is_converted() -> None:
    from agent.cli.market import moment

    assert moment("2025-06-08T02:00+02:00") == moment("2025-06-08") == datetime(2025, 6, 8, tzinfo=UTC)
