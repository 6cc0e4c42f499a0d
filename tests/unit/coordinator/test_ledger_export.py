"""Anybody checks an exported ledger offline: no byte of it can be changed, and what it says follows from signatures."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from neighbourhood import Neighbourhood

from agent.cli.ledger_view import Checked
from coordinator.charter_history import History
from coordinator.clock import unix_ms
from coordinator.codec import encode
from coordinator.errors import CommonwattError, ConfigError
from coordinator.evidence import judge, rows_about
from coordinator.identity import Identity, encode_base64
from coordinator.ledger import GENESIS, Mark, Origin, Row, chain, local
from coordinator.ledger_export import About, EvidenceError, Export, export, read_export
from coordinator.ledger_file import read_ledger
from coordinator.ledger_reading import Reading, entries_of, read
from coordinator.messages import ADAPTER


class Traded:
    """A street that traded, with a ledger file per home."""

    def __init__(self, folder: Path) -> None:
        self.street = Neighbourhood(folder, homes=2, seed=5, state_every=timedelta(hours=1))
        self.one, self.other = self.street.identities
        for number, identity in enumerate((self.one, self.other)):
            self.street.homes[identity.id].seed = number
        self.street.run_slots(14)
        self.now = self.street.now
        charter = self.street.charter
        signatures = {i.id: encode_base64(i.sign(charter.canonical)) for i in self.street.identities}
        self.papers = History(charter=charter, signatures=signatures)

    def rows(self, identity: Identity) -> tuple[Row, ...]:
        return read_ledger(self.street.folder / f"{identity.id}.db").rows

    def export(self, rows: tuple[Row, ...], identity: Identity, **more: Any) -> bytes:
        given = {"incarnation": 1, "exported_ms": unix_ms(self.now), "papers": [self.papers], **more}
        return export(identity=identity, rows=rows, **given)


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traded]:
    made = Traded(tmp_path_factory.mktemp("street"))
    yield made
    made.street.audit()


def whole(given: Export) -> Reading:
    return read(entries_of(given.rows, given.charter, given.head.home), given.charter, given.head.home)


def chained(rows: tuple[Row, ...], change: Callable[[Row], Row]) -> tuple[Row, ...]:
    """Return the rows after a change, with a hash chain that fits again: what a home can do to its own ledger."""
    made: list[Row] = []
    previous = GENESIS
    for number, row in enumerate((change(row) for row in rows), start=1):
        previous = chain(previous, row.origin, row.at_ms, row.wire)
        made.append(Row(number=number, at_ms=row.at_ms, origin=row.origin, wire=row.wire, hash=previous))
    return tuple(made)


def test_a_ledger_is_read_while_its_home_runs_and_all_of_it_is_right(traded: Traded) -> None:
    readings = {}
    for identity in (traded.one, traded.other):
        given = read_export(traded.export(traded.rows(identity), identity))
        assert given.charter.community_id == traded.street.charter.community_id
        readings[identity.id] = whole(given)
        assert not readings[identity.id].problems
    one, other = readings[traded.one.id], readings[traded.other.id]
    assert one.counted == other.counted
    assert len(one.counted) > 3
    assert one.accounts.of(traded.other.id).number > 1
    assert one.stated_nano(traded.other.id) == -other.stated_nano(traded.one.id)
    stated = one.accounts.of(traded.other.id).covered
    assert one.stated_nano(traded.other.id) == sum(one.owed_nano(c) for c in one.count if c.id in stated)


def test_any_flipped_byte_is_found(traded: Traded) -> None:
    raw = traded.export(traded.rows(traded.one)[:4], traded.one)
    read_export(raw)
    for place in range(len(raw)):
        changed = bytearray(raw)
        changed[place] ^= 1 << place % 8
        with pytest.raises(EvidenceError):
            read_export(bytes(changed))


def test_an_end_or_a_row_that_is_missing_is_found(traded: Traded) -> None:
    rows = traded.rows(traded.one)
    raw = traded.export(rows, traded.one)
    for broken in (b"", b"\n", raw[:-1], raw + b"\n", raw[: len(raw) // 2], raw.replace(b"\n", b"\r\n")):
        with pytest.raises(EvidenceError):
            read_export(broken)
    with pytest.raises(EvidenceError, match="hash chain"):
        read_export(traded.export(rows[:3] + rows[4:], traded.one))


def test_a_byte_of_a_neighbours_words_cannot_be_changed_even_by_the_ledgers_owner(traded: Traded) -> None:
    """The owner signs the file again and makes the chain fit; the neighbour's signature does not."""
    rows = traded.rows(traded.one)
    number = next(row.number for row in rows if row.origin is Origin.PEER and b'"kind":"accept"' in row.wire)

    def change(row: Row) -> Row:
        wire = bytearray(row.wire)
        wire[20] ^= 1 if row.number == number else 0
        return Row(number=row.number, at_ms=row.at_ms, origin=row.origin, wire=bytes(wire), hash=row.hash)

    given = read_export(traded.export(chained(rows, change), traded.one))
    with pytest.raises(EvidenceError, match=f"row {number}"):
        entries_of(given.rows, given.charter, given.head.home)


def test_an_owner_that_signs_its_own_words_anew_is_contradicted_by_its_own_and_its_neighbours_rows(
    traded: Traded,
) -> None:
    rows = traded.rows(traded.one)

    def cheaper(row: Row) -> Row:
        if row.origin is not Origin.OWN or b'"kind":"offer"' not in row.wire[:30]:
            return row
        said = json.loads(row.wire.partition(b"\n")[0]) | {"price_micro": 1}
        wire = encode(ADAPTER.validate_json(json.dumps(said)), traded.one).wire
        return Row(number=row.number, at_ms=row.at_ms, origin=row.origin, wire=wire, hash=row.hash)

    given = read_export(traded.export(chained(rows, cheaper), traded.one))
    try:
        problems = whole(given).problems
    except EvidenceError as error:
        problems = (str(error),)
    assert problems


def test_a_bill_that_was_changed_is_no_sum_of_its_contracts(traded: Traded) -> None:
    rows = traded.rows(traded.one)

    def dearer(row: Row) -> Row:
        wire = row.wire.replace(b'"bought_wh": ', b'"bought_wh": 1') if row.origin is Origin.LOCAL else row.wire
        return Row(number=row.number, at_ms=row.at_ms, origin=row.origin, wire=wire, hash=row.hash)

    reading = whole(read_export(traded.export(chained(rows, dearer), traded.one)))
    assert any("the bill of slot" in problem for problem in reading.problems)


def test_another_home_cannot_sign_a_ledger_and_papers_without_all_founders_are_none(traded: Traded) -> None:
    rows = traded.rows(traded.one)
    raw = traded.export(rows, traded.one)
    body = raw[: raw.rfind(b"\n", 0, -1) + 1]
    with pytest.raises(EvidenceError, match="does not fit"):
        read_export(body + encode_base64(traded.other.sign(body)).encode() + b"\n")
    unsigned = History(charter=traded.papers.charter, signatures={})
    with pytest.raises(EvidenceError, match="signature of"):
        read_export(traded.export(rows, traded.one, papers=[unsigned]))
    stranger = Identity.from_seed(b"stranger".ljust(32))
    with pytest.raises(EvidenceError, match="not in the charter"):
        read_export(traded.export(rows, stranger))


def test_evidence_of_one_contract_proves_it_to_a_stranger_and_shows_nothing_private(traded: Traded) -> None:
    rows = traded.rows(traded.one)
    entries = entries_of(rows, traded.street.charter, traded.one.id)
    contract = whole(read_export(traded.export(rows, traded.one))).count[0]
    about = About(home=traded.one.id, partner=traded.other.id, contract=contract.id)
    raw = traded.export(tuple(rows_about(rows, entries, about)), traded.one, about=about)
    given = read_export(raw)
    assert given.about == about
    assert not given.whole
    assert not any(row.origin is Origin.LOCAL for row in given.rows)
    verdict = judge(entries_of(given.rows, given.charter, given.head.home), given.charter, given.head.home)
    assert [offer.contract_id for offer in verdict.counted] == [contract.id]
    assert verdict.not_counted == ()
    assert len(verdict.statements) == 1
    assert contract.id in verdict.statements[0].contract_ids
    everything = tuple(rows_about(rows, entries, About(home=traded.one.id, partner=traded.other.id)))
    assert len(everything) > len(given.rows)
    of_slot = About(home=traded.one.id, partner=traded.other.id, slot=contract.slot)
    assert len(given.rows) <= len(tuple(rows_about(rows, entries, of_slot))) < len(everything)


def test_evidence_with_a_member_that_never_was_is_shown_by_its_id_and_says_nothing_in_words_of_its_own(
    traded: Traded,
) -> None:
    stranger = Identity.from_seed(b"stranger".ljust(32))
    rows = traded.rows(traded.one)
    sold = next(row for row in rows if row.origin is Origin.OWN and b'"kind":"offer"' in row.wire[:30])
    said = json.loads(sold.wire.partition(b"\n")[0]) | {"seller": stranger.id}
    wire = encode(ADAPTER.validate_json(json.dumps(said)), traded.one).wire
    forged = Row(number=sold.number, at_ms=sold.at_ms, origin=sold.origin, wire=wire, hash=sold.hash)
    raw = traded.export((forged,), traded.one, about=About(home=traded.one.id, partner=stranger.id))
    given = read_export(raw)
    verdict = judge(entries_of(given.rows, given.charter, given.head.home), given.charter, given.head.home)
    shown = Checked.of_evidence(given, verdict, "evidence.txt").lines
    assert shown[0].startswith(f"evidence: what home 1 and {stranger.id} signed to each other; 1 messages")
    assert shown[1].startswith("does not count by what is shown: ")
    assert stranger.id in shown[1]
    with pytest.raises(EvidenceError, match="line 2"):
        read_export(raw.replace(f'"partner":"{stranger.id}"'.encode(), b'"partner":"\\u001b[1A proved"'))


def test_a_file_that_is_no_ledger_is_an_error_of_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"no database at all, but long enough to look like one" * 40)
    for name in ("a.db", "none.db"):
        with pytest.raises(ConfigError):
            read_ledger(tmp_path / name)
    assert issubclass(EvidenceError, CommonwattError)


def test_a_statement_of_what_does_not_count_is_wrong_unless_a_restored_ledger_may_have_lost_it(traded: Traded) -> None:
    charter, home = traded.street.charter, traded.one.id
    entries = entries_of(traded.rows(traded.one), charter, home)
    stated = read(entries, charter, home).accounts.of(traded.other.id).covered
    bought = next(c for c in read(entries, charter, home).count if c.id in stated)
    lost = [e for e in entries if not (e.kind == "accept" and bought.id.encode() in e.wire)]
    wrong = f"statement 1 with {traded.other.id} names contracts that do not count in this ledger"
    assert wrong in read(lost, charter, home).problems
    for since, problem in ((bought.slot, False), (bought.slot + charter.rules.slot_s, True)):
        mark = Mark(kind="reborn", slot=since + 2 * charter.rules.slot_s, data={"since": since})
        again = [*lost, local(mark, traded.now)]
        assert (wrong in read(again, charter, home).problems) == problem
