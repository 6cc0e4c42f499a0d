import io
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from rich.console import Console, RenderableType

from agent.dashboard.picture import Picture
from agent.dashboard.settings import DashboardSettings
from agent.dashboard.terminal import live_view, report_table
from agent.dashboard.topics import Notice, Notices, Savings, State
from coordinator.errors import LocalProtocolError

NOW = datetime(2026, 5, 12, 10, 7, tzinfo=UTC)
SETTINGS = DashboardSettings.model_validate(
    {"title": "Our [bold]street", "sources": [{"home": "a", "url": "mqtt://x"}], "demo": True}
)


def printed(renderable: RenderableType, width: int = 120) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(renderable)
    return out.getvalue()


def report(**changes: object) -> dict[str, object]:
    home = {
        "name": "home-1",
        "bill_no_battery": "3.00",
        "bill_alone": "2.00",
        "bill_traded": "1.50",
        "bought_wh": 1200,
        "sold_wh": 300,
        "contracts": 7,
    }
    return {
        "community": "demo",
        "currency": "EUR",
        "slots": 96,
        "homes": [home, home | {"name": "home-2", "bill_traded": "2.00"}],
        "contracts_counted": 7,
        "contracts_void": 0,
        "ledger_mismatches": 0,
        "wh_sold_twice": 0,
        "rounds_mean": 5.0,
        "trade_share": 0.4,
    } | changes


def test_the_final_table_adds_the_homes_up_and_says_that_ledgers_agree() -> None:
    shown = printed(report_table(report()))
    assert "€6.00" in shown
    assert "€3.50" in shown
    assert "12.5 %" in shown
    assert "Every pair of ledgers agrees" in shown


@pytest.mark.parametrize("currency", ["EUR", "CHF"])
def test_the_final_table_fits_a_terminal_of_80_columns_with_every_figure_whole(currency: str) -> None:
    homes = [
        {
            "name": name,
            "bill_no_battery": 312.5,
            "bill_alone": 210.25,
            "bill_traded": -101.75,
            "bought_wh": 123_450,
            "sold_wh": 98_760,
            "contracts": 1234,
        }
        for name in ("home-10", "A rather long home name")
    ]
    shown = printed(report_table(report(homes=homes, currency=currency, contracts_counted=1234)), 80)
    assert max(len(line) for line in shown.splitlines()) <= 80
    row = next(line for line in shown.splitlines() if "home-10" in line)
    for figure in ("312.50", "210.25", "101.75", "312.00", "123.45", "98.76", "1234"):
        assert figure in row
    assert "…" not in shown
    assert "A rather" in shown


def test_a_tenth_of_a_cent_is_neither_saved_nor_lost() -> None:
    home = report()["homes"][0]  # type: ignore[index]
    shown = printed(report_table(report(homes=[home | {"bill_alone": "2.000", "bill_traded": "2.001"}])))
    assert "Together the homes pay €2.00: the same as without trading." in shown


def test_the_total_counts_each_contract_once_though_two_homes_have_it() -> None:
    shown = printed(report_table(report(contracts_counted=7)))
    total = next(line for line in shown.splitlines() if line.strip().startswith("All"))
    assert total.split()[-1] == "7"


def test_contracts_made_after_their_slot_are_told_apart() -> None:
    assert "Of the 7 contracts, 3 balanced afterwards." in printed(
        report_table(report(contracts_counted=7, contracts_residual=3))
    )
    assert "afterwards" not in printed(report_table(report(contracts_counted=7, contracts_residual=0)))


def test_the_final_table_does_not_hide_a_disagreement() -> None:
    assert "LEDGERS DISAGREE: 2 mismatches" in printed(report_table(report(ledger_mismatches=2)))


def test_a_report_without_a_field_is_our_own_mistake() -> None:
    broken = report()
    del broken["homes"]
    with pytest.raises(LocalProtocolError, match="homes"):
        report_table(broken)


def test_the_live_view_takes_the_currency_from_the_homes_and_not_from_its_settings() -> None:
    picture = Picture(["a"])
    books = Savings(
        home="a",
        at=NOW,
        currency="GBP",
        since_at=NOW,
        slots=1,
        bill_no_battery=Decimal(3),
        bill_alone=Decimal(2),
        bill_traded=Decimal(1),
        bought_wh=0,
        sold_wh=0,
        imported_wh=0,
        exported_wh=0,
        contracts=0,
        contracts_void=0,
        rounds_mean=0.0,
    )
    picture.receive("a", "savings", books.model_dump_json().encode(), 0.0)
    assert "£1.00" in printed(live_view(picture, SETTINGS, 1.0))


def test_the_live_view_shows_words_and_takes_no_markup_from_anybody() -> None:
    picture = Picture(["a"])
    picture.set_link("a", "")
    state = State(
        home="a",
        at=NOW,
        grid_w=-800.0,
        pv_w=2000.0,
        battery_w=-900.0,
        load_w=300.0,
        soc_pct=64.0,
        quality="valid",
        control="following",
        target_w=-900.0,
        reason="",
        trading_w=-500.0,
    )
    notice = Notice(at=NOW, level="info", text="[red]partner[/red] answered")
    picture.receive("a", "state", state.model_dump_json().encode(), 0.0)
    picture.receive(
        "a", "notices", Notices(home="a", at=NOW, warnings=[], log=[notice]).model_dump_json().encode(), 0.0
    )
    shown = printed(live_view(picture, SETTINGS, 1.0))
    assert "charging 900 W" in shown
    assert "selling 500 W" in shown
    assert "64 %" in shown
    assert "Our [bold]street" in shown
    assert "[red]partner[/red] answered" in shown
