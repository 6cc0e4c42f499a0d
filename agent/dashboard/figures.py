"""From a picture to figures: what a home and its community do right now and what it came to. Pure."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from agent.dashboard.picture import HomePicture, Picture
from agent.dashboard.topics import Market, Savings

STALE_AFTER_S = 12.0
"""Wall seconds without a state after which a home's figures are shown as old: two missed polls of the slowest kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeFigures:
    """One home at a moment. Powers in W, signed as everywhere; None is unknown."""

    name: str
    at: datetime | None
    """When the home said so, by its clock."""
    load_w: float | None
    pv_w: float | None
    battery_w: float | None
    grid_w: float | None
    soc_pct: float | None
    trading_w: float | None
    currency: str
    """Of all amounts; empty: not known yet."""
    price: Decimal | None
    import_price: Decimal | None
    export_price: Decimal | None
    savings: Savings | None
    has_pv: bool
    has_battery: bool
    heard_s: float | None
    """Wall seconds since the home was last heard; None: never."""
    link_up: bool
    doubtful: bool
    """The home itself says that its readings are old or missing."""
    reason: str
    contracts: int | None

    @property
    def silent(self) -> bool:
        return self.heard_s is None or self.heard_s > STALE_AFTER_S

    @property
    def stale(self) -> bool:
        return self.doubtful or self.silent

    @property
    def saved(self) -> Decimal | None:
        return self.savings.bill_alone - self.savings.bill_traded if self.savings else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Energy that one home sells another in the running slot."""

    seller: str
    buyer: str
    energy_wh: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CommunityFigures:
    """The homes together, as far as they are known."""

    now: datetime | None
    slot_start_at: datetime | None
    slot_end_at: datetime | None
    currency: str
    """Empty while not known, and where homes differ: then nothing is summed."""
    price: Decimal | None
    import_prices: tuple[Decimal, ...]
    export_prices: tuple[Decimal, ...]
    bill_no_battery: Decimal | None
    bill_alone: Decimal | None
    bill_traded: Decimal | None
    bought_wh: int
    sold_wh: int
    contracts: int | None
    """Each once; None where partners may be elsewhere: homes tell how many they have, not with whom."""
    whole: bool
    """Whether every home of the community is on the page: what one buys another sells."""
    slots: int
    trading_w: float
    flows: tuple[Flow, ...]

    @property
    def saved(self) -> Decimal | None:
        return None if self.bill_alone is None or self.bill_traded is None else self.bill_alone - self.bill_traded


def has_pv(home: HomePicture) -> bool:
    """Say whether the home has ever shown or planned any generation: an absent inverter at night is still one."""
    seen = home.state is not None and (home.state.pv_w or 0) > 1
    planned = home.plan is not None and any(slot.pv_w > 1 for slot in home.plan.slots)
    return seen or planned or any(slot.pv_wh > 0 for slot in home.settled())


def has_battery(home: HomePicture) -> bool:
    planned = home.plan is not None and any(slot.soc_pct is not None for slot in home.plan.slots)
    return planned or (home.state is not None and home.state.soc_pct is not None)


def home_figures(home: HomePicture, now: datetime | None, wall_s: float) -> HomeFigures:
    """Return one home's figures at `now`; `wall_s` is the monotonic second that ages are counted to."""
    state, market = home.state, home.market_at(now) if now else None
    return HomeFigures(
        name=home.name,
        at=state.at if state else None,
        load_w=state.load_w if state else None,
        pv_w=state.pv_w if state else None,
        battery_w=state.battery_w if state else None,
        grid_w=state.grid_w if state else None,
        soc_pct=state.soc_pct if state else None,
        trading_w=state.trading_w if state else None,
        currency=home.currency,
        price=market.price_per_kwh if market else None,
        import_price=market.import_price_per_kwh if market else None,
        export_price=market.export_price_per_kwh if market else None,
        savings=home.savings,
        has_pv=has_pv(home),
        has_battery=has_battery(home),
        heard_s=home.age_s(wall_s),
        link_up=home.link_up,
        doubtful=state is not None and state.quality != "valid",
        reason=state.reason if state else "",
        contracts=home.savings.contracts if home.savings else None,
    )


def silent(picture: Picture, wall_s: float) -> bool:
    """Say whether no home at all is heard."""
    ages = [home.age_s(wall_s) for home in picture.homes.values()]
    return all(age_s is None or age_s > STALE_AFTER_S for age_s in ages)


def _names(picture: Picture) -> dict[str, str]:
    """Return every name a home goes by in other homes' trades: its own, its pseudonym, and what peers call it."""
    names = {name: name for name in picture.homes}
    names.update({home.peers.self_id: home.name for home in picture.homes.values() if home.peers})
    for home in picture.homes.values():
        for peer in home.peers.members if home.peers else []:
            if peer.id in names:
                names.setdefault(peer.name, names[peer.id])
    return names


def running_flows(picture: Picture, now: datetime | None) -> tuple[Flow, ...]:
    """Return what homes of the picture sell each other in the running slot, one flow per pair.

    Both partners publish a contract: it counts once. Void contracts move nothing.
    """
    names = _names(picture)
    contracts: dict[str, tuple[str, str, int]] = {}
    for home in picture.homes.values():
        market = home.market_at(now) if now else None
        for trade in market.trades if market else []:
            partner = names.get(trade.partner)
            if partner is not None and partner != home.name and trade.status != "void" and trade.energy_wh:
                pair = (partner, home.name) if trade.energy_wh > 0 else (home.name, partner)
                contracts[trade.contract_id] = (*pair, abs(trade.energy_wh))
    energy_wh: Counter[tuple[str, str]] = Counter()
    for seller, buyer, sold_wh in contracts.values():
        energy_wh[seller, buyer] += sold_wh
    return tuple(Flow(seller=seller, buyer=buyer, energy_wh=wh) for (seller, buyer), wh in sorted(energy_wh.items()))


def community_figures(picture: Picture) -> CommunityFigures:
    """Return the sums over all homes. A bill is summed only once every home has one, in one currency."""
    now = picture.now()
    markets = [m for home in picture.homes.values() if now and (m := home.market_at(now))]
    start_at, end_at = _slot_at(picture, now, markets)
    savings = [home.savings for home in picture.homes.values() if home.savings]
    currencies = {home.currency for home in picture.homes.values()} - {""}
    known = savings if len(savings) == len(picture.homes) and len(currencies) == 1 else []
    states = [home.state for home in picture.homes.values() if home.state]
    whole = _is_whole(picture)

    def total(of: Callable[[Savings], Decimal]) -> Decimal | None:
        return sum(map(of, known), Decimal(0)) if known else None

    return CommunityFigures(
        now=now,
        slot_start_at=start_at,
        slot_end_at=end_at,
        currency=currencies.pop() if len(currencies) == 1 else "",
        price=_most_common([m.price_per_kwh for m in markets if m.price_per_kwh is not None]),
        import_prices=_range([m.import_price_per_kwh for m in markets]),
        export_prices=_range([m.export_price_per_kwh for m in markets]),
        bill_no_battery=total(lambda s: s.bill_no_battery),
        bill_alone=total(lambda s: s.bill_alone),
        bill_traded=total(lambda s: s.bill_traded),
        bought_wh=sum(s.bought_wh for s in savings),
        sold_wh=sum(s.sold_wh for s in savings),
        contracts=sum(s.contracts for s in savings) // 2 if whole else None,
        whole=whole,
        slots=max((s.slots for s in savings), default=0),
        trading_w=sum(max(0.0, state.trading_w) for state in states),
        flows=running_flows(picture, now),
    )


def _is_whole(picture: Picture) -> bool:
    known = [home.peers for home in picture.homes.values() if home.peers]
    here = {peers.self_id for peers in known}
    return len(known) == len(picture.homes) and all(peer.id in here for peers in known for peer in peers.members)


def _slot_at(
    picture: Picture, now: datetime | None, markets: Sequence[Market]
) -> tuple[datetime | None, datetime | None]:
    if markets:
        return markets[0].slot_start_at, markets[0].slot_end_at
    length = picture.slot_length()
    if now is None or length is None:
        return None, None
    start_s = int(now.timestamp()) // int(length.total_seconds()) * int(length.total_seconds())
    start_at = datetime.fromtimestamp(start_s, now.tzinfo)
    return start_at, start_at + length


def _most_common(prices: Sequence[Decimal]) -> Decimal | None:
    return Counter(prices).most_common(1)[0][0] if prices else None


def _range(prices: Sequence[Decimal]) -> tuple[Decimal, ...]:
    return tuple(sorted({min(prices), max(prices)})) if prices else ()
