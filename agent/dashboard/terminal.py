"""The same picture in a terminal: `commonwatt watch`, the demo's live view, and the demo's final table."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agent.dashboard import attention, figures, words
from agent.dashboard.figures import CommunityFigures, HomeFigures
from agent.dashboard.picture import Picture
from agent.dashboard.settings import DashboardSettings
from coordinator.errors import LocalProtocolError

_LEVEL_STYLE = {"info": "", "warning": "yellow", "error": "red"}


def live_view(picture: Picture, settings: DashboardSettings, wall_s: float, log_lines: int = 6) -> RenderableType:
    """Return the homes' table with the last notices.

    Args:
        picture: What was heard.
        settings: Title, currency and zone.
        wall_s: Monotonic wall second that ages are counted to.
        log_lines: Notices shown below the table.
    """
    community = figures.community_figures(picture)
    homes = [figures.home_figures(home, community.now, wall_s) for home in picture.homes.values()]
    parts: list[RenderableType] = [_headline(community, settings), _homes_table(homes, settings.currency)]
    parts += [Text(f"! {home}: {said}", style="yellow") for home, said in attention.warnings(picture, wall_s)]
    for home, notice in attention.notices(picture, log_lines):
        at = words.clock_time(notice.at, settings.zone)
        parts.append(Text(f"{at}  {home}  {notice.text}", style=_LEVEL_STYLE[notice.level]))
    return Group(*parts)


def _headline(community: CommunityFigures, settings: DashboardSettings) -> Text:
    """Return time, price and savings in one line. Text, not markup: titles and names are not ours."""
    now = words.date_and_time(community.now, settings.zone) if community.now else "waiting for the homes"
    line = Text.assemble((settings.title, "bold"), f"  {now}")
    if settings.demo:
        line.append("  simulation", style="yellow")
    if community.price is not None:
        line.append(f"  {words.price(community.price, settings.currency)} per kWh between neighbours", style="magenta")
    if community.saved is not None:
        line.append(f"  saved {words.amount(community.saved, settings.currency)}", style="bold green")
    return line


def _homes_table(homes: list[HomeFigures], currency: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("Home")
    for title in ("Makes", "Stores", "Full", "Uses", "Meter", "Neighbours", "Bill", "Saved"):
        table.add_column(title, justify="right", no_wrap=True)
    for home in homes:
        bill = home.savings.bill_traded if home.savings else None
        table.add_row(
            Text(home.name),
            words.generation(home.pv_w) if home.has_pv else words.UNKNOWN,
            words.battery(home.battery_w) if home.has_battery else words.UNKNOWN,
            words.percent(home.soc_pct),
            words.power(home.load_w),
            words.meter(home.grid_w),
            Text(words.trading(home.trading_w), style="magenta" if abs(home.trading_w or 0) >= 1 else "dim"),
            words.amount(bill, currency),
            Text(words.amount(home.saved, currency), style="green" if (home.saved or 0) > 0 else ""),
            style="dim" if home.stale else "",
        )
    return table


def report_table(report: Mapping[str, Any]) -> Table:
    """Return the demo's report as a table: a row per home, totals, and whether all ledgers agree.

    Raises:
        LocalProtocolError: If the report lacks one of its fields.
    """
    try:
        return _report_table(report)
    except KeyError as error:
        raise LocalProtocolError(f"the report has no {error}") from None


def _report_table(report: Mapping[str, Any]) -> Table:
    currency, homes = str(report["currency"]), list(report["homes"])
    table = Table(title=Text(f"{report['community']}, {report['slots']} trading periods"), caption=_verdict(report))
    table.add_column("Home", footer="All")
    sums = {key: sum((Decimal(str(home[key])) for home in homes), Decimal(0)) for key in _SUMMED}
    alone, traded = sums["bill_alone"], sums["bill_traded"]
    columns = (
        ("Without battery", words.amount(sums["bill_no_battery"], currency)),
        ("Without trading", words.amount(alone, currency)),
        ("With trading", words.amount(traded, currency)),
        ("Saved", words.amount(alone - traded, currency)),
        ("Saved %", _share(alone, traded)),
        ("Bought", words.energy(float(sums["bought_wh"]))),
        ("Sold", words.energy(float(sums["sold_wh"]))),
        ("Contracts", str(report["contracts_counted"])),
    )
    for title, footer in columns:
        table.add_column(title, footer=footer, justify="right", no_wrap=True)
    table.show_footer = True
    for home in homes:
        bills = [Decimal(str(home[key])) for key in ("bill_no_battery", "bill_alone", "bill_traded")]
        table.add_row(
            Text(str(home["name"])),
            *(words.amount(bill, currency) for bill in bills),
            words.amount(bills[1] - bills[2], currency),
            _share(bills[1], bills[2]),
            words.energy(home["bought_wh"]),
            words.energy(home["sold_wh"]),
            str(home["contracts"]),
        )
    return table


_SUMMED = ("bill_no_battery", "bill_alone", "bill_traded", "bought_wh", "sold_wh")


def _share(before: Decimal, after: Decimal) -> str:
    share = words.saving_percent(before, after)
    return words.UNKNOWN if share is None else f"{share:.1f} %"


def _verdict(report: Mapping[str, Any]) -> Text:
    mismatches, twice = int(report["ledger_mismatches"]), int(report["wh_sold_twice"])
    if mismatches == 0 and twice == 0:
        return Text("Every pair of ledgers agrees; no watt-hour was sold twice.", style="green")
    return Text(f"LEDGERS DISAGREE: {mismatches} mismatches, {twice} Wh sold twice.", style="bold red")
