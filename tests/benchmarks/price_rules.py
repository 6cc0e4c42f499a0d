"""Who gains how much under each price rule: real homes live some days, and every slot is negotiated, kept and paid for.

    python tests/benchmarks/price_rules.py ../shared/data/fontana17 --start 2016-08-22T08:00 --slots 48 [--homes 17]

Forecasts are true (the record itself), so that what differs is the rule alone. Every slot: all homes negotiate the
horizon; buyers offer what they keep at the rule's price, sellers accept what they keep; batteries follow the plans.
Every home also lives the same days alone. Costs are bills plus wear, minus the value of what stays stored.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from agent.planning.planner import Planner
from agent.planning.problem import terminal_price
from agent.simulator.community import Community, CommunityHome, load_community
from agent.study.dealing import Trade, deal
from agent.study.homes import battery_of, recorded, tariff_of
from agent.study.market import tariff_micro
from agent.study.round_table import Outcome, carried_on, negotiate
from coordinator.charter import Rules
from coordinator.matching import scale_down
from coordinator.slots import Slot

RULES = ("marginal", "midpoint", "shared", "sdr")


@dataclass(kw_only=True)
class Living:
    """One home's days: what it stores now and what it has paid, trading or alone."""

    entry: CommunityHome
    stored_wh: float
    cost: float = 0.0


@dataclass(kw_only=True)
class Street:
    """Homes that live the same days once under one rule (or alone, with `rules` None)."""

    community: Community
    first: Slot
    slots: int
    rules: Rules
    trading: bool
    homes: dict[str, Living] = field(default_factory=dict)
    matched_wh: int = 0
    traded_wh: int = 0
    rounds: list[int] = field(default_factory=list)
    _last: Outcome | None = None

    def live(self) -> dict[str, float]:
        """Return every home's cost of the days, in currency."""
        for entry in self.community.homes:
            self.homes[entry.name] = Living(entry=entry, stored_wh=battery_of(entry)[1])
        for slot in self.first.horizon(self.slots):
            self._live_slot(slot)
        return {name: home.cost - self._left(home) for name, home in self.homes.items()}

    def _left(self, home: Living) -> float:
        battery, _ = battery_of(home.entry)
        imports, _ = tariff_of(self.community, home.entry).prices(self.first, self.slots)
        return 0.0 if battery is None else terminal_price(imports) * battery.efficiency_discharge * home.stored_wh / 1e3

    def _planner(self, home: Living, slot: Slot, horizon: int) -> Planner:
        load_w, pv_w = recorded(home.entry, slot, horizon)
        return Planner(
            first=slot,
            load_w=load_w,
            pv_w=pv_w,
            tariff=tariff_of(self.community, home.entry),
            battery=battery_of(home.entry)[0],
            stored_wh=home.stored_wh,
            rho_micro=self.rules.rho_micro,
            timezone=self.community.timezone,
        )

    def _live_slot(self, slot: Slot) -> None:
        left = self.community.slots - (slot.key - int(self.community.start_at.timestamp())) // slot.length_s
        horizon = min(self.rules.horizon_slots, left)
        planners = {name: self._planner(home, slot, horizon) for name, home in self.homes.items()}
        trades = self._trade(slot, planners, horizon) if self.trading else []
        for name, home in self.homes.items():
            net_wh = sum(t.energy_wh * ((t.buyer == name) - (t.seller == name)) for t in trades)
            paid = sum(t.energy_wh * t.price_micro * ((t.buyer == name) - (t.seller == name)) for t in trades) / 1e9
            planner = planners[name]
            plan = planner.schedule([net_wh]).schedule if self.trading else planner.alone
            problem, kwh = planner.problem, slot.hours / 1000
            home.cost += paid + kwh * float(
                problem.import_per_kwh[0] * plan.import_w[0]
                - problem.export_per_kwh[0] * plan.export_w[0]
                + problem.wear_per_kwh / 2 * (plan.charge_w[0] + plan.discharge_w[0])
            )
            home.stored_wh = float(plan.stored_wh[0])

    def _trade(self, slot: Slot, planners: Mapping[str, Planner], horizon: int) -> list[Trade]:
        rules = self.rules.model_copy(update={"horizon_slots": horizon})
        openings = {name: planner.opening_prices() for name, planner in planners.items()}
        warm = None
        if self._last is not None and len(self._last.prices_micro) == horizon:
            openings, warm = carried_on(self._last, openings, slot)  # type: ignore[assignment]
        outcome = self._last = negotiate(planners, openings, slot=slot, rules=rules, warm=warm)
        self.rounds.append(outcome.rounds)
        tariffs = {name: tariff_micro(planner)[:1] for name, planner in planners.items()}
        return self._keep(deal(slot, outcome.views, tariffs, rules), planners)

    def _keep(self, trades: Sequence[Trade], planners: Mapping[str, Planner]) -> list[Trade]:
        """Let every buyer and then every seller drop what would lose at the contract's price."""
        self.matched_wh += sum(t.energy_wh for t in trades)
        for side in ("buyer", "seller"):
            kept = []
            for home in {getattr(t, side) for t in trades}:
                mine = {i: t for i, t in enumerate(trades) if getattr(t, side) == home}
                total_wh = sum(t.energy_wh for t in mine.values())
                price = round(sum(t.energy_wh * t.price_micro for t in mine.values()) / total_wh)
                sign = 1 if side == "buyer" else -1
                left_wh = abs(planners[home].keep(sign * total_wh, price))
                shares = scale_down({str(i): t.energy_wh for i, t in mine.items()}, left_wh, 0)
                kept += [replace(mine[int(i)], energy_wh=share) for i, share in shares.items() if share]
            trades = sorted(kept, key=lambda t: (t.buyer, t.seller))
        self.traded_wh += sum(t.energy_wh for t in trades)
        return list(trades)


def gini(values: Sequence[float]) -> float:
    """Return how unevenly a total is shared: 0 all the same, 1 one has it all. Losses count as nothing gained."""
    sorted_ = np.sort(np.maximum(values, 0.0))
    n, total = sorted_.size, sorted_.sum()
    return float((2 * np.arange(1, n + 1) - n - 1) @ sorted_ / (n * total)) if total > 0 else 0.0


def compare(folder: Path, start_at: datetime, slots: int, homes: int | None = None) -> dict[str, dict[str, Any]]:
    """Return the figures of every rule.

    Args:
        homes: So many of the homes, evenly chosen; None for all.
    """
    community = load_community(folder)
    if homes:
        community = replace(community, homes=community.homes[:: max(1, len(community.homes) // homes)][:homes])
    first = Slot.at(start_at, community.slot_s)
    days = slots * community.slot_s / 86400
    found = {}
    base = Rules.for_slot(community.slot_s, 86400 // community.slot_s)
    alone = Street(community=community, first=first, slots=slots, rules=base, trading=False).live()
    for rule in RULES:
        street = Street(
            community=community,
            first=first,
            slots=slots,
            rules=base.model_copy(update={"price_rule": rule}),
            trading=True,
        )
        traded = street.live()
        gains = {name: alone[name] - traded[name] for name in alone}
        found[rule] = {
            "gain": round(sum(gains.values()), 3),
            "gain_pct": round(100 * sum(gains.values()) / sum(alone.values()), 2),
            "kept": round(street.traded_wh / max(street.matched_wh, 1), 4),
            "traded_kwh": round(street.traded_wh / 1000, 1),
            "gini": round(gini(list(gains.values())), 3),
            "worst_gain": round(min(gains.values()), 3),
            "median_gain": round(float(np.median(list(gains.values()))), 3),
            "homes_worse_off": sum(-g > max(0.02 * abs(alone[n]), 0.05 * days) for n, g in gains.items()),
            "homes_losing": sum(g < -0.005 for g in gains.values()),
            "rounds_mean": round(float(np.mean(street.rounds)), 1),
            "gains": {name: round(gain, 3) for name, gain in gains.items()},
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--start", required=True, help="first slot, UTC")
    parser.add_argument("--slots", type=int, default=48)
    parser.add_argument("--homes", type=int, default=None, help="so many of the homes, evenly chosen")
    args = parser.parse_args()
    start_at = datetime.fromisoformat(args.start).replace(tzinfo=UTC)
    print(json.dumps(compare(args.folder, start_at, args.slots, args.homes), indent=2))


if __name__ == "__main__":
    main()
