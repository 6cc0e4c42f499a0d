"""One horizon of a community's market in one process, its forecasts taken as true, and what else the homes could do.

Four ways to spend the same day: every home plans alone; alone, and then an auction of every slot's surpluses; the
negotiation of the product with the contracts that follow from it; one optimiser with everybody's data.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np

from agent.planning.central import central_optimum
from agent.planning.home_model import HomeModel, Schedule
from agent.planning.planner import Planner
from agent.simulator.community import Community
from agent.study.auction import Clearing, Order, clear
from agent.study.dealing import Tariffs, Trade, deal, net_wh, paid
from agent.study.homes import planner_of
from agent.study.round_table import Outcome, negotiate
from coordinator.charter import DEFAULT_RULE, PriceRule, Rules
from coordinator.errors import ConfigError
from coordinator.negotiation import Finished
from coordinator.quantities import to_micro
from coordinator.slots import Slot

DAY = timedelta(days=1)
WEEK = timedelta(days=7)
HORIZON_MAX = 288
WORTH_SHARING = 1e-4
"""A possible gain below this, in currency for all homes together, is the solvers' accuracy and no gain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to negotiate.

    Args:
        at: Begin of the horizon; None for a week after the record begins, or its begin when it is shorter than that.
        rounds: At most so many; None for the charter's default.
        loss: Probability that one receiver loses one copy of a message.
        rule: How contracts are priced.
        feeder_limit_w: Most that all homes together may exchange with the grid; 0 for no limit.
        island: The grid is lost.
        seed: Of the losses.
    """

    at: datetime | None = None
    rounds: int | None = None
    loss: float = 0.0
    rule: PriceRule = DEFAULT_RULE
    feeder_limit_w: int = 0
    island: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeDay:
    """One home's horizon. Costs are in currency: tariff, wear and contracts, minus the value of what stays stored.

    Args:
        traded: The plan that serves the contracts best.
        short_wh: Of the contracts, what the home could only serve by handing on energy from the grid.
    """

    name: str
    cost_alone: float
    cost_auction: float | None
    cost_traded: float
    bought_wh: int
    sold_wh: int
    traded: Schedule
    soc_pct: Sequence[float] | None
    short_wh: float

    @property
    def gain(self) -> float:
        return self.cost_alone - self.cost_traded


@dataclass(frozen=True, kw_only=True)
class Market:
    """The answer.

    Args:
        known: The record itself was the forecast: there is no past to forecast from.
        tariffs: Import and export price by home and slot.
        auctions: Clearing of every slot, after everybody planned alone; empty on an island, where grid prices, which
            the auction lives between, do not exist.
        talk: The rounds, when they were asked for.
    """

    community: Community
    question: Question
    first: Slot
    rules: Rules
    known: bool
    planners: Mapping[str, Planner]
    tariffs: Tariffs
    outcome: Outcome
    trades: Sequence[Trade]
    auctions: Sequence[Clearing]
    homes: Sequence[HomeDay]
    cost_optimum: float
    talk: Sequence[Finished] = field(default=())

    @cached_property
    def cost_alone(self) -> float:
        return sum(home.cost_alone for home in self.homes)

    @cached_property
    def cost_auction(self) -> float | None:
        costs = [home.cost_auction for home in self.homes if home.cost_auction is not None]
        return sum(costs) if costs else None

    @cached_property
    def cost_traded(self) -> float:
        return sum(home.cost_traded for home in self.homes)

    @property
    def slots(self) -> list[Slot]:
        return list(self.first.horizon(self.rules.horizon_slots))

    @property
    def grid_peak_w(self) -> float:
        """The largest exchange of all homes together with the grid, in either direction."""
        return float(np.abs(np.sum([home.traded.grid_w for home in self.homes], axis=0)).max())

    def unserved_wh(self, *, trading: bool) -> tuple[float, float]:
        """Return the load that stays unserved on an island, and the critical part of it."""
        alone = [planner.alone for planner in self.planners.values()]
        plans = [home.traded for home in self.homes] if trading else alone
        all_w = sum(float(plan.unserved_w.sum()) for plan in plans)
        critical_w = sum(float(plan.critical_unserved_w.sum()) for plan in plans)
        return all_w * self.first.hours, critical_w * self.first.hours

    def share(self, cost: float | None) -> float | None:
        """Return which share of the possible gain a community cost stands for; None when there is nothing to gain."""
        possible = self.cost_alone - self.cost_optimum
        return None if cost is None or possible < WORTH_SHARING else (self.cost_alone - cost) / possible

    def figures(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {
            "homes": len(self.homes),
            "slots": self.rules.horizon_slots,
            "rounds": self.outcome.rounds,
            "cost_alone": round(self.cost_alone, 6),
            "cost_auction": _rounded(self.cost_auction),
            "cost_traded": round(self.cost_traded, 6),
            "cost_optimum": round(self.cost_optimum, 6),
            "captured": _rounded(self.share(self.cost_traded)),
            "captured_auction": _rounded(self.share(self.cost_auction)),
            "ms_per_answer": round(self.outcome.ms_per_answer, 3),
            "bytes_per_home_per_round": round(self.outcome.bytes_per_home_per_round),
            "unmatched_wh": self.outcome.agreed.unmatched_wh,
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


OnStep = Callable[[str, int, int], None]
"""Told of progress: what is being done, how much of it is done, and of how much."""


def solve(
    community: Community, question: Question, *, on_step: OnStep | None = None, keep_rounds: bool = False
) -> Market:
    """Negotiate one horizon and compare.

    Args:
        keep_rounds: Keep what was said in every round.

    Raises:
        ConfigError: If the time lies outside the record or the tariffs, or nobody has anything to trade with.
    """
    tell = on_step or (lambda what, done, of: None)
    first, known = when(community, question.at)
    rules = rules_of(community, question)
    _check_somebody_can_sell(community)
    planners = {}
    for number, home in enumerate(community.homes):
        tell("forecasts", number, len(community.homes))
        planners[home.name] = planner_of(community, home, first, rules, known=known, island=question.island)
    talk: list[Finished] = []

    def heard(result: Finished) -> None:
        tell("rounds", result.rounds, rules.round_limit)
        if keep_rounds:
            talk.append(result)

    outcome = negotiate(
        planners,
        _openings(planners, question),
        slot=first,
        rules=rules,
        loss=question.loss,
        seed=question.seed,
        on_round=heard,
    )
    tell("comparison", 0, 1)
    tariffs = {home: tariff_micro(planner) for home, planner in planners.items()}
    trades = deal(outcome.views, tariffs, rules)
    auctions = [] if question.island else auction_after_alone(planners, tariffs)
    return Market(
        community=community,
        question=question,
        first=first,
        rules=rules,
        known=known,
        planners=planners,
        tariffs=tariffs,
        outcome=outcome,
        trades=trades,
        auctions=auctions,
        homes=[_day_of(name, planner, tariffs[name], trades, auctions) for name, planner in planners.items()],
        cost_optimum=central_optimum(
            [planner.problem for planner in planners.values()],
            feeder_limit_w=question.feeder_limit_w or float("inf"),
        ),
        talk=talk,
    )


def _openings(planners: Mapping[str, Planner], question: Question) -> dict[str, list[int]]:
    """Return every home's opening prices; a feeder that nobody has felt yet opens at a price of nothing."""
    openings = {}
    for home, planner in planners.items():
        prices = planner.opening_prices()
        openings[home] = [*prices, *([0] * len(prices))] if question.feeder_limit_w else prices
    return openings


def when(community: Community, at: datetime | None) -> tuple[Slot, bool]:
    """Return the first slot of the horizon, and whether the record itself must serve as the forecast.

    It must when it is a single day: nothing lies before.

    Raises:
        ConfigError: If the time lies outside the record.
    """
    length = timedelta(seconds=community.slot_s)
    begin, end = community.start_at, community.start_at + community.slots * length
    known = end - begin <= DAY
    if at is None:
        at = begin if known else min(begin + WEEK, end)
    first = Slot.at(at, community.slot_s)
    record = f"the record runs from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
    if known and first.start_at != begin:
        raise ConfigError(f"--at {at:%Y-%m-%d %H:%M} UTC: {record}, a single day that can only be traded whole")
    if not known and not begin < first.start_at <= end:
        raise ConfigError(f"--at {at:%Y-%m-%d %H:%M} UTC: {record}; the forecast needs a past within it")
    return first, known


def rules_of(community: Community, question: Question) -> Rules:
    """Return the default charter's rules with the question's changes.

    Raises:
        ConfigError: If the community's slots are no trading periods.
    """
    if not 300 <= community.slot_s <= 3600:
        raise ConfigError(f"slots of {community.slot_s // 60} minutes cannot be traded: 5 to 60 minutes can")
    changes: dict[str, int | str] = {"price_rule": question.rule}
    if question.rounds is not None:
        changes["round_limit"] = question.rounds
    if question.feeder_limit_w:
        changes["feeder_limit_w"] = question.feeder_limit_w
    horizon = min(int(DAY.total_seconds()) // community.slot_s, HORIZON_MAX, max(community.slots, 2))
    return Rules.for_slot(community.slot_s, horizon, **changes)


def _check_somebody_can_sell(community: Community) -> None:
    if len(community.homes) < 2:
        raise ConfigError(f"{community.name}: one home has no neighbours: a market needs two or more homes")
    if not any(home.has_pv or home.battery for home in community.homes):
        raise ConfigError(f"{community.name}: no home has a battery or a PV system: nobody has anything to sell")


def tariff_micro(planner: Planner) -> list[tuple[int, int]]:
    """Return import and export price of every slot of a planner's horizon, micro-units per kWh.

    On an island, where there is no tariff: from nothing to what the last unserved critical kWh costs.
    """
    problem = planner.problem
    if problem.island is not None:
        return [(to_micro(problem.island.critical_per_kwh[1]), 0)] * problem.slots
    pairs = zip(problem.import_per_kwh.tolist(), problem.export_per_kwh.tolist(), strict=True)
    return [(to_micro(imported), to_micro(exported)) for imported, exported in pairs]


def auction_after_alone(planners: Mapping[str, Planner], tariffs: Tariffs) -> list[Clearing]:
    """Auction every slot's surpluses and shortfalls of the plans alone, in whole Wh."""
    first = next(iter(planners.values()))
    slot_h, start = first.problem.slot_h, first.first.key // first.first.length_s
    clearings = []
    for i in range(first.problem.slots):
        orders = {}
        for home, planner in planners.items():
            net_w = float(planner.alone.import_w[i] - planner.alone.export_w[i])
            imported, exported = tariffs[home][i]
            orders[home] = Order(energy_wh=int(net_w * slot_h), limit_micro=imported if net_w > 0 else exported)
        clearings.append(clear(orders, start + i))
    return clearings


def _day_of(
    name: str,
    planner: Planner,
    tariff: Sequence[tuple[int, int]],
    trades: Sequence[Trade],
    auctions: Sequence[Clearing],
) -> HomeDay:
    mine = [trade for trade in trades if name in (trade.buyer, trade.seller)]
    slots = planner.problem.slots
    plan = planner.schedule(net_wh(mine, name, slots))
    alone = planner.alone.cost
    return HomeDay(
        name=name,
        cost_alone=alone,
        cost_auction=alone - auction_gain(name, tariff, auctions) if auctions else None,
        cost_traded=HomeModel(planner.problem).cost(plan.schedule) + paid(mine, name),
        bought_wh=sum(trade.energy_wh for trade in mine if trade.buyer == name),
        sold_wh=sum(trade.energy_wh for trade in mine if trade.seller == name),
        traded=plan.schedule,
        soc_pct=None if plan.soc_pct is None else plan.soc_pct.tolist(),
        short_wh=float(plan.schedule.short_w.sum()) * planner.problem.slot_h,
    )


def auction_gain(name: str, tariff: Sequence[tuple[int, int]], auctions: Sequence[Clearing]) -> float:
    """Return what the auctions save one home against its own tariff, in currency."""
    micro = 0
    for (imported, exported), clearing in zip(tariff, auctions, strict=True):
        energy_wh = clearing.trades_wh.get(name, 0)
        if energy_wh and clearing.price_micro is not None:
            micro += energy_wh * ((imported if energy_wh > 0 else exported) - clearing.price_micro)
    return micro / 1e9
