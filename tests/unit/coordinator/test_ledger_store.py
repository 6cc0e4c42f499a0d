"""The ledger on disk: all or nothing, one chain, one owner, and nothing committed is lost."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from neighbourhood import START
from sealed import SLOT, Street

from coordinator import ledger_store
from coordinator.clock import unix_ms
from coordinator.errors import ConfigError
from coordinator.ledger import GENESIS, Entry, Mark, Origin, chain, first_broken, local, own, peer
from coordinator.ledger_store import SCHEMA_VERSION, LedgerStore
from coordinator.messages import Position, PositionRequest

STREET = Street(2)
ME, PEER = STREET.ids


def mark(number: int, slot: int = 0, kind: str = "ready") -> Entry:
    return local(Mark(kind=kind, slot=slot, data={"number": number, "word": "x"}), START)


def filled(path: Path, rows: int = 6) -> LedgerStore:
    store = LedgerStore(path, ME)
    for n in range(rows):
        store.append([mark(n)])
    return store


def test_what_was_appended_is_there_for_another_process_at_once(tmp_path: Path) -> None:
    with LedgerStore(tmp_path / "ledger.db", ME) as store:
        store.append([mark(1), mark(2)])
        other = sqlite3.connect(tmp_path / "ledger.db")
        assert other.execute("SELECT count(*) FROM rows").fetchone() == (2,)
        other.close()


def test_a_commit_waits_for_the_disk(tmp_path: Path) -> None:
    with LedgerStore(tmp_path / "ledger.db", ME) as store:
        assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_messages_of_both_sides_and_marks_come_back_in_order(tmp_path: Path) -> None:
    asked = peer(STREET.seal(PositionRequest, PEER, ME, slot=SLOT.key), START)
    body = {"slot": SLOT.key, "root": "0f" * 16, "sold_wh": 0, "bought_wh": 0}
    said = own(STREET.seal(Position, ME, **body), START)
    entries = [asked, mark(1), said]
    with LedgerStore(tmp_path / "ledger.db", ME) as store:
        store.append(entries)
    with LedgerStore(tmp_path / "ledger.db", ME) as store:
        got = list(store.entries(STREET.verifier(ME)))
        assert [(e.origin, e.at_ms, e.kind, e.slot, e.wire) for e in got] == [
            (e.origin, e.at_ms, e.kind, e.slot, e.wire) for e in entries
        ]
        assert [e.origin for e in got] == [Origin.PEER, Origin.LOCAL, Origin.OWN]
        assert got[1].at_ms == unix_ms(START)
        assert [e.kind for e in store.entries(STREET.verifier(ME), since_slot=1)] == ["position_request", "position"]


def test_an_append_is_one_transaction(tmp_path: Path) -> None:
    too_late = Entry(origin=Origin.LOCAL, at_ms=2**70, content=mark(3).content)  # SQLite has no such number
    with filled(tmp_path / "ledger.db", 1) as store:
        with pytest.raises(OverflowError):
            store.append([mark(1), mark(2), too_late])
        assert len(list(store.rows())) == 1
        store.append([mark(1)])
        assert [row.number for row in store.rows()] == [1, 2]
        assert first_broken(store.rows()) is None


def test_a_full_disk_loses_the_append_and_not_the_ledger(tmp_path: Path) -> None:
    with filled(tmp_path / "ledger.db") as store:
        pages = store._db.execute("PRAGMA page_count").fetchone()[0]
        store._db.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(sqlite3.OperationalError, match="full"):
            store.append([mark(n) for n in range(500)])
        assert len(list(store.rows())) == 6
        store._db.execute(f"PRAGMA max_page_count={pages + 1000}")
        store.append([mark(7)])
        assert len(list(store.rows())) == 7
        assert first_broken(store.rows()) is None


def test_appending_nothing_writes_nothing(tmp_path: Path) -> None:
    with filled(tmp_path / "ledger.db", 2) as store:
        before = store._db.total_changes
        store.append([])
        assert store._db.total_changes == before


def test_the_chain_goes_on_after_a_restart(tmp_path: Path) -> None:
    for _ in range(3):
        with LedgerStore(tmp_path / "ledger.db", ME) as store:
            store.append([mark(1), mark(2)])
    with LedgerStore(tmp_path / "ledger.db", ME) as store:
        rows = list(store.rows())
        assert [row.number for row in rows] == [1, 2, 3, 4, 5, 6]
        assert rows[0].hash == chain(GENESIS, rows[0].origin, rows[0].at_ms, rows[0].wire)
        assert len({row.hash for row in rows}) == 6
        assert first_broken(rows) is None


@pytest.mark.parametrize(
    "change",
    [
        "wire = CAST(replace(CAST(wire AS TEXT), 'x', 'y') AS BLOB)",
        "at_ms = at_ms + 1",
        "origin = 'own'",
        "hash = replace(hash, substr(hash, 1, 1), 'z')",
    ],
)
@pytest.mark.parametrize("number", [1, 3, 6])
def test_a_changed_row_is_found(tmp_path: Path, change: str, number: int) -> None:
    with filled(tmp_path / "ledger.db") as store:
        assert first_broken(store.rows()) is None
        assert store._db.execute(f"UPDATE rows SET {change} WHERE number = ?", (number,)).rowcount == 1
        assert first_broken(store.rows()) == number


def test_every_flipped_byte_of_a_row_is_found(tmp_path: Path) -> None:
    with filled(tmp_path / "ledger.db", 3) as store:
        wire = list(store.rows())[1].wire
        for at in range(len(wire)):
            flipped = wire[:at] + bytes([wire[at] ^ 1]) + wire[at + 1 :]
            store._db.execute("UPDATE rows SET wire = ? WHERE number = 2", (flipped,))
            assert first_broken(store.rows()) == 2
        store._db.execute("UPDATE rows SET wire = ? WHERE number = 2", (wire,))
        assert first_broken(store.rows()) is None


def test_rows_that_were_taken_out_or_changed_places_are_found(tmp_path: Path) -> None:
    with filled(tmp_path / "ledger.db") as store:
        store._db.execute("DELETE FROM rows WHERE number = 4")
        assert first_broken(store.rows()) == 4
        store._db.execute("UPDATE rows SET number = number - 1 WHERE number > 4")
        assert first_broken(store.rows()) == 4


def test_another_homes_ledger_is_refused(tmp_path: Path) -> None:
    filled(tmp_path / "ledger.db").close()
    with pytest.raises(ConfigError, match=f"ledger of home {ME}, not of {PEER}"):
        LedgerStore(tmp_path / "ledger.db", PEER)


def test_a_ledger_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    with filled(tmp_path / "ledger.db") as store:
        store._db.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    with pytest.raises(ConfigError, match="newer commonwatt"):
        LedgerStore(tmp_path / "ledger.db", ME)


def _text(path: Path) -> None:
    path.write_text("this is a shopping list, not a database\n" * 50)


def _other_database(path: Path) -> None:
    db = sqlite3.connect(path)
    db.executescript("CREATE TABLE readings (at); PRAGMA user_version=1;")
    db.close()


@pytest.mark.parametrize("spoil", [_text, _other_database, Path.mkdir])
def test_a_file_that_is_no_ledger_is_named_with_its_cure(tmp_path: Path, spoil: Callable[[Path], Any]) -> None:
    spoil(tmp_path / "ledger.db")
    with pytest.raises(ConfigError, match=r"ledger\.db cannot be"):
        LedgerStore(tmp_path / "ledger.db", ME)


def test_a_first_start_that_was_cut_off_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut between making the tables and writing the owner must not leave a ledger that nobody owns."""
    with monkeypatch.context() as patch:
        patch.setattr(ledger_store, "_SCHEMA", ledger_store._SCHEMA + "INSERT INTO nowhere VALUES (1)")
        with pytest.raises(ConfigError):
            LedgerStore(tmp_path / "ledger.db", ME)
    with LedgerStore(tmp_path / "ledger.db", ME) as store:
        assert store.owner == ME


def test_a_ledgers_life_has_one_number_that_no_other_has(tmp_path: Path) -> None:
    lives = []
    for name in ("a.db", "a.db", "b.db"):
        with LedgerStore(tmp_path / name, ME) as store:
            lives.append((store.incarnation, store.meta("salt_key")))
    assert lives[0] == lives[1]
    assert lives[0][0] != lives[2][0]
    assert lives[0][1] != lives[2][1]
    assert 0 <= lives[0][0] < 2**48


def test_marks_and_the_newest_slot_are_found_by_kind(tmp_path: Path) -> None:
    with LedgerStore(tmp_path / "ledger.db", ME) as store:
        assert store.last_slot(["ready"]) == 0
        store.append([mark(1, 900), mark(2, 2700), mark(3, 1800, "settled")])
        assert store.last_slot(["ready"]) == 2700
        assert store.last_slot(["settled", "metered"]) == 1800
        assert [m.data["number"] for m in store.marks("ready")] == [1, 2]
        assert [m.data["number"] for m in store.marks("ready", since_slot=901)] == [2]


@given(
    st.sampled_from(["ready", "mandate", "settled"]),
    st.integers(0, 2**37),
    st.dictionaries(
        st.text(min_size=1, max_size=9).filter(lambda name: name not in {"kind", "slot"}),
        st.integers(-(2**60), 2**60) | st.text(max_size=9),
        max_size=4,
    ),
)
def test_marks_survive_the_way_to_bytes_and_back(kind: str, slot: int, data: dict[str, int | str]) -> None:
    plain = Mark(kind=kind, slot=slot, data=data)
    assert Mark.decode(plain.encode()) == plain
