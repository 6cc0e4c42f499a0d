"""What ledgers say, for owners: per partner, per month, and who pays whom. Pure; exact until it is printed."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any

from coordinator.charter import Charter
from coordinator.concerns import Concern, concerns
from coordinator.contracts import Contract, Status
from coordinator.errors import ConfigError
from coordinator.ledger_reading import Reading, proof_words
from coordinator.netting import EXACT_MAX, Transfer, fewest_transfers
from coordinator.quantities import cents, from_micro

COLUMNS = (
    *("slot_utc", "slot_local", "made", "side", "partner", "partner_id", "energy_wh", "price_per_kwh", "amount"),
    *("status", "contract_id"),
)
HALF_A_CENT = 5_000_000
"""In 1e-9 of the currency: what prints as 0.00 nobody pays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A local month; None stands for all there is."""

    year: int
    month: int
    zone: tzinfo

    def __contains__(self, slot: int) -> bool:
        at = datetime.fromtimestamp(slot, self.zone)
        return (at.year, at.month) == (self.year, self.month)

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"


def month_of(text: str | None, zone: tzinfo) -> Month | None:
    """Read an option.

    Raises:
        ConfigError: If it is no month.
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d{4})-(0[1-9]|1[0-2])", text)
    if found is None:
        raise ConfigError(f"--month {text!r} is no month: write it like 2026-11")
    return Month(year=int(found[1]), month=int(found[2]), zone=zone)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartnerLine:
    """What counts between this home and one partner. Amounts in 1e-9 of the currency: + this home pays."""

    id: str
    name: str
    contracts: int
    bought_wh: int
    sold_wh: int
    owed_nano: int
    statement: int
    """Number of the newest statement both signed; 0 is none."""
    stated_nano: int
    stated_until: int | None
    """Newest slot that statement names."""
    unstated: int
    """Contracts that no statement of both names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One home's ledger, of a month or all of it."""

    home: str
    name: str
    community: str
    community_id: str
    currency: str
    month: str | None
    partners: tuple[PartnerLine, ...]
    waiting: int
    """Contracts whose partner has not said its last word."""
    concerns: tuple[Concern, ...]
    proofs: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def owed_nano(self) -> int:
        return sum(line.owed_nano for line in self.partners)


def called(home: str, charter: Charter) -> str:
    """Return a home's name, its id where the charter never had it: what a file says of others need not be true."""
    member = charter.ever.get(home)
    return home if member is None else member.name


def name_of(reading: Reading, home: str) -> str:
    return called(home, reading.charter)


def summary(reading: Reading, month: Month | None, now: datetime) -> Summary:
    """Return what the ledger says."""
    counted = [contract for contract in reading.count if month is None or contract.slot in month]
    partners = {reading.partner(contract) for contract in reading.count} | set(reading.accounts.accounts)
    lines = [_line(reading, partner, [c for c in counted if reading.partner(c) == partner]) for partner in partners]
    return Summary(
        home=reading.home,
        name=name_of(reading, reading.home),
        community=reading.charter.name,
        community_id=reading.charter.community_id,
        currency=reading.charter.currency,
        month=None if month is None else str(month),
        partners=tuple(sorted(lines, key=lambda line: line.name)),
        waiting=sum(contract.status is Status.ACCEPTED for contract in reading.contracts.values()),
        concerns=tuple(concerns(reading.accounts, (), lambda home: name_of(reading, home), now)),
        proofs=tuple(f"{name_of(reading, p.accused)} {proof_words(p)} ({_day(p.slot)})" for p in reading.proofs),
        problems=reading.problems,
    )


def _line(reading: Reading, partner: str, counted: Sequence[Contract]) -> PartnerLine:
    account = reading.accounts.of(partner)
    of_partner = [contract for contract in reading.count if reading.partner(contract) == partner]
    return PartnerLine(
        id=partner,
        name=name_of(reading, partner),
        contracts=len(counted),
        bought_wh=sum(c.energy_wh for c in counted if c.buyer == reading.home),
        sold_wh=sum(c.energy_wh for c in counted if c.seller == reading.home),
        owed_nano=sum(reading.owed_nano(c) for c in counted),
        statement=account.number,
        stated_nano=reading.stated_nano(partner),
        stated_until=None if account.signed is None else account.signed.statement.message.slot,
        unstated=sum(contract.id not in account.covered for contract in of_partner),
    )


def _day(slot: int) -> str:
    return f"{datetime.fromtimestamp(slot, UTC):%Y-%m-%d %H:%M} UTC"


def amount(nano: int) -> Decimal:
    """Return an exact amount in units of the currency."""
    return Decimal(nano).scaleb(-9)


def exact(nano: int) -> str:
    """Return an exact amount to read, without zeros that say nothing."""
    return f"{amount(nano).normalize():f}"


def printed(nano: int, currency: str) -> str:
    """Return an amount to read: cents, half even."""
    return f"{cents(amount(nano))} {currency}"


def pays_words(nano: int, name: str, currency: str, you: str = "You") -> str:
    """Return who of the two pays how much."""
    if abs(nano) <= HALF_A_CENT:
        return "nothing to pay"
    if nano > 0:
        return f"{you} pay {name} {printed(nano, currency)}"
    return f"{name} pays you {printed(-nano, currency)}"


# Several homes


@dataclass(frozen=True, slots=True, kw_only=True)
class Community:
    """What several ledgers say together. Amounts in 1e-9 of the currency."""

    currency: str
    pairs: tuple[tuple[str, str, int], ...]
    """Names of who pays and who gets, before netting."""
    transfers: tuple[Transfer, ...]
    """Of names; after netting."""
    exact: bool
    """Whether fewer transfers are impossible."""
    known: tuple[str, ...]
    missing: tuple[str, ...]
    """Names of members whose ledger was not given: what they traded with each other is not in it."""
    disagreements: tuple[str, ...]


def community(readings: Sequence[Reading], month: Month | None) -> Community:
    """Net what all given ledgers say: a contract that one of them proves counts.

    Raises:
        ConfigError: If they are of several communities.
    """
    first = readings[0]
    if len({reading.charter.community_id for reading in readings}) > 1:
        raise ConfigError("these ledgers are of several communities: net each by itself")
    contracts = {c.id: c for reading in readings for c in reading.count if month is None or c.slot in month}
    owed: dict[tuple[str, str], int] = {}
    due: dict[str, int] = {}
    for contract in contracts.values():
        nano = contract.energy_wh * contract.price_micro
        low, high = sorted((contract.buyer, contract.seller))
        owed[low, high] = owed.get((low, high), 0) + (nano if contract.buyer == low else -nano)
        due[contract.buyer] = due.get(contract.buyer, 0) - nano
        due[contract.seller] = due.get(contract.seller, 0) + nano
    names = {home: name_of(first, home) for home in due}
    pairs = [(low, high, nano) if nano > 0 else (high, low, -nano) for (low, high), nano in sorted(owed.items())]
    transfers = [t for t in fewest_transfers(due) if t.amount_nano > HALF_A_CENT]
    homes = {reading.home for reading in readings}
    return Community(
        currency=first.charter.currency,
        pairs=tuple((names[a], names[b], nano) for a, b, nano in pairs if nano > HALF_A_CENT),
        transfers=tuple(
            Transfer(payer=names[t.payer], payee=names[t.payee], amount_nano=t.amount_nano) for t in transfers
        ),
        exact=sum(nano != 0 for nano in due.values()) <= EXACT_MAX,
        known=tuple(sorted(name_of(first, home) for home in homes)),
        missing=tuple(sorted(name_of(first, home) for home in set(first.charter.by_id) - homes)),
        disagreements=tuple(_disagreements(readings)),
    )


def _disagreements(readings: Sequence[Reading]) -> Iterable[str]:
    """Yield contracts that one ledger counts and the other side's, also given, does not."""
    by_home = {reading.home: reading for reading in readings}
    for reading in readings:
        for contract in reading.count:
            other = by_home.get(reading.partner(contract))
            if other is not None and contract.id not in other.counted:
                sides = f"{name_of(reading, reading.home)}'s ledger, not in {name_of(reading, other.home)}'s"
                yield f"contract {contract.id} ({_day(contract.slot)}) counts in {sides}"


def netting_words(found: Community) -> str:
    """Return how the transfers came to be, in one sentence."""
    count = f"{len(found.transfers)} transfer{'s' if len(found.transfers) != 1 else ''}"
    least = "fewer are not possible" if found.exact else f"for more than {EXACT_MAX} homes fewer may be possible"
    return f"{count} settle everything; {least}. Amounts below half a cent are left out."


# Tables


def contract_rows(reading: Reading, month: Month | None, zone: tzinfo) -> str:
    """Return the contracts as CSV, decided or not; amounts are exact, + is paid by this home."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for contract in sorted(reading.contracts.values(), key=lambda c: (c.slot, c.trade, c.id)):
        if month is not None and contract.slot not in month:
            continue
        partner, start = reading.partner(contract), datetime.fromtimestamp(contract.slot, UTC)
        counts = contract.status is Status.COUNTED
        writer.writerow(
            [
                f"{start:%Y-%m-%dT%H:%M:%SZ}",
                f"{start.astimezone(zone):%Y-%m-%d %H:%M}",
                "before the slot" if contract.trade == "slot" else "afterwards",
                "bought" if contract.buyer == reading.home else "sold",
                name_of(reading, partner),
                partner,
                contract.energy_wh,
                format(from_micro(contract.price_micro), "f"),
                format(amount(reading.owed_nano(contract)) if counts else Decimal(0), "f"),
                contract.status.value,
                contract.id,
            ]
        )
    return text.getvalue()


def plain(found: Summary) -> dict[str, Any]:
    """Return the summary for scripts: amounts as exact decimals, + is paid by this home."""
    return {
        "home": found.home,
        "name": found.name,
        "community": found.community_id,
        "currency": found.currency,
        "month": found.month,
        "partners": [
            {
                "id": line.id,
                "name": line.name,
                "contracts": line.contracts,
                "bought_wh": line.bought_wh,
                "sold_wh": line.sold_wh,
                "owed": format(amount(line.owed_nano), "f"),
                "statement": line.statement,
                "stated": format(amount(line.stated_nano), "f"),
                "stated_until": line.stated_until,
                "unstated_contracts": line.unstated,
            }
            for line in found.partners
        ],
        "owed": format(amount(found.owed_nano), "f"),
        "waiting": found.waiting,
        "concerns": [concern.text for concern in found.concerns],
        "proofs": list(found.proofs),
        "problems": list(found.problems),
    }
