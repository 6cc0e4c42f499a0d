"""What `commonwatt ledger` prints."""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from agent.ledger_report import (
    Community,
    Summary,
    called,
    exact,
    name_of,
    netting_words,
    pays_words,
    printed,
)
from coordinator.charter import Charter
from coordinator.evidence import Verdict
from coordinator.ledger_export import About, Export
from coordinator.ledger_reading import Reading, proof_words
from coordinator.messages import Offer

SLOW_ROWS = 20_000
"""From here on a person wants to see that something happens."""


@contextlib.contextmanager
def progress(words: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how far a long check is, on the error channel."""
    if total < SLOW_ROWS:
        yield lambda done: None
        return
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(words, total=total)
        yield lambda done: bar.update(task, completed=done) if done % 500 == 0 else None


def show_summary(found: Summary) -> None:
    """Print a home's ledger."""
    console = Console()
    head = Text(found.name, "bold")
    head.append(f" in {found.community}, {found.month or 'everything so far'}", "dim")
    console.print(head)
    if not found.partners:
        console.print("No contracts yet.")
    else:
        console.print(_partners(found))
        console.print(f"In all: {pays_words(found.owed_nano, 'the neighbourhood', found.currency)}.")
    if found.waiting:
        console.print(f"{found.waiting} contracts wait for the neighbour's last word.", style="dim")
    for text in (*(concern.text for concern in found.concerns), *found.proofs, *found.problems):
        console.print(Text(f"! {text}", "yellow"), soft_wrap=True)


def _partners(found: Summary) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("Neighbour", no_wrap=True)
    for title in ("Contracts", "Bought\nkWh", "Sold\nkWh"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("For this period")
    table.add_column("Signed by both, since the first")
    for line in found.partners:
        signed = "no statement yet"
        if line.statement:
            signed = f"no. {line.statement}: {pays_words(line.stated_nano, line.name, found.currency, you='you')}"
        if line.unstated:
            signed += f"; {line.unstated} newer contracts"
        table.add_row(
            line.name,
            str(line.contracts),
            f"{line.bought_wh / 1000:.2f}",
            f"{line.sold_wh / 1000:.2f}",
            pays_words(line.owed_nano, line.name, found.currency),
            signed,
        )
    return table


def show_community(whole: Community) -> None:
    """Print who pays whom, where several ledgers are known."""
    console = Console()
    for text in whole.disagreements:
        console.print(Text(f"! {text}", "yellow"), soft_wrap=True)
    if len(whole.known) < 2:
        return
    console.print(f"From the ledgers of {', '.join(whole.known)}: {netting_words(whole)}")
    if whole.missing:
        console.print(f"What {', '.join(whole.missing)} traded with each other is not in it.", style="dim")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("Pays", "To"):
        table.add_column(title, no_wrap=True)
    table.add_column("Amount", justify="right", no_wrap=True)
    for transfer in whole.transfers:
        table.add_row(transfer.payer, transfer.payee, printed(transfer.amount_nano, whole.currency))
    console.print(table)


def about_words(about: About, charter: Charter) -> str:
    """Return what evidence bears on."""
    words = f"what {called(about.home, charter)} and {called(about.partner, charter)} signed to each other"
    if about.slot is not None:
        words += f" for the slot of {datetime.fromtimestamp(about.slot, UTC):%Y-%m-%d %H:%M} UTC"
    return words if about.contract is None else f"{words} about contract {about.contract}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a check of one file came to."""

    file: str
    home: str
    name: str
    community: str
    lines: tuple[str, ...]
    problems: tuple[str, ...]

    @classmethod
    def of(cls, reading: Reading, rows: int, file: str) -> "Checked":
        """Of a whole ledger."""
        statements = sum(len(account.chain) for account in reading.accounts.accounts.values())
        disputes = sum(len(account.disputes) for account in reading.accounts.accounts.values())
        lines = [
            f"{rows} rows: signatures and hash chain fit",
            f"{len(reading.count)} contracts count, each countersigned and in its buyer's position; "
            f"{len(reading.contracts) - len(reading.count)} do not",
            f"{len(reading.bills)} bills and {statements} statements signed by both are the sums of their contracts",
            *([f"{disputes} disputes"] if disputes else []),
            *(f"proved: {name_of(reading, each.accused)} {proof_words(each)}" for each in reading.proofs),
        ]
        return cls(
            file=file,
            home=reading.home,
            name=name_of(reading, reading.home),
            community=reading.charter.community_id,
            lines=tuple(lines) if not reading.problems else tuple(lines[:1] + lines[3:]),
            problems=reading.problems,
        )

    @classmethod
    def of_evidence(cls, given: Export, verdict: Verdict, file: str) -> "Checked":
        """Of what bears on a dispute."""
        charter = given.charter
        about, currency = given.about, charter.currency
        assert about is not None

        def name(home: str) -> str:
            return called(home, charter)

        def contract(offer: Offer) -> str:
            start = f"{datetime.fromtimestamp(offer.slot, UTC):%Y-%m-%d %H:%M} UTC"
            price = exact(offer.price_micro * 1000)
            sold = f"{name(offer.seller)} to {name(offer.sender)}, {offer.energy_wh} Wh at {price} {currency}/kWh"
            return f"{offer.contract_id} ({start}): {sold}"

        lines = [
            f"evidence: {about_words(about, charter)}; {len(given.rows)} messages, every signature fits",
            *(f"counts: {contract(offer)}" for offer in verdict.counted),
            *(f"does not count by what is shown: {contract(offer)}" for offer in verdict.not_counted),
            *(
                f"signed by both: statement {each.number}, {name(each.sender)} owes {name(each.to)} "
                f"{exact(each.balance_nano)} {currency} since the first contract"
                for each in verdict.statements
            ),
            *(f"proved: {name(each.accused)} {proof_words(each)}" for each in verdict.proofs),
        ]
        home = given.head.home
        return cls(
            file=file,
            home=home,
            name=name(home),
            community=charter.community_id,
            lines=tuple(lines),
            problems=(),
        )


def show_checked(checked: Sequence[Checked], whole: Community | None, *, as_json: bool) -> None:
    """Print what checks came to."""
    if as_json:
        plain = {"files": [asdict(each) for each in checked], "together": None if whole is None else asdict(whole)}
        typer.echo(json.dumps(plain, indent=2, ensure_ascii=False, default=str))
        return
    console = Console()
    for each in checked:
        good = "[red]wrong[/]" if each.problems else "[green]right[/]"
        console.print(f"{good}  [bold]{each.name}[/], home {each.home}, community {each.community}", highlight=False)
        console.print(Text(f"       {each.file}", "dim"), soft_wrap=True)
        for line in each.lines:
            console.print(Text(f"       {line}"), soft_wrap=True)
        for problem in each.problems:
            console.print(Text(f"     ! {problem}", "red"), soft_wrap=True)
    if whole is not None:
        show_community(whole)
