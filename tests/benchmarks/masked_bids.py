"""What masked bids cost: the homes of a community folder trade a few slots, once with open and once with masked bids.

    python tests/benchmarks/masked_bids.py ../shared/data/fontana17

The product's own desks, with signatures, sealing and ledgers, on a network without loss; each home's own planner
answers. Of each mode: rounds; what of the central optimum's gain the last bids capture; energy under contract; bytes of
everything said until the slot begins, each copy counted that some link carries to some neighbour.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from recorded_homes import captured, planner_of, tariff_of

sys.path.append(str(Path(__file__).parents[1] / "unit" / "coordinator"))

from neighbourhood import Neighbourhood

from agent.planning.planner import Planner
from agent.simulator.community import Community, CommunityHome, load_community
from coordinator.charter import Rules
from coordinator.contracts import Contract, Status
from coordinator.household import MeterReading, Preparation
from coordinator.masked_events import MaskedFinished
from coordinator.negotiation import Finished
from coordinator.settlement import SlotBill
from coordinator.slots import Slot

STARTS = ("2016-08-22T16:00", "2017-01-09T12:00", "2017-04-10T20:00")
SLOTS = 2
"""From cold, and from where the last one ended."""


@dataclass(kw_only=True)
class PlanningHome:
    """A recorded home that trades what its own planner wants."""

    community: Community
    home: CommunityHome
    rules: Rules
    planners: dict[int, Planner] = field(default_factory=dict)
    results: dict[int, Finished] = field(default_factory=dict)

    def prepare(self, slot: Slot, now: datetime) -> Preparation | None:
        planner = self.planners[slot.key] = planner_of(self.community, self.home, slot, self.rules)
        return Preparation(bidder=planner, opening_micro=planner.opening_prices())

    def keep(self, slot: Slot, energy_wh: int, price_micro: int) -> int:
        return self.planners[slot.key].keep(energy_wh, price_micro)

    def tariff_micro(self, slot: Slot) -> tuple[int, int]:
        tariff = tariff_of(self.community, self.home)
        return tariff.import_micro(slot), tariff.export_micro(slot)

    def negotiated(self, result: Finished, price_micro: int) -> None:
        self.results[result.slot.key] = result
        self.planners[result.slot.key].expected_wh = result.trades_wh(result.me)

    def gate_closed(self, slot: Slot, net_wh: int, now: datetime) -> None: ...

    def settled(self, slot: Slot, meter: MeterReading, bill: SlotBill, contracts: Sequence[Contract]) -> None: ...


def trade(community: Community, start_at: datetime, *, masked: bool) -> list[dict[str, Any]]:
    """Return the figures of each slot."""
    rules = Rules.for_slot(community.slot_s, 86400 // community.slot_s, masked=masked)
    figures = []
    with tempfile.TemporaryDirectory(prefix="cw-") as folder:
        street = Neighbourhood(
            Path(folder),
            homes=len(community.homes),
            rules=rules,
            start_at=start_at - timedelta(seconds=community.slot_s),
            make_home=lambda n, rules: PlanningHome(community=community, home=community.homes[n], rules=rules),
        )
        for number in range(SLOTS):
            slot = Slot.at(start_at, community.slot_s).shifted(number)
            begun = len(street.sent)
            street.run(slot.start_at)
            figures.append(_figures(street, slot, street.sent[begun:]))
    return figures


def _figures(street: Neighbourhood, slot: Slot, sent: Sequence[tuple[str, str, bytes]]) -> dict[str, Any]:
    homes = street.homes
    views = {home: each.results[slot.key] for home, each in homes.items()}
    first = next(iter(views.values()))
    everybody = Finished(
        slot=slot,
        rounds=first.rounds,
        converged=first.converged,
        prices_micro=first.prices_micro,
        bids_wh={home: view.bids_wh[home] for home, view in views.items()},
        moves_wh={} if isinstance(first, MaskedFinished) else first.moves_wh,
    )
    firm = {Status.BOUND, Status.ACCEPTED, Status.COUNTED}
    contracts = [c for desk in street.desks.values() for c in desk.trader.book.contracts(slot.key)]
    made = {c.id: c for c in contracts if c.status in firm}
    return {
        "rounds": first.rounds,
        "captured": round(captured({home: each.planners[slot.key] for home, each in homes.items()}, everybody), 5),
        "matched_wh": sum(pair.energy_wh for pair in replace(everybody).matched()),
        "contracts_wh": sum(contract.energy_wh for contract in made.values()),
        "contracts": len(made),
        "kbytes": round(sum(len(wire) * (len(homes) - 1 if to == "*" else 1) for _, to, wire in sent) / 1000),
        "messages": len(sent),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--start", action="append", help=f"first slot, UTC; by default {', '.join(STARTS)}")
    args = parser.parse_args()
    community = load_community(args.folder)
    for start in args.start or STARTS:
        start_at = datetime.fromisoformat(start).replace(tzinfo=UTC)
        for name, masked in (("open", False), ("masked", True)):
            for number, figures in enumerate(trade(community, start_at, masked=masked)):
                print(json.dumps({"start": start, "slot": number, "bids": name, **figures}), flush=True)


if __name__ == "__main__":
    main()
