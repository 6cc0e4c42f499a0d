"""How a negotiated horizon looks in a terminal."""

from decimal import Decimal

import numpy as np
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agent.dashboard import words
from agent.planning.problem import Floats
from agent.study.market import HomeDay, Market
from agent.study.market_prices import slot_prices
from agent.study.market_words import begin_words, effort_words, forecast_words, limit_words

SHOWN_MAX = 24
"""A longer list of homes is shown by its ends: who gains most and who gains least."""
ENDS = 6
BAR = 20
_BLOCKS = "▁▂▃▄▅▆▇█"


def market_view(market: Market, width: int) -> RenderableType:
    """Return the whole answer for a terminal of `width` characters."""
    return Group(
        _head(market), Text(), _ways(market), Text(), _homes(market), _prices(market, width), Text(), _effort(market)
    )


def _money(value: float, currency: str) -> str:
    return words.amount(Decimal(str(round(value, 6))), currency)


def _head(market: Market) -> Text:
    rule = words.PRICE_RULES[market.rules.price_rule]
    text = Text()
    text.append(market.community.name, "bold")
    text.append(f", {begin_words(market)}\n")
    text.append(f"{forecast_words(market)} Price: {rule}.", "dim")
    return text


def _bar(share: float, length: int = BAR) -> str:
    full = round(min(max(share, 0.0), 1.0) * length)
    return "█" * full + "░" * (length - full)


def share_words(share: float) -> str:
    """Say a share so that 99.9 % never reads as all of it."""
    return f"{100 * share:.1f} %" if abs(share) < 0.99949 else f"{100 * share:.2f} %"


def _ways(market: Market) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("This day, all homes")
    for title in ("Cost", "Saved"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("Of what is possible", no_wrap=True)
    currency = market.community.currency
    ways = (
        ("Every home alone", market.cost_alone, ""),
        ("Alone, then an auction per slot", market.cost_auction, ""),
        ("Commonwatt", market.cost_traded, "bold green"),
        ("One optimiser with all data", market.cost_optimum, ""),
    )
    for name, cost, style in ways:
        if cost is None:
            continue
        share = market.share(cost)
        saved = _money(market.cost_alone - cost, currency)
        known = share is not None and cost != market.cost_alone
        shown = f"{_bar(share)} {share_words(share):>8}" if known and share is not None else ""
        table.add_row(name, _money(cost, currency), saved if known else words.UNKNOWN, shown, style=style)
    return table


def _homes(market: Market) -> RenderableType:
    homes = sorted(market.homes, key=lambda home: -home.gain)
    most = max(max((home.gain for home in homes), default=0.0), 1e-9)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
    table.add_column("Home", overflow="fold", min_width=8)
    for title in ("Alone", "Trading", "Saved"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for title in ("Bought", "Sold"):
        table.add_column(title, justify="right", no_wrap=True)
    for home in homes if len(homes) <= SHOWN_MAX else homes[:ENDS]:
        _home_row(table, home, most, market.community.currency)
    if len(homes) > SHOWN_MAX:
        table.add_row(f"… {len(homes) - 2 * ENDS} more", style="dim")
        for home in homes[-ENDS:]:
            _home_row(table, home, most, market.community.currency)
    return table


def _home_row(table: Table, home: HomeDay, most: float, currency: str) -> None:
    lost = home.gain < -0.005
    table.add_row(
        Text(home.name),
        _money(home.cost_alone, currency),
        _money(home.cost_traded, currency),
        Text(_money(home.gain, currency), "red" if lost else "green"),
        Text("█" * round(12 * max(home.gain, 0.0) / most), "green"),
        words.energy(home.bought_wh) if home.bought_wh else words.UNKNOWN,
        words.energy(home.sold_wh) if home.sold_wh else words.UNKNOWN,
    )


def _prices(market: Market, width: int) -> RenderableType:
    prices = slot_prices(market)
    columns = min(len(prices.contract), max(24, min(width - 16, 72)))
    while len(prices.contract) % columns:
        columns -= 1
    low, high = float(prices.grid_buys.min()), float(prices.grid_sells.max())
    currency = market.community.currency
    table = Table.grid(padding=(0, 2))
    table.add_row(
        Text("per kWh", "dim"), Text(f"▁ {words.price(low, currency)} to █ {words.price(high, currency)}", "dim")
    )
    for name, values, style in (
        ("grid sells", prices.grid_sells, "yellow"),
        ("neighbours", prices.contract, "magenta"),
        ("grid buys", prices.grid_buys, "cyan"),
    ):
        if market.question.island and name != "neighbours":
            continue
        table.add_row(name, Text(_sparks(values, columns, low, high), style))
    table.add_row(Text("local time", "dim"), Text(_hours(market, columns), "dim"))
    return table


def _sparks(values: Floats, columns: int, low: float, high: float) -> str:
    """Return one block per column, as high as the mean of its slots; a dot where nothing was traded."""
    marks = []
    for part in np.split(values, columns):
        known = part[np.isfinite(part)]
        if not known.size:
            marks.append("·")
            continue
        level = (float(known.mean()) - low) / max(high - low, 1e-9)
        marks.append(_BLOCKS[min(int(min(max(level, 0.0), 1.0) * len(_BLOCKS)), len(_BLOCKS) - 1)])
    return "".join(marks)


def _hours(market: Market, columns: int) -> str:
    """Return a scale of local hours below the blocks, about every eighth of the width."""
    slots = market.slots
    step, line = len(slots) // columns, ""
    for column in range(0, columns, max(columns // 8, 3)):
        at = slots[column * step].start_at.astimezone(market.community.timezone)
        line = line.ljust(column) + f"{at:%H}"
    return line


def _effort(market: Market) -> Text:
    return Text("\n".join([effort_words(market), *limit_words(market)]), "dim")
