"""The table of a run, for a terminal and for CONTROL_POINTS.md."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from removal import Result
from rich.console import Console
from rich.table import Table

DOCUMENT = Path(__file__).parents[2] / "CONTROL_POINTS.md"
BEGIN, END = "<!-- table: made by `make remove-any-one` -->", "<!-- end of table -->"
HEADER = ("component", "how", "what", "others traded", "batteries", "back after", "result")

ASKED_NOBODY = (
    "every TCP and UDP socket of every agent and guard, before and during each fault: only addresses in the settings"
)
NOT_BY_A_RUN = {
    "meeting brokers (optional)": "a street of its own, two of three dead, and all of them: `make meeting-brokers`, "
    "`tests/integration/test_meeting_brokers.py::"
    "test_two_of_three_dead_lose_nothing_and_after_all_were_dead_trading_goes_on`",
    "bids and trades, where the charter masks them": "the street of the run trades in the open; `make masked-proof` "
    "and the tests of its row",
    "a home's key and ledger": "the killed agents above; a stolen key is the lying member above until it is suspended: "
    "`tests/integration/test_charter_commands.py::"
    "test_a_suspended_key_is_out_at_once_on_every_machine_that_has_the_paper`",
    "inverter maker's cloud and firmware": f"the maker cannot be removed; the agent asks no cloud: {ASKED_NOBODY}",
    "prices of the grid": f"nobody to remove: {ASKED_NOBODY}",
    "weather (optional, off)": f"nobody to remove while it is off: {ASKED_NOBODY}",
    "default passwords": "nothing to remove: the tests of its row",
    "dashboard assets": "nothing to remove: the test of its row",
    "domain names (DNS)": "an address that leads elsewhere is the broker taken over above; "
    "`tests/remove/test_hostile_broker.py::test_a_name_that_leads_nowhere_silences_its_link_and_no_other`",
    "release channel, git host, package registry": f"running homes ask none: {ASKED_NOBODY}",
}
"""Components that no run removes, and what stands for it."""


def plain_table(results: Sequence[Result], ledgers: Mapping[str, Any], took_s: int) -> None:
    """Print the table and what did not hold."""
    table = Table(title="Remove any one: eight homes")
    for name in HEADER:
        table.add_column(name, overflow="fold")
    for result in results:
        *cells, _ = _cells(result)
        table.add_row(*cells, "[green]held[/]" if result.passed else "[bold red]FAILED[/]")
    console = Console()
    console.print(table)
    for result in results:
        case = result.case
        for why in result.wrong:
            console.print(f"[bold red]{case.row}, {case.how}[/] ({case.what}): {why}", highlight=False)
    console.print(_ledger_words(ledgers, took_s), highlight=False)


def one_line(result: Result) -> str:
    """Return what became of a case, while others still run."""
    case = result.case
    return f"{'held' if result.passed else 'FAILED'}: {case.row}, {case.how}: {case.what} {'; '.join(result.wrong)}"


def _cells(result: Result) -> tuple[str, ...]:
    case = result.case
    back = "not" if result.back_s is None else f"{result.back_s:.0f} s"
    traded = f"{result.slots} slots, {result.counted} contracts"
    return case.row, case.how, case.what, traded, result.batteries, back, "held" if result.passed else "**FAILED**"


def _ledger_words(ledgers: Mapping[str, Any], took_s: int) -> str:
    return (
        f"{ledgers['ledgers']} ledgers whose chains and signatures fit: {ledgers['contracts_counted']} contracts "
        f"counted on both sides, {ledgers['contracts_void']} void on both, {ledgers['ledger_mismatches']} on one side "
        f"only, {ledgers['wh_sold_twice']} Wh sold twice. {took_s} s."
    )


def write_document(results: Sequence[Result], ledgers: Mapping[str, Any], took_s: int) -> None:
    """Write the table into CONTROL_POINTS.md, and what stands for the rows that no run removes."""
    lines = [f"| {' | '.join(HEADER)} |", "|" + "---|" * len(HEADER)]
    lines += [f"| {' | '.join(_cells(result))} |" for result in results]
    lines += ["", _ledger_words(ledgers, took_s), "", "| component | instead of a run |", "|---|---|"]
    lines += [f"| {component} | {words} |" for component, words in NOT_BY_A_RUN.items()]
    head, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    body = "\n".join(lines)
    DOCUMENT.write_text(f"{head}{BEGIN}\n{body}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
