"""The same picture in a terminal: `commonwatt watch`, the demo's live view, and the demo's final table."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agent.dashboard import attention, figures, time_words, words
from agent.dashboard.figures import CommunityFigures, HomeFigures
from agent.dashboard.picture import Picture
from agent.dashboard.settings import DashboardSettings
from coordinator.errors import LocalProtocolError
from coordinator.quantities import cents

_LEVEL_STYLE = {"info": "", "warning": "yellow", "error": "red"}


def live_view(picture: Picture, settings: DashboardSettings, wall_s: float, log_lines: int = 6) -> RenderableType:
    """Return the homes' table with the last notices.

    Args:
        picture: What was heard.
        settings: Title and zone.
        wall_s: Monotonic wall second that ages are counted to.
        log_lines: Notices shown below the table.
    """
    community = figures.community_figures(picture)
    homes = [figures.home_figures(home, community.now, wall_s) for home in picture.homes.values()]
    parts: list[RenderableType] = [_headline(community, settings), _homes_table(homes)]
    parts += [Text(f"! {home}: {said}", style="yellow") for home, said in attention.warnings(picture, wall_s)]
    for home, notice in attention.notices(picture, log_lines):
        at = time_words.when(notice.at, community.now, settings.zone)
        parts.append(Text(f"{at}  {home}  {notice.text}", style=_LEVEL_STYLE[notice.level]))
    return Group(*parts)


def _headline(community: CommunityFigures, settings: DashboardSettings) -> Text:
    """Return time, price and savings in one line. Text, not markup: titles and names are not ours."""
    now = time_words.date_and_time(community.now, settings.zone) if community.now else "waiting for the homes"
    line = Text.assemble((settings.title, "bold"), f"  {now}")
    if settings.demo:
        line.append("  simulation", style="yellow")
    if community.price is not None:
        line.append(f"  {words.price(community.price, community.currency)} per kWh between neighbours", style="magenta")
    if community.saved is not None:
        line.append(f"  saved {words.amount(community.saved, community.currency)}", style="bold green")
    return line


def _homes_table(homes: list[HomeFigures]) -> Table:
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
            words.amount(bill, home.currency),
            Text(words.amount(home.saved, home.currency), style="green" if cents(home.saved or Decimal(0)) > 0 else ""),
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
    sums = {key: sum((Decimal(str(home[key])) for home in homes), Decimal(0)) for key in _SUMMED}
    table = Table(
        title=Text(f"{report['community']}, {report['slots']} trading periods, amounts in {currency}", style="bold"),
        caption=Text("\n").join([_together(sums, currency), *_afterwards(report), _verdict(report)]),
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_footer=True,
        footer_style="bold",
        caption_justify="left",
    )
    # Only the name gives way where the terminal is narrow, and never below what most names need.
    table.add_column("Home", footer="All", min_width=8, overflow="fold")
    footers = (*_row(sums, currency), str(report["contracts_counted"]))
    for title, footer in zip(_TITLES, footers, strict=True):
        table.add_column(title, footer=footer, justify="right", no_wrap=True)
    for home in homes:
        figures = {key: Decimal(str(home[key])) for key in _SUMMED}
        table.add_row(Text(str(home["name"])), *_row(figures, currency), str(home["contracts"]))
    return table


_SUMMED = ("bill_no_battery", "bill_alone", "bill_traded", "bought_wh", "sold_wh")
_TITLES = (
    "No\nbattery",
    "No\ntrading",
    "With\ntrading",
    "\nSaved",
    "Bought\nkWh",
    "Sold\nkWh",
    "\nContracts",
)


def _row(figures: Mapping[str, Decimal], currency: str) -> list[str]:
    """Return the bills, what trading saved, and the energies of one home or of all."""
    money = [figures[key] for key in ("bill_no_battery", "bill_alone", "bill_traded")]
    money.append(figures["bill_alone"] - figures["bill_traded"])
    # A currency of three letters stands in the title only: seven columns must fit 80 characters.
    amounts = [words.amount(value, currency).replace(f"{currency} ", "") for value in money]
    return [*amounts, *(f"{figures[key] / 1000:.2f}" for key in ("bought_wh", "sold_wh"))]


def _together(sums: Mapping[str, Decimal], currency: str) -> Text:
    alone, traded = sums["bill_alone"], sums["bill_traded"]
    said = words.compared(alone, traded, "without trading", currency, digits=1)
    style = "green" if cents(alone - traded) > 0 else ""
    return Text(f"Together the homes pay {words.amount(traded, currency)}: {said}.", style=style)


def _afterwards(report: Mapping[str, Any]) -> list[Text]:
    count = int(report.get("contracts_residual", 0))
    return [Text(f"Of the {report['contracts_counted']} contracts, {count} balanced afterwards.")] if count else []


def _verdict(report: Mapping[str, Any]) -> Text:
    mismatches, twice = int(report["ledger_mismatches"]), int(report["wh_sold_twice"])
    if mismatches == 0 and twice == 0:
        return Text("Every pair of ledgers agrees; no watt-hour was sold twice.", style="green")
    return Text(f"LEDGERS DISAGREE: {mismatches} mismatches, {twice} Wh sold twice.", style="bold red")
