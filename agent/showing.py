"""Turns what the home knows into its own MQTT topics. Pure: models in, models out."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal

from agent.control.controller import Shared
from agent.control.ports import GuardStatus
from agent.dashboard.topics import (
    Accuracy,
    Day,
    Market,
    Peer,
    Peers,
    PlannedSlot,
    SettledSlot,
    State,
    Trade,
)
from agent.dashboard.topics import Plan as PlanTopic
from agent.dashboard.topics import Savings as SavingsTopic
from agent.devices.reading import HomeReading
from agent.forecast.evaluation import DayAccuracy
from agent.household import Settled, SlotTarget
from agent.planning.planner import Plan
from agent.savings import Savings
from coordinator.charter import Charter
from coordinator.contracts import Contract, Status
from coordinator.masked_events import MaskedFinished
from coordinator.negotiation import Finished
from coordinator.peers import Presence
from coordinator.quantities import from_micro
from coordinator.slots import Slot

_STATUS = {Status.OFFERED: "offered", Status.BOUND: "bound", Status.ACCEPTED: "bound", Status.COUNTED: "counted"}


def state(
    home: str, reading: HomeReading, guard: GuardStatus, target: SlotTarget | None, shared: Shared | None = None
) -> State:
    return State(
        home=home,
        at=reading.at,
        grid_w=reading.grid_w,
        pv_w=reading.pv_w,
        battery_w=reading.battery_w,
        load_w=reading.load_w,
        soc_pct=reading.soc_pct,
        quality=reading.quality,
        control=guard.control,
        target_w=guard.target_w,
        reason=guard.reason,
        trading_w=target.traded_wh / target.slot.hours if target else 0.0,
        sharing=shared is not None,
        sharing_with=shared.homes if shared else 0,
        shared_w=round(shared.given_w, 1) if shared else 0.0,
    )


def trades(me: str, charter: Charter, contracts: Iterable[Contract]) -> list[Trade]:
    """Return the contracts as this home sees them; the partner by its display name."""
    return [
        Trade.model_validate(
            {
                "contract_id": c.id,
                "partner": charter.ever[c.partner(me)].name,
                "energy_wh": c.energy_wh if c.buyer == me else -c.energy_wh,
                "price_per_kwh": from_micro(c.price_micro),
                "status": _STATUS.get(c.status, "void"),
                "trade": c.trade,
            }
        )
        for c in contracts
    ]


def _why(result: Finished | None, bought_wh: int, sold_wh: int, me: str) -> str:
    """Say in one sentence why this home traded or did not."""
    if bought_wh or sold_wh:
        verb, amount = ("bought", bought_wh) if bought_wh else ("sold", sold_wh)
        return f"{verb} {amount} Wh: better than the grid's price for both sides"
    if result is None:
        return "no negotiation for this slot"
    if result.homes < 2:
        return "no neighbour took part"
    wanted_wh = result.bids_wh[me][0]
    if wanted_wh == 0:
        return "nothing wanted at the neighbourhood's price"
    if isinstance(result, MaskedFinished):
        return f"no neighbour had any left to {'sell' if wanted_wh > 0 else 'buy'}, or none answered in time"
    others = [bid[0] for home, bid in result.bids_wh.items() if home != me]
    if wanted_wh > 0 and min(others) >= 0:
        return "no neighbour had energy left to sell"
    if wanted_wh < 0 and max(others) <= 0:
        return "no neighbour wanted to buy"
    return "no contract came about in time"


def given_up(result: tuple[Finished, int] | None) -> str:
    """Say that masked bids were given up, and what that showed; nothing where they were not."""
    if result is None or not result[0].opened:
        return ""
    at = result[0].slot.start_at
    return (
        f"masked bids of {at:%H:%M} UTC were given up ({result[0].opened}): neighbours saw that period's bid, no later"
    )


def market(
    home: str,
    at: datetime,
    slot: Slot,
    result: tuple[Finished, int] | None,
    made: Sequence[Trade],
    tariff_micro: tuple[int, int],
    me: str,
) -> Market:
    """Return the slot's market as this home sees it; a price only where neighbours negotiated one."""
    alive = [t for t in made if t.status != "void"]
    bought_wh = sum(t.energy_wh for t in alive if t.energy_wh > 0)
    sold_wh = -sum(t.energy_wh for t in alive if t.energy_wh < 0)
    finished = result[0] if result else None
    price_micro = result[1] if result and result[0].homes > 1 else None
    return Market(
        home=home,
        at=at,
        slot_start_at=slot.start_at,
        slot_end_at=slot.end_at,
        rounds=finished.rounds if finished else 0,
        price_per_kwh=None if price_micro is None else from_micro(price_micro),
        import_price_per_kwh=from_micro(tariff_micro[0]),
        export_price_per_kwh=from_micro(tariff_micro[1]),
        bought_wh=bought_wh,
        sold_wh=sold_wh,
        unmatched_wh=finished.unmatched_wh if finished else 0,
        trades=list(made),
        reason="; ".join(filter(None, [_why(finished, bought_wh, sold_wh, me), given_up(result)])),
    )


def plan(home: str, at: datetime, plan: Plan) -> PlanTopic:
    s, p = plan.schedule, plan.problem
    used_w = p.load_w - s.unserved_w + sum(flow.charge_w for flow in s.flexible)
    given_w = s.battery_w + sum(flow.discharge_w for flow in s.flexible)
    return PlanTopic(
        home=home,
        at=at,
        slots=[
            PlannedSlot(
                start_at=slot.start_at,
                load_w=round(float(used_w[i]), 1),
                pv_w=round(float(p.pv_w[i] - s.curtailed_w[i]), 1),
                battery_w=round(float(given_w[i]), 1),
                trade_w=round(float(s.trade_w[i]), 1),
                grid_w=round(float(s.import_w[i] - s.export_w[i] + s.trade_w[i]), 1),
                soc_pct=None if plan.soc_pct is None else round(float(plan.soc_pct[i]), 2),
                import_price_per_kwh=float(p.import_per_kwh[i]),
                export_price_per_kwh=float(p.export_per_kwh[i]),
                price_per_kwh=round(float(plan.price_per_kwh[i]), 6),
                reason=plan.reasons[i],
            )
            for i, slot in enumerate(plan.first.horizon(p.slots))
        ],
        gave_way=list(plan.gave_way),
    )


def day(
    home: str,
    at: datetime,
    settled: Iterable[Settled],
    me: str,
    charter: Charter,
    yesterday: DayAccuracy | None = None,
) -> Day:
    return Day(
        home=home,
        at=at,
        slots=[_settled(s, me, charter) for s in settled],
        yesterday=None if yesterday is None else Accuracy(**asdict(yesterday)),
    )


def _settled(s: Settled, me: str, charter: Charter) -> SettledSlot:
    # What was balanced afterwards has a price per pair: only what was agreed beforehand says what the slot's price was.
    agreed = [c for c in s.contracts if c.status is Status.COUNTED and c.trade == "slot"]
    agreed_wh = sum(c.energy_wh for c in agreed)
    price = (
        sum((from_micro(c.price_micro) * c.energy_wh for c in agreed), Decimal(0)) / agreed_wh if agreed_wh else None
    )
    return SettledSlot(
        start_at=s.energy.slot.start_at,
        load_wh=round(s.energy.load_wh or 0.0, 2),
        pv_wh=round(s.energy.pv_wh or 0.0, 2),
        battery_wh=round(s.energy.battery_wh or 0.0, 2),
        import_wh=max(s.energy.net_wh, 0),
        export_wh=max(-s.energy.net_wh, 0),
        soc_pct=s.energy.soc_pct,
        bought_wh=s.bill.bought_wh,
        sold_wh=s.bill.sold_wh,
        price_per_kwh=None if price is None else round(price, 6),
        forecast_load_wh=s.forecast_load_wh,
        forecast_pv_wh=s.forecast_pv_wh,
        import_price_per_kwh=from_micro(s.tariff_micro[0]),
        export_price_per_kwh=from_micro(s.tariff_micro[1]),
        trades=trades(me, charter, s.contracts),
    )


def savings(home: str, at: datetime, books: Savings, currency: str, since: datetime) -> SavingsTopic:
    return SavingsTopic(
        home=home,
        at=at,
        currency=currency,
        since_at=since,
        slots=books.slots,
        bill_no_battery=books.bill_no_battery,
        bill_alone=books.bill_alone,
        bill_traded=books.bill_traded,
        bought_wh=books.bought_wh,
        sold_wh=books.sold_wh,
        imported_wh=books.import_wh,
        exported_wh=books.export_wh,
        utility_wh=books.utility_wh,
        contracts=books.contracts,
        contracts_void=books.contracts_void,
        rounds_mean=round(books.rounds_mean, 3),
    )


def peers(home: str, at: datetime, me: str, charter: Charter, presence: Presence) -> Peers:
    return Peers(
        home=home,
        at=at,
        community=charter.name,
        community_id=charter.community_id,
        self_id=me,
        price_rule=charter.rules.price_rule,
        currency=charter.currency,
        masked=bool(charter.rules.masked),
        members=[
            Peer(
                id=member.id,
                name=member.name,
                online=member.id == me or presence.is_online(member.id),
                last_seen_at=presence.last_heard_at(member.id),
            )
            for member in charter.homes
        ],
    )
