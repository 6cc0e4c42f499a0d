"""The demo's report: each home's figures as it published them, and what all ledgers say together."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agent.dashboard.picture import Picture
from agent.demo.settle_in import Settled
from coordinator.audit import Books, audit, read_books

_FIGURES = ("bill_no_battery", "bill_alone", "bill_traded", "bought_wh", "sold_wh", "contracts")


def savings_known(picture: Picture) -> int:
    """Return how many slots every home has settled."""
    return min((h.savings.slots if h.savings else 0 for h in picture.homes.values()), default=0)


def make_report(settled: Settled, picture: Picture) -> dict[str, Any]:
    """Return the report as JSON values; bills as plain numbers.

    Contracts are counted over the slots that the bills are about, those of the residual round among them and once more
    apart; the ledgers are compared whole.

    Raises:
        CommonwattError: If a ledger's hash chain or a signature in it is broken.
    """
    charter = settled.charter
    books = {home.id: read_books(home.ledger, charter, home.id) for home in settled.homes if home.ledger.exists()}
    whole, billed = audit(books), audit(_billed(settled, books))
    homes = []
    bought_wh = utility_wh = 0
    rounds = []
    for home in settled.homes:
        savings = picture.homes[home.name].savings
        if savings is None:
            homes.append({"name": home.name, **dict.fromkeys(_FIGURES, 0)})
            continue
        bought_wh += savings.bought_wh
        utility_wh += savings.utility_wh
        rounds.append(savings.rounds_mean)
        homes.append(
            {
                "name": home.name,
                "bill_no_battery": float(savings.bill_no_battery),
                "bill_alone": float(savings.bill_alone),
                "bill_traded": float(savings.bill_traded),
                "bought_wh": savings.bought_wh,
                "sold_wh": savings.sold_wh,
                "contracts": savings.contracts,
            }
        )
    return {
        "community": settled.street.name,
        "currency": settled.street.currency,
        "slots": savings_known(picture),
        "homes": homes,
        "contracts_counted": billed.contracts_counted,
        "contracts_residual": billed.contracts_residual,
        "contracts_void": billed.contracts_void,
        "ledger_mismatches": whole.ledger_mismatches,
        "wh_sold_twice": whole.wh_sold_twice,
        "rounds_mean": round(sum(rounds) / len(rounds), 2) if rounds else 0.0,
        "trade_share": round(bought_wh / (bought_wh + utility_wh), 4) if bought_wh + utility_wh else 0.0,
    }


def _billed(settled: Settled, books: Mapping[str, Books]) -> dict[str, Books]:
    """Return the books of the slots between the demo's start and end."""
    first, end = settled.street.start_at.timestamp(), settled.end_at.timestamp()
    return {
        home: replace(each, contracts={i: c for i, c in each.contracts.items() if first <= c.slot < end})
        for home, each in books.items()
    }
