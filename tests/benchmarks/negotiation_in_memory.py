"""Homes of a community folder negotiate one horizon in one process, by the product's own steps, without messages."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import numpy as np
from recorded_homes import captured, planner_of

from agent.simulator.community import load_community
from coordinator.charter import Rules
from coordinator.negotiation import opening_prices, step_prices
from coordinator.slots import Slot


def captured_by_round(folder: Path, at: datetime, rounds: Iterable[int]) -> dict[int, float]:
    """Negotiate from cold and return what the bids of each of these rounds captured of the central optimum's gain."""
    community = load_community(folder)
    rules = Rules.for_slot(community.slot_s, 86400 // community.slot_s)
    first = Slot.at(at, community.slot_s)
    planners = {home.name: planner_of(community, home, first, rules) for home in community.homes}
    wanted = set(rounds)
    prices = opening_prices([planner.opening_prices() for planner in planners.values()])
    anchors = {name: np.zeros(rules.horizon_slots) for name in planners}
    relaxation = rules.relaxation_pct / 100
    shares = {}
    for number in range(1, max(wanted) + 1):
        bids = {name: planner.bid(prices, anchors[name].tolist()) for name, planner in planners.items()}
        if number in wanted:
            shares[number] = captured(planners, bids, prices)
        mean = np.mean(list(bids.values()), axis=0)
        for name, bid in bids.items():
            anchors[name] = relaxation * (np.array(bid) - mean) + (1 - relaxation) * anchors[name]
        prices = step_prices(prices, list(bids.values()), rules)
    return shares
