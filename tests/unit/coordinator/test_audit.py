"""The audit finds what must never be: ledgers that disagree, and energy that was sold twice."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from neighbourhood import Neighbourhood

from coordinator.audit import Audit, AuditError, Books, audit, read_books
from coordinator.contracts import Contract, Status
from coordinator.ledger import GENESIS, chain, first_broken
from coordinator.ledger_store import LedgerStore
from coordinator.sessions import Session

SLOT = 900
PLAIN = Contract(
    id="c1", slot=SLOT, seller="anna", buyer="bert", energy_wh=100, price_micro=180_000, status=Status.COUNTED,
    offer_hash="h", expires_ms=0,
)  # fmt: skip


def books(mandate_wh: int = 1000, **homes: list[Contract]) -> dict[str, Books]:
    mandates = {Session(SLOT): mandate_wh}
    return {
        home: Books(contracts={c.id: c for c in made}, mandates_wh=mandates if home == "anna" else {})
        for home, made in homes.items()
    }


def result(counted: int = 0, void: int = 0, mismatches: int = 0, twice: int = 0, residual: int = 0) -> Audit:
    return Audit(
        contracts_counted=counted,
        contracts_residual=residual,
        contracts_void=void,
        ledger_mismatches=mismatches,
        wh_sold_twice=twice,
    )


def test_ledgers_that_agree_are_counted_once() -> None:
    assert audit(books(anna=[PLAIN], bert=[PLAIN])) == result(counted=1)
    assert audit({}) == result()


@pytest.mark.parametrize(
    ("buyers", "sellers", "expected"),
    [
        (Status.COUNTED, Status.VOID, result(mismatches=1)),
        (Status.COUNTED, Status.FREED, result(mismatches=1)),
        (Status.VOID, Status.COUNTED, result(mismatches=1)),
        (Status.LAPSED, Status.COUNTED, result(mismatches=1)),
        (Status.LAPSED, Status.FREED, result(void=1)),
        (Status.REJECTED, Status.REJECTED, result(void=1)),
        (Status.VOID, Status.VOID, result(void=1)),
        (Status.BOUND, Status.ACCEPTED, result()),
        (Status.COUNTED, Status.ACCEPTED, result()),
        (Status.OFFERED, Status.ACCEPTED, result()),
    ],
)
def test_one_side_counting_what_the_other_does_not_is_a_mismatch(
    buyers: Status, sellers: Status, expected: Audit
) -> None:
    anna, bert = [replace(PLAIN, status=sellers)], [replace(PLAIN, status=buyers)]
    assert audit(books(anna=anna, bert=bert)) == expected


@pytest.mark.parametrize("change", [{"energy_wh": 101}, {"price_micro": 1}, {"slot": 1800}, {"trade": "residual"}])
def test_counting_other_content_is_a_mismatch(change: dict[str, Any]) -> None:
    assert audit(books(anna=[PLAIN], bert=[replace(PLAIN, **change)])).ledger_mismatches == 1


def test_a_contract_that_only_one_ledger_has_is_a_mismatch_if_it_counts_there() -> None:
    assert audit(books(anna=[], bert=[PLAIN])).ledger_mismatches == 1
    assert audit(books(anna=[PLAIN], bert=[])).ledger_mismatches == 1
    assert audit(books(anna=[], bert=[replace(PLAIN, status=Status.LAPSED)])) == result(void=1)


def test_without_the_partners_ledger_nothing_is_accused() -> None:
    assert audit(books(bert=[PLAIN])) == result(counted=1)


def test_energy_beyond_the_sellers_mandate_was_sold_twice() -> None:
    second = replace(PLAIN, id="c2", buyer="carl", energy_wh=60)
    homes = {"anna": [PLAIN, second], "bert": [PLAIN], "carl": [second]}
    assert audit(books(160, **homes)) == result(counted=2)
    assert audit(books(150, **homes)) == result(counted=2, twice=10)
    assert audit(books(0, **homes)) == result(counted=2, twice=160)
    other_slot = replace(second, slot=SLOT + 900)
    apart = books(100, anna=[PLAIN, other_slot], bert=[PLAIN], carl=[other_slot])
    assert audit(apart).wh_sold_twice == 60  # a mandate is for one slot


def test_a_residual_contract_has_a_mandate_of_its_own() -> None:
    after = replace(PLAIN, id="c2", trade="residual")
    homes = books(100, anna=[PLAIN, after], bert=[PLAIN, after])
    assert audit(homes) == result(counted=2, residual=1, twice=100)
    mandates = {Session(SLOT): 100, Session(SLOT, "residual"): 100}
    homes["anna"] = replace(homes["anna"], mandates_wh=mandates)
    assert audit(homes) == result(counted=2, residual=1)


def test_what_the_buyer_does_not_count_was_not_sold() -> None:
    void = replace(PLAIN, status=Status.VOID)
    assert audit(books(0, anna=[void], bert=[void])).wh_sold_twice == 0


def street(folder: Path) -> Neighbourhood:
    made = Neighbourhood(folder, homes=3, seed=2)
    made.run_slots(3)
    for desk in list(made.desks):
        made.stop(desk)
    return made


def test_a_ledger_is_read_only_if_its_chain_and_every_signature_hold(tmp_path: Path) -> None:
    made = street(tmp_path)
    home = made.identities[0].id
    path = tmp_path / f"{home}.db"
    assert read_books(path, made.charter, home).contracts
    with LedgerStore(path, home) as store:
        number, wire = store._db.execute("SELECT number, wire FROM rows WHERE kind = 'position'").fetchone()
        store._db.execute("UPDATE rows SET wire = ? WHERE number = ?", (wire.replace(b'":', b'": ', 1), number))
    with pytest.raises(AuditError, match=f"row {number} does not fit the hash chain"):
        read_books(path, made.charter, home)


def test_a_ledger_that_was_forged_with_a_new_chain_is_found_by_its_signatures(tmp_path: Path) -> None:
    made = street(tmp_path)
    home = made.identities[0].id
    with LedgerStore(tmp_path / f"{home}.db", home) as store:
        previous, forged = GENESIS, 0
        for row in list(store.rows()):
            wire = row.wire.replace(b'"sold_wh":', b'"sold_wh":1')
            forged += wire != row.wire
            previous = chain(previous, row.origin, row.at_ms, wire)
            store._db.execute("UPDATE rows SET wire = ?, hash = ? WHERE number = ?", (wire, previous, row.number))
        assert forged
        assert first_broken(store.rows()) is None
    with pytest.raises(AuditError, match="does not verify"):
        read_books(tmp_path / f"{home}.db", made.charter, home)
