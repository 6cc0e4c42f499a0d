"""Homes of a community folder negotiate one horizon in one process, by the product's own steps, without messages.

What a round captured of the gain of a central optimiser with the same forecasts, by design: (alone - traded) /
(alone - central), traded being what the matched whole-Wh trades of the whole horizon really cost every home.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from agent.forecast.forecaster import Forecaster
from agent.forecast.history import History
from agent.planning.central import central_optimum
from agent.planning.home_model import HomeModel
from agent.planning.planner import Planner
from agent.planning.problem import Battery
from agent.planning.tariff import TariffSettings, open_tariff
from agent.simulator.community import load_community
from coordinator.charter import Rules
from coordinator.matching import match
from coordinator.negotiation import opening_prices, step_prices
from coordinator.slots import Slot

HISTORY_DAYS = 14


def planners_at(folder: Path, at: datetime, rules: Rules | None = None) -> tuple[list[Planner], Rules]:
    """Return every home's planner for the horizon from `at` on, with 7-day-mean forecasts and half-full batteries."""
    community = load_community(folder)
    rules = rules or Rules.for_slot(community.slot_s, 86400 // community.slot_s)
    first = Slot.at(at, community.slot_s)
    planners = []
    for home in community.homes:
        slots = HISTORY_DAYS * 86400 // first.length_s
        rows = home.history_rows(first.start_at - timedelta(days=HISTORY_DAYS), slots)
        history = History.from_rows(
            (
                (
                    int(row.start_at.timestamp()),
                    None if row.load_w is None else row.load_w * first.hours,
                    None if row.pv_w is None else row.pv_w * first.hours,
                )
                for row in rows
            ),
            first.length_s,
        )
        limit_w = None if home.pv_kwp is None else 1000 * home.pv_kwp
        forecaster = Forecaster(slot_s=first.length_s, timezone=community.timezone, pv_limit_w=limit_w)
        forecast = forecaster.predict(first, rules.horizon_slots, history)
        battery, stored_wh = None, 0.0
        if home.battery is not None:
            b = home.battery.battery()
            battery = Battery(
                capacity_wh=b.capacity_wh,
                charge_max_w=b.charge_w,
                discharge_max_w=b.discharge_w,
                efficiency_charge=b.efficiency_charge,
                efficiency_discharge=b.efficiency_discharge,
            )
            stored_wh = b.capacity_wh / 2
        tariff = open_tariff(TariffSettings(file=home.tariff_path.resolve()), community.timezone.key, Path("/"))
        planners.append(
            Planner(
                first=first,
                load_w=forecast.load_w,
                pv_w=forecast.pv_w,
                tariff=tariff,
                battery=battery,
                stored_wh=stored_wh,
                rho_micro=rules.rho_micro,
                timezone=community.timezone,
            )
        )
    return planners, rules


def captured(planners: Sequence[Planner], bids: Sequence[Sequence[int]], rotation: int) -> float:
    """Return the share of the central gain that the matched trades of these bids realise."""
    problems = [planner.problem for planner in planners]
    trades = np.zeros((len(bids), problems[0].slots))
    for slot in range(problems[0].slots):
        for pair in match({str(n): bid[slot] for n, bid in enumerate(bids)}, rotation + slot):
            trades[int(pair.buyer), slot] += pair.energy_wh
            trades[int(pair.seller), slot] -= pair.energy_wh
    models = [HomeModel(problem) for problem in problems]
    alone = sum(model.alone().cost for model in models)
    traded = sum(m.with_trades(t / p.slot_h).cost for m, t, p in zip(models, trades, problems, strict=True))
    return float((alone - traded) / (alone - central_optimum(problems)))


def captured_by_round(folder: Path, at: datetime, rounds: Iterable[int]) -> dict[int, float]:
    """Negotiate from cold and return what the bids of each of these rounds captured."""
    planners, rules = planners_at(folder, at)
    wanted = set(rounds)
    prices = opening_prices([planner.opening_prices() for planner in planners])
    anchors = [np.zeros(rules.horizon_slots) for _ in planners]
    relaxation = rules.relaxation_pct / 100
    shares = {}
    for number in range(1, max(wanted) + 1):
        bids = [planner.bid(prices, anchor.tolist()) for planner, anchor in zip(planners, anchors, strict=True)]
        if number in wanted:
            shares[number] = captured(planners, bids, planners[0].first.key // rules.slot_s)
        mean = np.mean(bids, axis=0)
        anchors = [relaxation * (np.array(b) - mean) + (1 - relaxation) * a for b, a in zip(bids, anchors, strict=True)]
        prices = step_prices(prices, bids, rules)
    return shares
