"""What owners read of ledgers: sums that fit, months of their own time, transfers that settle everything."""

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from test_statements import HIGH, LATER, LOW, OTHER, SLOT, STREET, Side, contract, pair, talk

from agent.ledger_page import statement_page
from agent.ledger_report import (
    Month,
    amount,
    community,
    contract_rows,
    month_of,
    netting_words,
    pays_words,
    plain,
    printed,
    summary,
)
from coordinator.concerns import concerns
from coordinator.contracts import Contract, Status
from coordinator.errors import ConfigError
from coordinator.fraud import Proof
from coordinator.ledger_reading import Reading

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YEAR = int(datetime(2026, 12, 31, 23, 15, tzinfo=UTC).timestamp())


def reading(side: Side, *contracts: Contract) -> Reading:
    """Return what a ledger with these contracts says."""
    counted = frozenset(c.id for c in contracts if c.status is Status.COUNTED)
    return Reading(
        home=side.home,
        charter=STREET.charter,
        contracts={c.id: c for c in contracts},
        counted=counted,
        accounts=side.statements,
        proofs=(),
        bills=(),
        problems=(),
    )


BOUGHT, SOLD = contract(1, LOW, HIGH), contract(2, HIGH, LOW)
VOID, LATE = contract(3, LOW, HIGH, Status.VOID), contract(4, LOW, HIGH, slot=NEW_YEAR)


def told(*contracts: Contract) -> Reading:
    low, high = pair(*contracts)
    talk(low, high, LATER)
    return reading(low, *contracts)


def test_amounts_are_exact_until_they_are_printed_half_to_even() -> None:
    assert amount(123_456_789_001) == Decimal("123.456789001")
    assert [printed(nano, "EUR") for nano in (5_000_000, 15_000_000, 25_000_001)] == [
        "0.00 EUR",
        "0.02 EUR",
        "0.03 EUR",
    ]
    assert pays_words(-1_230_000_000, "Elm 3", "EUR") == "Elm 3 pays you 1.23 EUR"
    assert pays_words(4_999_999, "Elm 3", "EUR") == "nothing to pay"


def test_the_summary_counts_what_counts_and_says_what_both_signed() -> None:
    found = plain(summary(told(BOUGHT, SOLD, VOID), None, LATER))
    (line,) = found["partners"]
    assert (line["contracts"], line["bought_wh"], line["sold_wh"]) == (2, 101, 102)
    assert line["owed"] == line["stated"] == found["owed"] == "-0.000123457"
    assert (line["statement"], line["unstated_contracts"]) == (1, 0)
    assert found["concerns"] == found["problems"] == []


def test_a_month_is_one_of_the_owners_clock() -> None:
    assert summary(told(LATE), month_of("2027-01", BERLIN), LATER).partners[0].contracts == 1
    assert summary(told(LATE), month_of("2026-12", BERLIN), LATER).partners[0].contracts == 0
    assert NEW_YEAR in Month(year=2026, month=12, zone=UTC)
    with pytest.raises(ConfigError, match="2026-11"):
        month_of("2026-13", UTC)


def test_the_table_has_every_contract_and_its_amounts_are_the_summarys() -> None:
    rows = list(csv.DictReader(io.StringIO(contract_rows(told(BOUGHT, SOLD, VOID), None, BERLIN))))
    assert [row["status"] for row in rows] == ["counted", "counted", "void"]
    assert sum(Decimal(row["amount"]) for row in rows) == Decimal("-0.000123457")
    assert [row["side"] for row in rows] == ["bought", "sold", "bought"]
    assert rows[0]["price_per_kwh"] == "0.123457"
    assert rows[0]["slot_local"][:13] == (SLOT.start_at + timedelta(hours=2)).strftime("%Y-%m-%d %H")


def big(number: int, buyer: str, seller: str) -> Contract:
    return replace(contract(number, buyer, seller), energy_wh=1000 * number, price_micro=1_000_000)


def test_several_ledgers_are_netted_and_a_contract_of_one_side_only_is_named() -> None:
    round_trip = [big(2, LOW, HIGH), big(2, HIGH, OTHER), big(3, OTHER, LOW)]
    round_trip = [replace(c, id=f"{n:032x}") for n, c in enumerate(round_trip)]
    one, other = Side(LOW), Side(HIGH)
    both = community([reading(one, *round_trip), reading(other, *round_trip)], None)
    names = {member.id: member.name for member in STREET.charter.homes}
    assert [(t.payer, t.payee, t.amount_nano) for t in both.transfers] == [(names[OTHER], names[LOW], 10**9)]
    assert both.missing == (names[OTHER],)
    assert not both.disagreements
    assert netting_words(both).startswith("1 transfer settle")
    odd = community([reading(one, *round_trip), reading(other, *round_trip[1:])], None)
    assert len(odd.disagreements) == 1
    assert names[LOW] in odd.disagreements[0]


def test_the_page_escapes_and_says_who_pays_whom() -> None:
    home = told(BOUGHT)
    found = replace(summary(home, None, LATER), name="<Elm & 3>")
    page = statement_page(found, community([home], None), LATER)
    assert "&lt;Elm &amp; 3&gt;" in page
    assert "<script" not in page
    assert "http" not in page
    assert "In all: you pay the neighbourhood 0.01 EUR." in page


def test_people_are_told_of_what_machines_cannot_settle_and_of_nothing_else() -> None:
    low, high = pair(BOUGHT)
    names: dict[str, str] = {LOW: "low", HIGH: "high"}

    def texts(side: Side, now: datetime, *proofs: Any) -> list[str]:
        return [each.text for each in concerns(side.statements, proofs, lambda home: names.get(home, home), now)]

    talk(low, high, LATER, lost=[0])
    assert texts(low, LATER) == texts(high, LATER) == []
    assert "high has not signed the statement" in texts(low, LATER + timedelta(days=4))[0]
    assert "are in no statement" in texts(high, LATER + timedelta(days=40))[0]
    talk(low, high, LATER + timedelta(hours=1))
    assert texts(low, LATER + timedelta(days=40)) == []
    low.learn(contract(9, HIGH, LOW))
    talk(low, high, LATER + timedelta(days=2))
    assert texts(low, LATER + timedelta(days=2)) == ["high disputes statement 2 of low (1 contract, not counted here)"]
    proof = Proof(accused=HIGH, what="bid", slot=SLOT.key, terms="0" * 16, wires=(b"", b""))
    assert texts(low, LATER, proof)[0].startswith("high signed two bids in one round")
