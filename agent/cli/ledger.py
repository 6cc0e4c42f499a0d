"""`commonwatt ledger ...`: what a home and its neighbours owe each other, and files by which anybody can check it.

Everything here only reads; the home may run meanwhile.
"""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Annotated

import typer

from agent.charter_state import CharterState
from agent.cli import ledger_view as view
from agent.cli.market import moment
from agent.config import load_config
from agent.ledger_page import statement_page
from agent.ledger_report import Community, community, contract_rows, month_of, name_of, plain, summary
from coordinator.clock import WallClock, unix_ms
from coordinator.errors import ConfigError
from coordinator.evidence import judge, rows_about
from coordinator.identity import Identity
from coordinator.ledger import Entry
from coordinator.ledger_export import About, EvidenceError, Export, export, read_export
from coordinator.ledger_file import read_ledger
from coordinator.ledger_reading import Reading, entries_of, read
from coordinator.slots import Slot

app = typer.Typer(
    help="Contracts, balances and statements with the neighbours, and files that prove them. Only reads.",
    no_args_is_help=True,
)

ConfigFile = Annotated[Path, typer.Option(help="The home's TOML file.")]
MonthOption = Annotated[str | None, typer.Option(help="A month, local time: 2026-11.", show_default="all")]
AsJson = Annotated[bool, typer.Option("--json", help="Print as JSON.")]

DEFAULT = Path("home.toml")


class _Home:
    """One home's ledger, read and checked."""

    def __init__(self, config: Path) -> None:
        self.config = load_config(config)
        self.zone: tzinfo = self.config.home.zone
        clock = self.config.clock.clock() if self.config.clock else WallClock()
        self.now: datetime = clock.now()
        self.file = read_ledger(self.config.home.data_dir / "ledger.db")
        state = CharterState(self.config, self.file.owner)
        self.papers = [state.history(), *state.left_histories()]
        self.charter = self.papers[0].in_force(unix_ms(self.now), state.left())
        with view.progress("Checking signatures", len(self.file.rows)) as advance:
            self.entries = entries_of(self.file.rows, self.charter, self.file.owner, advance)
        self.reading: Reading = read(self.entries, self.charter, self.file.owner)

    def member(self, name: str) -> str:
        """Return the id of a member by name or id."""
        ever = self.charter.ever
        called = [home for home, member in ever.items() if name in {home, member.name}]
        now = [home for home in called if home in self.charter.by_id]
        if len(found := now or called) == 1:
            return found[0]
        if found:
            raise ConfigError(f"several former members were called {name!r}: give the id, {' or '.join(found)}")
        names = ", ".join(sorted(member.name for member in self.charter.homes))
        raise ConfigError(f"no member is called {name!r}: there are {names}")

    def export(self, about: About | None = None) -> bytes:
        rows = self.file.rows if about is None else tuple(rows_about(self.file.rows, self.entries, about))
        if not rows and about is not None:
            raise ConfigError(f"the ledger holds nothing of {view.about_words(about, self.charter)}")
        return export(
            identity=Identity.load(self.config.community.key_file),
            incarnation=self.file.incarnation,
            exported_ms=unix_ms(self.now),
            papers=self.papers,
            rows=rows,
            about=about,
        )


@app.command()
def show(config: ConfigFile = DEFAULT, month: MonthOption = None, as_json: AsJson = False) -> None:
    """Print what this home and each neighbour owe each other, what both signed, and what people must look at."""
    home = _Home(config)
    found = summary(home.reading, month_of(month, home.zone), home.now)
    if as_json:
        typer.echo(json.dumps(plain(found), indent=2, ensure_ascii=False))
    else:
        view.show_summary(found)


@app.command("export")
def export_(
    folder: Annotated[Path, typer.Argument(help="Where the files go; it is made.")],
    config: ConfigFile = DEFAULT,
    month: MonthOption = None,
    others: Annotated[
        list[Path] | None, typer.Option("--with", help="A neighbour's export: payments are netted. May be repeated.")
    ] = None,
    about: Annotated[
        str | None, typer.Option(help="Only evidence: what this home and this neighbour signed to each other.")
    ] = None,
    slot: Annotated[str | None, typer.Option(help="With --about: only this slot, UTC: 2026-11-03T12:00.")] = None,
    contract: Annotated[str | None, typer.Option(help="With --about: only this contract's id.")] = None,
) -> None:
    """Write the whole signed ledger, a table of the contracts, and a statement to print; or evidence of a dispute."""
    home = _Home(config)
    if about is None and (slot or contract):
        raise ConfigError("--slot and --contract say what evidence is about: name the neighbour with --about")
    if about is not None:
        _write(folder, [_evidence(home, about, slot, contract)])
        return
    chosen = month_of(month, home.zone)
    theirs = [_reading(*_checked(path)) for path in others or ()]
    whole = community([home.reading, *(each for each in theirs if each.home != home.reading.home)], chosen)
    found = summary(home.reading, chosen, home.now)
    name, period = _file_name(found.name), "all" if chosen is None else str(chosen)
    page = statement_page(found, whole, home.now.astimezone(home.zone))
    _write(
        folder,
        [
            (f"ledger-{name}.txt", home.export()),
            (f"contracts-{name}-{period}.csv", contract_rows(home.reading, chosen, home.zone).encode()),
            (f"statement-{name}-{period}.html", page.encode()),
        ],
    )
    view.show_community(whole)


@app.command()
def verify(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Exports or evidence; without any, the own ledger.")
    ] = None,
    config: ConfigFile = DEFAULT,
    community_id: Annotated[
        str | None, typer.Option("--community", help="The id the community must have, as its members know it.")
    ] = None,
    month: Annotated[str | None, typer.Option(help="What is netted: a month, UTC.", show_default="all")] = None,
    as_json: AsJson = False,
) -> None:
    """Check files offline, by the public keys in their charter: every byte, signature, contract and sum.

    Several whole ledgers are compared with each other, and what they owe is netted to the fewest transfers.
    """
    if not files:
        home = _Home(config)
        _same_community("the own ledger", home.charter.community_id, community_id)
        if month is not None:
            raise ConfigError("--month says what is netted between several exports: name them")
        _report([view.Checked.of(home.reading, len(home.file.rows), "the own ledger")], None, as_json)
        return
    checked: list[view.Checked] = []
    readings: list[Reading] = []
    for path in files:
        given, entries = _checked(path)
        _same_community(str(path), given.charter.community_id, community_id)
        if given.whole:
            readings.append(_reading(given, entries))
            checked.append(view.Checked.of(readings[-1], len(entries), str(path)))
        else:
            verdict = judge(entries, given.charter, given.head.home)
            checked.append(view.Checked.of_evidence(given, verdict, str(path)))
    whole = community(readings, month_of(month, UTC)) if len(readings) > 1 else None
    _report(checked, whole, as_json)


def _same_community(what: str, found: str, asked: str | None) -> None:
    if asked not in {None, found}:
        raise EvidenceError(f"{what} is of community {found}, not of {asked}")


def _report(checked: Sequence[view.Checked], whole: Community | None, as_json: bool) -> None:
    """Print what was found; the process ends with 1 where something is wrong."""
    view.show_checked(checked, whole, as_json=as_json)
    if any(each.problems for each in checked) or (whole is not None and whole.disagreements):
        raise typer.Exit(1)


def _checked(path: Path) -> tuple[Export, list[Entry]]:
    """Read a file and check every signature in it."""
    try:
        given = read_export(path.read_bytes())
        with view.progress(f"Checking {path.name}", len(given.rows)) as advance:
            return given, entries_of(given.rows, given.charter, given.head.home, advance)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except EvidenceError as error:
        raise EvidenceError(f"{path}: {error}") from None


def _reading(given: Export, entries: list[Entry]) -> Reading:
    if not given.whole:
        raise ConfigError("evidence is a part of a ledger: give the whole export")
    return read(entries, given.charter, given.head.home)


def _evidence(home: _Home, partner: str, slot: str | None, contract: str | None) -> tuple[str, bytes]:
    other, at = home.member(partner), moment(slot)
    key = None if at is None else Slot.at(at, home.charter.rules.slot_s).key
    about = About(home=home.file.owner, partner=other, slot=key, contract=contract)
    names = (_file_name(name_of(home.reading, each)) for each in (about.home, other))
    return f"evidence-{'-'.join(names)}.txt", home.export(about)


def _file_name(name: str) -> str:
    return re.sub(r"[^\w]+", "-", name)


def _write(folder: Path, files: Sequence[tuple[str, bytes]]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files:
            (folder / name).write_bytes(content)
            typer.echo(f"wrote {folder / name}", err=True)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}; name another folder") from None
