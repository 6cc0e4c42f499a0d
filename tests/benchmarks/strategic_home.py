"""What one home can gain by not bidding what it wants, and what that costs the others.

    python tests/benchmarks/strategic_home.py ../shared/data/fontana17 --at 2016-08-22T16:00 2017-01-09T16:00

One horizon, forecasts taken as true. First everybody bids honestly. Then every home in turn plays every trick while the
others stay honest, and its contracts are priced with what they really cost it.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from agent.planning.planner import Planner
from agent.planning.tariff import Tariff
from agent.planning.tariff_file import FileRates, read_tariff
from agent.simulator.community import Community, CommunityHome, load_community
from agent.study.dealing import deal, net_wh, paid
from agent.study.homes import battery_of, expected, planner_of, recorded
from agent.study.market import Question, rules_of, tariff_micro, when
from agent.study.round_table import negotiate
from coordinator.charter import PriceRule, Rules
from coordinator.negotiation import Bidder
from coordinator.slots import Slot


@dataclass(frozen=True, kw_only=True)
class Scaled:
    """Bids less than it wants: `sells` and `buys` are the shares it admits to."""

    planner: Planner
    sells: float = 1.0
    buys: float = 1.0

    def bid(self, prices_micro: Sequence[int], anchor_wh: Sequence[float], rho_micro: int | None = None) -> list[int]:
        wanted_wh = self.planner.bid(prices_micro, anchor_wh, rho_micro)
        return [int(wh * (self.sells if wh < 0 else self.buys)) for wh in wanted_wh]


@dataclass(frozen=True)
class ShadedRates:
    """A tariff as a home pretends it is: the gap between import and export narrowed from one side."""

    true: FileRates
    import_share: float
    export_share: float

    @property
    def step_s(self) -> int:
        return self.true.step_s

    def at(self, second: int) -> tuple[int, int]:
        imported, exported = self.true.at(second)
        gap = imported - exported
        return imported - round(self.import_share * gap), exported + round(self.export_share * gap)


@dataclass(frozen=True, kw_only=True)
class Day:
    """A horizon on which everybody is honest but one."""

    community: Community
    first: Slot
    known: bool
    rules: Rules
    planners: Mapping[str, Planner]

    @classmethod
    def of(cls, community: Community, at: datetime, rule: PriceRule) -> "Day":
        question = Question(at=at, rule=rule)
        first, known = when(community, at)
        rules = rules_of(community, question)
        planners = {h.name: planner_of(community, h, first, rules, known=known) for h in community.homes}
        return cls(community=community, first=first, known=known, rules=rules, planners=planners)

    def costs(self, bidders: Mapping[str, Bidder]) -> dict[str, float]:
        """Return every home's true cost of the horizon when these bidders negotiate it."""
        openings = {name: planner.opening_prices() for name, planner in self.planners.items()}
        outcome = negotiate(bidders, openings, slot=self.first, rules=self.rules)
        tariffs = {name: tariff_micro(planner) for name, planner in self.planners.items()}
        trades = deal(outcome.views, tariffs, self.rules)
        found = {}
        for name, planner in self.planners.items():
            net = net_wh(trades, name, planner.problem.slots)
            found[name] = planner.schedule(net).schedule.cost + paid(trades, name)
        return found

    def shaded(self, home: CommunityHome, import_share: float, export_share: float) -> Planner:
        slots = self.rules.horizon_slots
        source = recorded(home, self.first, slots) if self.known else expected(self.community, home, self.first, slots)
        battery, stored_wh = battery_of(home)
        rates = ShadedRates(read_tariff(home.tariff_path), import_share, export_share)
        return Planner(
            first=self.first,
            load_w=source[0],
            pv_w=source[1],
            tariff=Tariff(rates),
            battery=battery,
            stored_wh=stored_wh,
            rho_micro=self.rules.rho_micro,
            timezone=self.community.timezone,
        )


Trick = Callable[[Day, CommunityHome], Bidder]
TRICKS: dict[str, Trick] = {
    "sells 10 % less": lambda day, home: Scaled(planner=day.planners[home.name], sells=0.9),
    "sells 25 % less": lambda day, home: Scaled(planner=day.planners[home.name], sells=0.75),
    "sells 50 % less": lambda day, home: Scaled(planner=day.planners[home.name], sells=0.5),
    "buys 10 % less": lambda day, home: Scaled(planner=day.planners[home.name], buys=0.9),
    "buys 25 % less": lambda day, home: Scaled(planner=day.planners[home.name], buys=0.75),
    "buys 50 % less": lambda day, home: Scaled(planner=day.planners[home.name], buys=0.5),
    "pretends a cheaper import tariff": lambda day, home: day.shaded(home, 0.2, 0.0),
    "pretends a better feed-in tariff": lambda day, home: day.shaded(home, 0.0, 0.2),
}


def measure(folder: Path, moments: Sequence[datetime], rule: PriceRule) -> dict[str, object]:
    """Return, for every trick, what it brings its home and the others, as shares of the gain of honest trading."""
    community = load_community(folder)
    mine: dict[str, list[float]] = {trick: [] for trick in TRICKS}
    others: dict[str, list[float]] = {trick: [] for trick in TRICKS}
    gain = 0.0
    for at in moments:
        day = Day.of(community, at, rule)
        honest = day.costs(day.planners)
        gain += sum(planner.alone.cost for planner in day.planners.values()) - sum(honest.values())
        for trick, play in TRICKS.items():
            for home in community.homes:
                costs = day.costs({**day.planners, home.name: play(day, home)})
                mine[trick].append(honest[home.name] - costs[home.name])
                others[trick].append(sum(honest[name] - cost for name, cost in costs.items() if name != home.name))
    count = len(community.homes) * len(moments)
    return {
        "rule": rule,
        "honest gain per home and day": round(gain / count, 4),
        **{
            trick: {
                "own, mean": round(float(np.mean(mine[trick])), 4),
                "own, best": round(max(mine[trick]), 4),
                "pays in share of cases": round(float(np.mean(np.array(mine[trick]) > 0.005)), 3),
                "others together, mean": round(float(np.mean(others[trick])), 4),
                "others together, worst": round(min(others[trick]), 4),
            }
            for trick in TRICKS
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--at", nargs="+", required=True, help="first slots, UTC")
    parser.add_argument("--rule", choices=["marginal", "midpoint", "sdr"], default="marginal")
    args = parser.parse_args()
    moments = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in args.at]
    print(json.dumps(measure(args.folder, moments, args.rule), indent=2))


if __name__ == "__main__":
    main()
