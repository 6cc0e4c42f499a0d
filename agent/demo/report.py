"""The demo's report: each home's figures as it published them, and what all ledgers say together."""

from typing import Any

from agent.dashboard.picture import Picture
from agent.demo.settle_in import Settled
from coordinator.audit import audit, read_books


def savings_known(picture: Picture) -> int:
    """Return how many slots every home has settled."""
    return min((h.savings.slots if h.savings else 0 for h in picture.homes.values()), default=0)


def make_report(settled: Settled, picture: Picture) -> dict[str, Any]:
    """Return the report as JSON values; money as exact decimal text would be, in plain numbers.

    Raises:
        CommonwattError: If a ledger's hash chain or a signature in it is broken.
    """
    charter = settled.charter
    books = {home.id: read_books(home.ledger, charter, home.id) for home in settled.homes if home.ledger.exists()}
    result = audit(books)
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
        "contracts_counted": result.contracts_counted,
        "contracts_void": result.contracts_void,
        "ledger_mismatches": result.ledger_mismatches,
        "wh_sold_twice": result.wh_sold_twice,
        "rounds_mean": round(sum(rounds) / len(rounds), 2) if rounds else 0.0,
        "trade_share": round(bought_wh / (bought_wh + utility_wh), 4) if bought_wh + utility_wh else 0.0,
    }


_FIGURES = ("bill_no_battery", "bill_alone", "bill_traded", "bought_wh", "sold_wh", "contracts")
