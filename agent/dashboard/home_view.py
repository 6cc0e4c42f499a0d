"""The page of one home: its power flow and money, three charts, its plan, its trades, its neighbours."""

from datetime import datetime, timedelta

from agent.dashboard import attention, charts, figures, price_charts, time_words, words
from agent.dashboard.cells import Rows, box, mark, show, text
from agent.dashboard.chart import Chart
from agent.dashboard.figures import HomeFigures
from agent.dashboard.flow import PowerFlow
from agent.dashboard.header import Header
from agent.dashboard.homes import HomeRow
from agent.dashboard.money import Bills, PriceCard, SavingsCard
from agent.dashboard.picture import HomePicture, Picture
from agent.dashboard.plan_words import plan_lines
from agent.dashboard.settings import DashboardSettings

_TRADES_SHOWN = 40
_NOTICES_SHOWN = 12
_DEFAULT_SLOT = timedelta(minutes=15)


class HomeView:
    """Built once per visitor; `update` changes what changed."""

    def __init__(self, settings: DashboardSettings, name: str) -> None:
        several = len(settings.sources) > 1
        self._settings, self._name = settings, name
        title = name if several else settings.title
        self._header = Header(title, settings.zone, settings.demo, back=settings.title if several else None)
        with box("hero"):
            with box("card picture") as self._card:
                self._moment = text("", "label moment", "h2")
                self._flow = PowerFlow()
                self._reason = text("", "reason", "p")
                self._market_reason = text("", "reason second", "p")
                self._balancing = text("", "reason second", "p")
            with box("side"):
                self._savings = SavingsCard(name)
                self._price = PriceCard("community")
        with box("card homes single"), box("homes-grid"):
            self._row = HomeRow(name, bills=False)
        self._build_charts()
        self._build_lists()

    def _build_charts(self) -> None:
        with box("pair"):
            with box("card"):
                text("Battery, measured and planned", "label", "h2")
                self._battery = Chart()
            with box("card"):
                text("Expected and measured", "label", "h2")
                self._forecast = Chart()
                self._accuracy = text("", "reason", "p")
        with box("pair"):
            with box("card"):
                text("Price and trade", "label", "h2")
                self._prices = Chart()
            with box("card"):
                text("Trades", "label", "h2")
                columns = ("when num", "who", "what num", "price num", "status")
                self._trades = Rows("trades", columns, "No trades yet.")

    def _build_lists(self) -> None:
        with box("card"):
            text("Plan for the next 24 hours", "label", "h2")
            columns = ("when num", "what", "trade", "level num", "why")
            self._gave_way = text("", "reason", "p")
            self._plan = Rows("plan", columns, "No plan yet.")
        with box("pair"):
            with box("card"):
                self._peers_title = text("Neighbours", "label", "h2")
                self._peers = Rows("peers", ("who", "status"), "No neighbour is known yet.")
                self._charter = Rows("facts", ("fact-name", "fact"), "")
            with box("card"):
                text("What happened", "label", "h2")
                self._log = Rows("log", ("log-time num", "log-text"), "Nothing to report yet.")

    def update(self, picture: Picture, wall_s: float) -> None:
        home = picture.homes[self._name]
        community = figures.community_figures(picture)
        now = community.now
        current = figures.home_figures(home, now, wall_s)
        mine = [warning for warning in attention.warnings(picture, wall_s) if warning[0] == self._name]
        self._header.update(community, mine, silent=figures.silent(picture, wall_s))
        self._header.glance(words.amount(current.saved, home.currency), current.price, home.currency)
        self._update_moment(current, now)
        self._flow.update(current)
        self._row.update(current)
        self._update_reasons(home, current, now)
        self._update_money(home, current)
        if now is not None:
            self._update_charts(home, now, (picture.slot_length() or _DEFAULT_SLOT))
        self._update_peers(home, current, now)
        self._update_lists(home, now, (picture.slot_length() or _DEFAULT_SLOT))

    def _update_moment(self, current: HomeFigures, now: datetime | None) -> None:
        mark(self._card, "stale", current.stale)
        if current.silent:
            show(self._moment, time_words.as_of(current.at, current.heard_s, now, self._settings.zone))
        else:
            show(self._moment, "Right now, but its readings are old or missing" if current.doubtful else "Right now")

    def _update_reasons(self, home: HomePicture, current: HomeFigures, now: datetime | None) -> None:
        show(self._reason, current.reason)
        mark(self._reason, "gone", not current.reason)
        said = words.market(home.market_at(now), now, self._settings.zone) if now else ""
        show(self._market_reason, said)
        mark(self._market_reason, "gone", not said)
        looked_back = words.accuracy(home.day.yesterday) if home.day and home.day.yesterday else ""
        show(self._accuracy, looked_back)
        mark(self._accuracy, "gone", not looked_back)
        state = home.state
        shared = words.balancing(state.sharing_with, state.shared_w) if state and state.sharing else ""
        show(self._balancing, shared)
        mark(self._balancing, "gone", not shared)

    def _update_money(self, home: HomePicture, current: HomeFigures) -> None:
        books = home.savings
        self._savings.update(
            Bills(
                currency=home.currency,
                no_battery=books.bill_no_battery if books else None,
                alone=books.bill_alone if books else None,
                traded=books.bill_traded if books else None,
                contracts=books.contracts if books else 0,
                bought_wh=books.bought_wh if books else 0,
                sold_wh=books.sold_wh if books else 0,
            )
        )
        low = () if current.export_price is None else (current.export_price,)
        high = () if current.import_price is None else (current.import_price,)
        known = current.trading_w is not None and not current.silent
        said = f"This home is {words.trading(current.trading_w)}." if known else ""
        missing = "not known" if current.silent else "no agreement for this period"
        self._price.update(current.price, low, high, said, home.currency, missing)

    def _update_charts(self, home: HomePicture, now: datetime, length: timedelta) -> None:
        zone, currency = self._settings.zone, home.currency
        running = int(now.timestamp()) // int(length.total_seconds())
        known = (home.day and home.day.at, home.plan and home.plan.at, len(home.markets), len(home.neighbours()))
        key = (running, currency, *known)
        self._battery.show(key, lambda: charts.battery_chart(home, now, length, zone))
        self._forecast.show(key, lambda: charts.forecast_chart(home, now, length, zone))
        self._prices.show(key, lambda: price_charts.home_prices(home, now, length, zone, currency))

    def _update_lists(self, home: HomePicture, now: datetime | None, length: timedelta) -> None:
        zone, currency = self._settings.zone, home.currency
        missed = words.gave_way(home.plan.gave_way) if home.plan else ""
        show(self._gave_way, missed)
        mark(self._gave_way, "gone", not missed)
        self._plan.show(plan_lines(home.plan.slots, now, length, zone) if home.plan and now else [])
        trades = home.trades()[:_TRADES_SHOWN]
        rows = [
            (
                time_words.span(start, start + length, now, zone),
                trade.partner,
                words.trade(trade),
                f"at {words.price(trade.price_per_kwh, currency)}",
                words.trade_status(trade),
            )
            for start, trade in trades
        ]
        self._trades.show(rows, [trade.status for _, trade in trades])
        log = home.notices.log[:_NOTICES_SHOWN] if home.notices else []
        self._log.show([(time_words.when(n.at, now, zone), n.text) for n in log], [n.level for n in log])

    def _update_peers(self, home: HomePicture, current: HomeFigures, now: datetime | None) -> None:
        peers, others = home.peers, home.neighbours()
        told = home.state is not None and home.state.sharing
        online = sum(peer.online for peer in others)
        there = "was online" if current.silent else "online"
        counted = f"{online} of {len(others)} {'were ' if current.silent else ''}online"
        show(self._peers_title, f"Neighbours: {counted}" if others else "Neighbours")
        rows = []
        for peer in others:
            seen = words.UNKNOWN
            if peer.last_seen_at is not None and now is not None:
                seen = f"last seen {time_words.ago(max(0.0, (now - peer.last_seen_at).total_seconds()))}"
            rows.append((peer.name, there if peer.online else seen))
        self._peers.show(rows, ["online" if peer.online and not current.silent else "away" for peer in others])
        facts: list[tuple[str, str]] = []
        if peers:
            rule = words.PRICE_RULES.get(peers.price_rule, peers.price_rule)
            facts = [
                ("Community", peers.community),
                ("Price rule", rule),
                ("Charter", peers.community_id[:16]),
                ("This home is known as", peers.self_id[:16]),
                ("What neighbours see of it", words.seen(masked=peers.masked, sharing=told)),
            ]
        self._charter.show(facts)
