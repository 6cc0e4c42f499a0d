"""The page of several homes: who gives whom what, what it costs, what it brought."""

from collections.abc import Mapping
from datetime import timedelta

from agent.dashboard import attention, figures, price_charts, time_words, words
from agent.dashboard.cells import Rows, box, mark, show, text
from agent.dashboard.chart import Chart
from agent.dashboard.figures import CommunityFigures, HomeFigures
from agent.dashboard.header import Header
from agent.dashboard.homes import HomesTable
from agent.dashboard.money import Bills, PriceCard, SavingsCard
from agent.dashboard.neighbourhood import Neighbourhood
from agent.dashboard.picture import Picture
from agent.dashboard.settings import DashboardSettings

_NOTICES_SHOWN = 8
_DEFAULT_SLOT = timedelta(minutes=15)


class CommunityView:
    """Built once per visitor; `update` changes what changed."""

    def __init__(self, settings: DashboardSettings) -> None:
        names = [source.home for source in settings.sources]
        self._settings = settings
        self._header = Header(settings.title, settings.zone, settings.demo, back=None)
        with box("hero"):
            with box("card picture") as self._card:
                self._moment = text("", "label moment", "h2")
                self._neighbourhood = Neighbourhood(names)
            with box("side"):
                self._savings = SavingsCard("community")
                self._price = PriceCard("community")
        self._table = HomesTable(names)
        with box("pair"):
            with box("card"):
                text("Price and trade through the day", "label", "h2")
                self._chart = Chart()
            with box("card"):
                text("What happened", "label", "h2")
                self._log = Rows("log", ("log-time num", "log-home", "log-text"), "Nothing to report yet.")

    def update(self, picture: Picture, wall_s: float) -> None:
        community = figures.community_figures(picture)
        homes = {h.name: figures.home_figures(h, community.now, wall_s) for h in picture.homes.values()}
        silent = figures.silent(picture, wall_s)
        self._header.update(community, attention.warnings(picture, wall_s), silent=silent)
        mark(self._card, "stale", silent)
        show(self._moment, "No home is heard right now" if silent else "Right now")
        self._header.glance(words.amount(community.saved, community.currency), community.price, community.currency)
        self._neighbourhood.update(homes, community)
        self._table.update(homes)
        self._update_money(community, homes)
        self._update_chart(picture, community)
        entries = attention.notices(picture, _NOTICES_SHOWN)
        rows = [(time_words.when(n.at, community.now, self._settings.zone), home, n.text) for home, n in entries]
        self._log.show(rows, [n.level for _, n in entries])

    def _update_money(self, community: CommunityFigures, homes: Mapping[str, HomeFigures]) -> None:
        self._savings.update(
            Bills(
                currency=community.currency,
                no_battery=community.bill_no_battery,
                alone=community.bill_alone,
                traded=community.bill_traded,
                contracts=community.contracts,
                bought_wh=community.bought_wh,
                sold_wh=None if community.whole else community.sold_wh,
            )
        )
        buyers = sum((home.trading_w or 0) >= 1 for home in homes.values())
        volume = "No home is trading in this period."
        if community.trading_w >= 1:
            volume = f"{words.power(community.trading_w)} on its way to {buyers} {'home' if buyers == 1 else 'homes'}"
        low, high = community.export_prices, community.import_prices
        self._price.update(community.price, low, high, volume, community.currency)

    def _update_chart(self, picture: Picture, community: CommunityFigures) -> None:
        length = picture.slot_length() or _DEFAULT_SLOT
        if community.now is None:
            return
        now, zone, currency = community.now, self._settings.zone, community.currency
        key = (
            community.slot_start_at,
            currency,
            [(len(h.markets), h.day and h.day.at) for h in picture.homes.values()],
        )
        self._chart.show(key, lambda: price_charts.community_prices(picture, now, length, zone, currency))
