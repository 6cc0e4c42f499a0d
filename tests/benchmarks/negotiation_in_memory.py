"""Homes of a community folder negotiate one horizon in one process, by the product's own steps, without messages."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from recorded_homes import captured, planner_of

from agent.simulator.community import load_community
from agent.study.round_table import negotiate
from coordinator.charter import Rules
from coordinator.negotiation import Finished
from coordinator.slots import Slot


def captured_by_round(folder: Path, at: datetime, rounds: Iterable[int]) -> dict[int, float]:
    """Negotiate from cold and return what the bids of each of these rounds captured of the central optimum's gain."""
    community = load_community(folder)
    wanted = set(rounds)
    rules = Rules.for_slot(community.slot_s, 86400 // community.slot_s, round_limit=max(wanted), price_change_micro=0)
    first = Slot.at(at, community.slot_s)
    planners = {home.name: planner_of(community, home, first, rules) for home in community.homes}
    shares = {}

    def judge(result: Finished) -> None:
        if result.rounds in wanted:
            shares[result.rounds] = captured(planners, result)

    openings = {name: planner.opening_prices() for name, planner in planners.items()}
    negotiate(planners, openings, slot=first, rules=rules, on_round=judge)
    return shares
