"""Random order books of one slot: every entry is a home that would buy or sell so much up to its limit price.

    python tests/benchmarks/order_books.py --books 2000

The homes are the product's planners: a buyer uses that much and its grid price is its limit, a seller's roof yields
that much and its feed-in price is its limit. Negotiation, matching and each home's own check are the product's.
"""

import argparse
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args
from zoneinfo import ZoneInfo

import numpy as np

from agent.planning.planner import Planner
from agent.planning.tariff import TariffSettings, open_tariff
from agent.study.round_table import negotiate
from coordinator.charter import PriceRule, Rules
from coordinator.pricing import contract_price
from coordinator.slots import Slot

SLOT = Slot(1_780_002_000 // 3600 * 3600, 3600)
RULES = Rules.for_slot(3600, 1, round_limit=200, unmatched_wh=1, unmatched_pct=0, horizon_pct=0, price_change_micro=30)
HIGHEST_CT = 100.0
"""What a seller's grid asks for import: it needs none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """`energy_wh` is positive for who buys up to `limit_micro` per kWh, negative for who sells down to it."""

    energy_wh: int
    limit_micro: int


def random_book(luck: np.random.Generator) -> list[Entry]:
    """Return 2-12 buyers and 2-12 sellers of 50-3,000 Wh each, with limits uniform between 5 and 40 ct."""

    def entries(sign: int) -> list[Entry]:
        return [
            Entry(energy_wh=sign * int(luck.integers(50, 3001)), limit_micro=100 * int(luck.integers(500, 4001)))
            for _ in range(luck.integers(2, 13))
        ]

    return entries(1) + entries(-1)


def best(book: list[Entry]) -> tuple[float, int]:
    """Return the greatest welfare [micro-units x Wh / 1000] and the greatest volume [Wh] that goes with it."""
    buyers = sorted((e for e in book if e.energy_wh > 0), key=lambda e: -e.limit_micro)
    sellers = sorted((e for e in book if e.energy_wh < 0), key=lambda e: e.limit_micro)
    demand = [e.limit_micro for e in buyers for _ in range(e.energy_wh)]
    supply = [e.limit_micro for e in sellers for _ in range(-e.energy_wh)]
    gains = [d - s for d, s in zip(demand, supply, strict=False) if d >= s]
    return sum(gains) / 1000, len(gains)


def planner(entry: Entry) -> Planner:
    low_ct, high_ct = (entry.limit_micro / 1e4, HIGHEST_CT) if entry.energy_wh < 0 else (0.0, entry.limit_micro / 1e4)
    tariff = {"import_per_kwh": round(high_ct / 100, 6), "export_per_kwh": round(low_ct / 100, 6)}
    power_w = np.array([float(abs(entry.energy_wh))])
    return Planner(
        first=SLOT,
        load_w=power_w if entry.energy_wh > 0 else np.zeros(1),
        pv_w=power_w if entry.energy_wh < 0 else np.zeros(1),
        tariff=open_tariff(TariffSettings.model_validate({"fixed": tariff}), "UTC", Path()),
        battery=None,
        stored_wh=0.0,
        rho_micro=RULES.rho_micro,
        timezone=ZoneInfo("UTC"),
        wear_per_kwh=0.0,
    )


@dataclass(kw_only=True)
class Sums:
    """Of all books so far; energies in Wh, welfare and surplus in micro-units x Wh / 1000."""

    welfare: float = 0.0
    best_welfare: float = 0.0
    volume_wh: int = 0
    best_volume_wh: int = 0
    rounds: int = 0
    outside_limit: int = 0
    surplus: Counter[str] = field(default_factory=Counter)
    buyers: Counter[str] = field(default_factory=Counter)


def trade(book: list[Entry], sums: Sums) -> None:
    """Negotiate and match one book, and add what comes of it."""
    homes = {f"home-{n:02}": planner(entry) for n, entry in enumerate(book)}
    entries = dict(zip(homes, book, strict=True))
    openings = {name: _opening(entry) for name, entry in entries.items()}
    result = negotiate(homes, openings, slot=SLOT, rules=RULES).agreed
    sums.rounds += result.rounds
    welfare, volume_wh = best(book)
    sums.best_welfare += welfare
    sums.best_volume_wh += volume_wh
    for rule in get_args(PriceRule):
        for pair in result.matched():
            buyer, seller = entries[pair.buyer], entries[pair.seller]
            price = contract_price(
                rule,
                marginal_micro=result.prices_micro[0],
                bids_wh=result.binding_bids_wh,
                import_micro=buyer.limit_micro,
                export_micro=0,
            )
            wanted_wh = homes[pair.buyer].keep(pair.energy_wh, price)
            energy_wh = -homes[pair.seller].keep(-wanted_wh, price) if wanted_wh else 0
            if not energy_wh:
                continue
            sums.outside_limit += not seller.limit_micro <= price <= buyer.limit_micro
            gained = energy_wh * (buyer.limit_micro - seller.limit_micro) / 1000
            sums.surplus[rule] += gained
            sums.buyers[rule] += energy_wh * (buyer.limit_micro - price) / 1000
            if rule == "marginal":
                sums.welfare += gained
                sums.volume_wh += energy_wh


def _opening(entry: Entry) -> list[int]:
    """Return the middle of what an entry can win from: it knows no grid, so the book's range is its tariff."""
    low, high = (entry.limit_micro, 400_000) if entry.energy_wh < 0 else (50_000, entry.limit_micro)
    return [(low + high) // 2]


def measure(books: int, seed: int = 1) -> dict[str, float | None]:
    """Return welfare and volume of that many books as shares of the best, and the buyers' share of the surplus.

    A rule under which nobody trades has no share: once supply meets demand `sdr` pays sellers the export price, which
    is less than any of these sellers takes.
    """
    luck, sums = np.random.default_rng(seed), Sums()
    for _ in range(books):
        trade(random_book(luck), sums)
    shares = {
        f"buyers_share_{rule}": sums.buyers[rule] / sums.surplus[rule] if sums.surplus[rule] else None
        for rule in get_args(PriceRule)
    }
    return {
        "books": books,
        "welfare": sums.welfare / sums.best_welfare,
        "volume": sums.volume_wh / sums.best_volume_wh,
        "outside_limit": sums.outside_limit,
        "rounds_mean": sums.rounds / books,
        **shares,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--books", type=int, default=2000)
    print(json.dumps(measure(parser.parse_args().books)))


if __name__ == "__main__":
    main()
