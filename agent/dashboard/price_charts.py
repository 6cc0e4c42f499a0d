"""Options of the charts of prices and traded energy. Pure."""

from collections import Counter
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from agent.dashboard.charts import Frame, Options, Series, bars, base, frame, legend, line, now_line, rounded
from agent.dashboard.picture import HomePicture, Picture
from agent.dashboard.topics import Market, PlannedSlot, SettledSlot


def _prices(
    of: Frame,
    settled: dict[datetime, SettledSlot],
    markets: dict[datetime, Market],
    planned: dict[datetime, PlannedSlot],
) -> tuple[list[float | None], list[float | None], list[float | None]]:
    """Return grid asks, grid pays and neighbourhood price per kWh of every slot of the frame."""
    asks: list[float | None] = []
    pays: list[float | None] = []
    between: list[float | None] = []
    for start in of.starts:
        source = markets.get(start) or settled.get(start) or planned.get(start)
        asks.append(rounded(source.import_price_per_kwh, 4) if source else None)
        pays.append(rounded(source.export_price_per_kwh, 4) if source else None)
        between.append(rounded(source.price_per_kwh, 4) if source else None)
    return asks, pays, between


def _price_chart(
    of: Frame, zone: ZoneInfo, currency: str, prices: tuple[Series, Series, Series], volumes: list[Options]
) -> Options:
    options = base(of, zone, (f"{currency} per kWh".lstrip(), "Wh"))
    asks, pays, between = prices
    options["series"] = [
        *volumes,
        line("Grid asks", asks, "var(--grid)", step="middle", width=1.5),
        line("Grid pays", pays, "var(--grid)", step="middle", width=1.5, dash="dashed"),
        line("Between neighbours", between, "var(--trade)", step="middle", width=2.5, **now_line(of)),
    ]
    options["legend"]["data"] = legend(options["series"])
    return options


def community_prices(picture: Picture, now: datetime, length: timedelta, zone: ZoneInfo, currency: str) -> Options:
    """Return the neighbourhood price against the tariff, and the energy traded per slot."""
    homes = list(picture.homes.values())
    known = [start for home in homes for start in [*home.markets, *(s.start_at for s in home.settled())]]
    of = frame(now, length, known, ahead=timedelta(hours=3))
    settled = {s.start_at: s for home in homes for s in home.settled()}
    markets = {start: market for home in homes for start, market in home.markets.items()}
    planned = {s.start_at: s for home in homes if home.plan for s in home.plan.slots}
    traded: Counter[datetime] = Counter()
    for home in homes:
        traded.update(_bought_wh(home))
    volumes = [traded.get(start) for start in of.starts]
    volume_bars = [bars("Traded", volumes, "var(--trade-soft)", yAxisIndex=1)]
    return _price_chart(of, zone, currency, _prices(of, settled, markets, planned), volume_bars)


def _bought_wh(home: HomePicture) -> dict[datetime, int]:
    """Return what a home bought per slot; a settled slot knows better than the negotiation."""
    agreed = {start: market.bought_wh for start, market in home.markets.items()}
    return agreed | {slot.start_at: slot.bought_wh for slot in home.settled()}


def home_prices(home: HomePicture, now: datetime, length: timedelta, zone: ZoneInfo, currency: str) -> Options:
    """Return this home's prices with what it bought and sold per slot."""
    settled = {s.start_at: s for s in home.settled()}
    planned = {s.start_at: s for s in home.plan.slots} if home.plan else {}
    of = frame(now, length, [*settled, *home.markets])
    hours = length.total_seconds() / 3600
    bought: list[float | None] = []
    sold: list[float | None] = []
    wanted: list[float | None] = []
    for start in of.starts:
        source = settled.get(start) or home.markets.get(start)
        plan = planned.get(start)
        bought.append(source.bought_wh if source else None)
        sold.append(source.sold_wh if source else None)
        wanted.append(rounded(abs(plan.trade_w) * hours, 0) if plan and not source else None)
    volume_bars = [
        bars("Bought", bought, "var(--trade-soft)", yAxisIndex=1, stack="trade"),
        bars("Sold", sold, "var(--sun-soft)", yAxisIndex=1, stack="trade"),
        bars("Planned", wanted, "var(--hair)", yAxisIndex=1, stack="trade"),
    ]
    asks, pays, between = _prices(of, settled, home.markets, planned)
    if home.peers is not None and not home.neighbours():  # what the plan counts on then is nobody's price
        between = [None] * len(between)
    return _price_chart(of, zone, currency, (asks, pays, between), volume_bars)
