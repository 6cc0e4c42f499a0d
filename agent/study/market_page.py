"""report.html of a negotiated horizon: one file, pictures inside, readable without a network."""

from dataclasses import dataclass
from decimal import Decimal
from html import escape
from pathlib import Path

import numpy as np

from agent.dashboard import words
from agent.study import pictures
from agent.study.market import HomeDay, Market
from agent.study.market_prices import slot_prices
from agent.study.market_words import begin_words, effort_words, forecast_words, limit_words
from agent.study.round_table import matched_trades

_CSS = """
:root { color-scheme: light; --ink: #1f2937; --faint: #6b7280; --line: #e5e7eb; --green: #15803d; --red: #b91c1c; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: #fff; max-width: 52rem; margin: 2.5rem auto;
  padding: 0 1.25rem; }
h1 { font-size: 1.7rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .25rem; }
p { margin: .25rem 0 .75rem; } .faint { color: var(--faint); }
.ways { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .75rem; margin: 1.5rem 0; }
.way { border: 1px solid var(--line); border-radius: .6rem; padding: .8rem .9rem; }
.way b { display: block; font-size: 1.35rem; } .way.ours { border-color: var(--green); }
.track { height: .4rem; border-radius: .2rem; background: var(--line); margin-top: .5rem; overflow: hidden; }
.track i { display: block; height: 100%; background: var(--green); }
svg { width: 100%; height: auto; }
table { border-collapse: collapse; width: 100%; font-size: .95rem; font-variant-numeric: tabular-nums; }
th { text-align: right; font-weight: 500; color: var(--faint); } th:first-child, td:first-child { text-align: left; }
td, th { padding: .25rem .5rem; border-bottom: 1px solid var(--line); } td { text-align: right; }
.gain { color: var(--green); } .loss { color: var(--red); }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What one round's bids were worth.

    Args:
        captured: Share of the possible gain if the round had been the last; None when there is nothing to gain.
        unmatched_wh: Sum over the horizon of |sum of all bids|.
    """

    captured: float | None
    unmatched_wh: int


def progress_by_round(market: Market) -> list[Progress]:
    """Return what the contracts of each round would have been worth; needs a market that kept its rounds."""
    found = []
    for each in market.talk:
        trades = matched_trades(each)
        cost = sum(planner.schedule(trades[home]).schedule.cost for home, planner in market.planners.items())
        unmatched_wh = sum(abs(sum(column)) for column in zip(*each.bids_wh.values(), strict=True))
        found.append(Progress(captured=market.share(cost), unmatched_wh=unmatched_wh))
    return found


def write_market_page(path: Path, market: Market) -> None:
    path.write_text(market_page(market), encoding="utf-8")


def market_page(market: Market) -> str:
    """Return the page; how the homes came to agree is on it when the market kept its rounds."""
    name = escape(market.community.name)
    sections = (
        *([("How the homes came to agree", _AGREE, _convergence(market))] if market.talk else []),
        ("The price between neighbours", _price_words(market), _prices(market)),
        ("What every home saves", _gain_words(market), _gains(market)),
        ("Who trades with whom", _PARTNERS, _partners(market)),
        ("Home by home", _TABLE, _table(market)),
    )
    body = "\n".join(f"<section><h2>{title}</h2><p>{text}</p>{picture}</section>" for title, text, picture in sections)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{name}: one day of trading</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_CSS}</style></head><body><h1>{name}</h1>{_head(market)}{_ways(market)}{body}"
        f'<p class="faint">{_FILES}</p></body></html>\n'
    )


_AGREE = (
    "Every round each home answers the prices with what it would buy and sell, and computes the next prices itself "
    "from all bids. Below: how much of the possible gain the bids of a round would miss, and how far they are from "
    "adding up."
)
_PARTNERS = "Rows sell, columns buy. Pairs come from a rotation of the homes' ids, so over many slots everybody meets."
_TABLE = "Costs are tariff, contracts and battery wear, minus the value of what stays stored."
_FILES = (
    "contracts.csv, flows.csv and constants.json beside this page hold all that the figures follow from; times in them "
    "are UTC."
)


def _money(market: Market, value: float) -> str:
    return words.amount(Decimal(str(round(value, 6))), market.community.currency)


def _head(market: Market) -> str:
    said = [
        f"{begin_words(market)} ({escape(market.community.timezone.key)}).",
        forecast_words(market),
        effort_words(market),
        *limit_words(market),
    ]
    return f'<p class="faint">{" ".join(said)}</p>'


def _ways(market: Market) -> str:
    cards = []
    for name, cost, ours in (
        ("Every home alone", market.cost_alone, False),
        ("Alone, then an auction", market.cost_auction, False),
        ("Commonwatt", market.cost_traded, True),
        ("One optimiser with all data", market.cost_optimum, False),
    ):
        if cost is None:
            continue
        share = market.share(cost)
        said = "" if share is None else f"{100 * share:.1f} % of the possible gain"
        width = 0.0 if share is None else 100 * min(max(share, 0.0), 1.0)
        cards.append(
            f'<div class="way{" ours" if ours else ""}">{name}<b>{_money(market, cost)}</b>'
            f'<span class="faint">{said}</span><div class="track"><i style="width:{width:.1f}%"></i></div></div>'
        )
    return f'<div class="ways">{"".join(cards)}</div>'


def _convergence(market: Market) -> str:
    progress = progress_by_round(market)
    missing = [None if each.captured is None else 1 - each.captured for each in progress]
    return pictures.convergence(missing, [each.unmatched_wh for each in progress])


def _price_words(market: Market) -> str:
    rule = words.PRICE_RULES[market.rules.price_rule]
    return f"The charter's rule: {rule}. Where the line is missing, nobody had anything to trade."


def _prices(market: Market) -> str:
    found = slot_prices(market)
    slots = market.slots
    return pictures.prices(
        [*(slot.start_at for slot in slots), slots[-1].end_at],
        market.community.timezone,
        grid_sells=found.grid_sells,
        grid_buys=found.grid_buys,
        contract=found.contract,
        unit=f"{market.community.currency} per kWh",
    )


def _gain_words(market: Market) -> str:
    gains = [home.gain for home in market.homes]
    middle = _money(market, float(np.median(gains)))
    losers = sum(gain < -0.005 for gain in gains)
    marks = "" if market.cost_auction is None else "The marks show the auction."
    lost = "Nobody loses" if not losers else f"{losers} of {len(gains)} homes lose"
    return f"{lost}; the middle home saves {middle}. {marks}"


def _gains(market: Market) -> str:
    return pictures.gains(
        [home.name for home in market.homes],
        [home.gain for home in market.homes],
        None if market.cost_auction is None else [_auction_gain(home) for home in market.homes],
        f"{market.community.currency} saved against being alone",
    )


def _auction_gain(home: HomeDay) -> float:
    return 0.0 if home.cost_auction is None else home.cost_alone - home.cost_auction


def _partners(market: Market) -> str:
    place = {home.name: i for i, home in enumerate(market.homes)}
    energy_kwh = np.zeros((len(place), len(place)))
    for trade in market.trades:
        energy_kwh[place[trade.seller], place[trade.buyer]] += trade.energy_wh / 1000
    return pictures.partners(list(place), energy_kwh)


def _table(market: Market) -> str:
    rows = []
    for home in sorted(market.homes, key=lambda home: -home.gain):
        style = "loss" if home.gain < -0.005 else "gain"
        cells = (
            *(
                _money(market, cost)
                for cost in (home.cost_alone, home.cost_alone - _auction_gain(home), home.cost_traded)
            ),
            f'<span class="{style}">{_money(market, home.gain)}</span>',
            words.energy(home.bought_wh),
            words.energy(home.sold_wh),
        )
        rows.append(f"<tr><td>{escape(home.name)}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    titles = "".join(
        f"<th>{title}</th>" for title in ("Home", "Alone", "Auction", "Trading", "Saved", "Bought", "Sold")
    )
    return f"<table><tr>{titles}</tr>{''.join(rows)}</table>"
