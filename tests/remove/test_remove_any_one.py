"""One row of `make remove-any-one`, four homes in one process; and that its judge sees a street that does not trade."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import removal
from battery_witness import Looks
from removal import Result, compare_ledgers, remove
from removal_cases import CASES, Case
from removed_street import HeldStreet, held_street
from result_table import BEGIN, DOCUMENT, END, NOT_BY_A_RUN

FORGES = next(case for case in CASES if "forges" in case.what)


@asynccontextmanager
async def all_apart(street: HeldStreet) -> AsyncIterator[None]:
    for name in street.names:
        await street.demo.brokers[name].become("cut")
    yield
    for name in street.names:
        await street.demo.brokers[name].become("open")


@pytest.mark.timeout(240)
def test_others_trade_on_beside_a_broker_that_forges_and_a_street_without_trade_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = Case(row="all", how="cut off", what="all homes from each other", fault=all_apart)

    async def scenario() -> tuple[Result, Result, dict[str, object]]:
        async with held_street(tmp_path, 360.0, homes=4, processes=False) as street:
            forged = await remove(street, FORGES)
            monkeypatch.setattr(removal, "TRADE_S", 8.0)
            apart = await remove(street, cut)
            street.demo.finish()
            await street.task
            return forged, apart, compare_ledgers(street, [forged])

    forged, apart, ledgers = asyncio.run(scenario())
    assert forged.wrong == []
    assert forged.told > 100
    assert forged.counted > 0
    assert "the others do not trade with each other" in apart.wrong
    assert (ledgers["ledger_mismatches"], ledgers["wh_sold_twice"]) == (0, 0)


@pytest.mark.parametrize(
    ("switched", "power_w", "soc_pct", "grid_w", "good"),
    [
        (False, 700.0, 50.0, 10.0, True),
        (False, 1500.0, 50.0, 900.0, True),  # gives all it can
        (False, 0.0, 0.0, 700.0, True),  # empty
        (False, 0.0, 100.0, -1900.0, True),  # full
        (True, -900.0, 50.0, 1600.0, True),  # its plan charges from a neighbour's sun
        (False, 0.0, 50.0, 700.0, False),
        (False, -800.0, 50.0, 1500.0, False),
        (False, 1500.0, 50.0, -800.0, False),
        (True, 1600.0, 50.0, -900.0, False),
    ],
)
def test_the_witness_knows_a_battery_that_goes_astray(
    switched: bool, power_w: float, soc_pct: float, grid_w: float, good: bool
) -> None:
    looks = Looks()
    assert not looks.goes_on  # who was never seen proves nothing
    for _ in range(8):
        looks.note(False, 700.0, 50.0, 0.0)
    assert looks.goes_on
    for _ in range(2):
        looks.note(switched, power_w, soc_pct, grid_w)
    assert looks.goes_on is good


def components() -> set[str]:
    """Return the components of CONTROL_POINTS.md's first table."""
    lines = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)[0].splitlines()
    return {line.split("|")[1].strip() for line in lines if line.startswith("|")} - {"component", "---"}


def test_every_control_point_is_removed_or_says_why_not() -> None:
    assert components() == {case.row for case in CASES} | NOT_BY_A_RUN.keys()
    assert not {case.row for case in CASES} & NOT_BY_A_RUN.keys()


def test_the_table_in_the_document_is_of_these_cases() -> None:
    table = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    rows = {tuple(cell.strip() for cell in line.split("|")[1:4]) for line in table.splitlines() if line.startswith("|")}
    assert {(case.row, case.how, case.what) for case in CASES} <= rows, "run: make remove-any-one ARGS=--write"
