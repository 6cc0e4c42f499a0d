"""Real homes in one process on a virtual clock: every desk, planner and forecaster is the product's; the network is a
queue and the battery a formula. Prints each home's bill without battery, alone and traded.

    python tests/benchmarks/closed_loop.py ../shared/data/fontana17 --start 2016-08-22 --days 7
"""

import argparse
import json
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "coordinator"))

from neighbourhood import Neighbourhood
from recorded_homes import battery_of, forecaster_of, past_rows, tariff_of

from agent.devices.energy import SlotEnergy
from agent.devices.reading import HomeReading
from agent.household import Facts, TradingHome
from agent.planning.shadow import run_battery
from agent.simulator.community import Community, load_community
from coordinator.charter import Rules
from coordinator.slots import Slot
from coordinator.trader import MeterReading


class LivedHome(TradingHome):
    """A trading home and its true life, slot by slot."""

    def __init__(self, community: Community, number: int, start_at: datetime, rules: Rules) -> None:
        self.entry = entry = community.homes[number]
        battery, self.stored_wh = battery_of(entry)
        first = Slot.at(start_at, rules.slot_s)
        super().__init__(
            Facts(name=entry.name, timezone=community.timezone, tariff=tariff_of(community, entry), battery=battery),
            rules,
            forecaster_of(community, entry),
            rows=past_rows(entry, first),
            since=start_at,
        )
        self.learn(first)

    def look(self, at: datetime) -> None:
        """Read the meter: only the battery's charge matters here."""
        battery = self.facts.battery
        soc = 100 * self.stored_wh / battery.capacity_wh if battery else None
        self.observe(
            HomeReading(
                at=at,
                monotonic_s=0.0,
                grid_w=0.0,
                pv_w=0.0,
                battery_w=0.0,
                load_w=0.0,
                soc_pct=soc,
                import_wh=0.0,
                export_wh=0.0,
                quality="valid",
                missing=(),
            )
        )

    def live(self, slot: Slot) -> MeterReading:
        """Let the true load and sun come; the battery keeps the home to its contracts as far as that pays."""
        row = self.entry.history_rows(slot.start_at, 1)[0]
        load_wh, pv_wh = (row.load_w or 0.0) * slot.hours, (row.pv_w or 0.0) * slot.hours
        battery_wh = 0.0
        battery = self.facts.battery
        if battery is not None:
            target = self.target(slot, slot.start_at)
            lowest_w, highest_w = target.reach_w
            wanted_w = (load_wh - pv_wh - target.traded_wh) / slot.hours
            wanted_wh = min(max(wanted_w, lowest_w), highest_w) * slot.hours
            battery_wh, self.stored_wh = run_battery(battery, self.stored_wh, wanted_wh, slot.hours)
        net_wh = round(load_wh - pv_wh - battery_wh)
        self.look(slot.end_at - timedelta(seconds=1))
        self.slot_done(
            SlotEnergy(
                slot=slot,
                import_wh=max(net_wh, 0),
                export_wh=max(-net_wh, 0),
                load_wh=load_wh,
                pv_wh=pv_wh,
                battery_wh=battery_wh,
                soc_pct=100 * self.stored_wh / battery.capacity_wh if battery else None,
                estimated=False,
            )
        )
        return MeterReading(import_wh=max(net_wh, 0), export_wh=max(-net_wh, 0))


def run(
    folder: Path, start_at: datetime, days: float, retrain_days: int = 1, **changes: int | str
) -> dict[str, object]:
    community = load_community(folder)
    slot_s = community.slot_s
    rules = Rules.for_slot(slot_s, 86400 // slot_s, **changes)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        street = Neighbourhood(
            Path(scratch),
            homes=len(community.homes),
            delay_s=(0.0, 0.001),
            rules=rules,
            start_at=start_at - timedelta(seconds=slot_s),
            make_home=lambda n, r: LivedHome(community, n, start_at, r),
        )
        homes: dict[str, LivedHome] = street.homes
        for step in range(round(days * 86400 / slot_s) + 1):
            slot = Slot.at(street.now, slot_s)
            for home in homes.values():
                home.look(slot.start_at)
            street.run(slot.end_at)
            if slot.start_at < start_at:
                continue
            for name, home in homes.items():
                street.desks[name].metered(slot, home.live(slot), street.now)
                street.desks[name].tick(street.now)
            if step % (retrain_days * 86400 // slot_s) == 0:
                for home in homes.values():
                    home.learn(slot)
        street.run(street.now + timedelta(seconds=slot_s * 0.3))
        audit = street.audit()
    bills = {
        h.facts.name: [
            round(float(b), 3) for b in (h.savings.bill_no_battery, h.savings.bill_alone, h.savings.bill_traded)
        ]
        for h in homes.values()
    }
    total = np.array(list(bills.values())).sum(axis=0)
    slack = {n: b[2] - b[1] - max(0.02 * abs(b[1]), 0.05 * days) for n, b in bills.items()}
    return {
        "bills": bills,
        "total": [round(float(t), 2) for t in total],
        "saved_pct": round(100 * float(1 - total[2] / total[1]), 2),
        "homes_worse_off": sum(s > 0 for s in slack.values()),
        "worst": max((b[2] - b[1], n) for n, b in bills.items()),
        "rounds_mean": round(float(np.mean([h.savings.rounds_mean for h in homes.values()])), 2),
        "slots": next(iter(homes.values())).savings.slots,
        "contracts_counted": audit.contracts_counted,
        "contracts_void": audit.contracts_void,
        "ledger_mismatches": audit.ledger_mismatches,
        "wh_sold_twice": audit.wh_sold_twice,
        "seconds": round(time.perf_counter() - begun, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--start", default="2016-08-22")
    parser.add_argument("--days", type=float, default=7)
    parser.add_argument("--rule", default="marginal")
    args = parser.parse_args()
    start_at = datetime.fromisoformat(args.start).replace(tzinfo=UTC)
    print(json.dumps(run(args.folder, start_at, args.days, price_rule=args.rule), indent=1))


if __name__ == "__main__":
    main()
