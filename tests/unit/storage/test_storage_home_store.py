import sqlite3
from pathlib import Path

import pytest

from agent.storage.home_store import VERSION, HomeStore, StoredSlot
from coordinator.errors import ConfigError


def slot(key: int, load_wh: float = 100.0, **other: object) -> StoredSlot:
    return StoredSlot(key=key, length_s=900, load_wh=load_wh, pv_wh=20.0, **other)  # type: ignore[arg-type]


def test_what_was_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "home.sqlite"
    full = slot(1800, battery_wh=-3.5, import_wh=85, export_wh=0, soc_pct=51.25)
    with HomeStore(path) as store:
        store.save_slot(full)
        store.save_slot(slot(900))
        store.save_forecast(900, 900, {"load_w": [1.5, 2.0]})
        store.save_plan(900, 900, {"battery_w": [-700.25]})
        store.save_shadow_wh(1234.5678901)
        store.set_fact("incarnation", "7")
    with HomeStore(path) as store:
        assert store.slots(900, 0, 9999) == [slot(900), full]
        assert store.slots(900, 1800, 1801) == [full]
        assert store.history_rows(900, 0, 1800) == [(900, 100.0, 20.0)]
        assert store.forecast(900, 900) == {"load_w": [1.5, 2.0]}
        assert store.plan(900, 900) == {"battery_w": [-700.25]}
        assert store.plan(1800, 900) is None
        assert store.shadow_wh() == 1234.5678901
        assert store.fact("incarnation") == "7"


def test_first_start_knows_nothing(tmp_path: Path) -> None:
    with HomeStore(tmp_path / "home.sqlite") as store:
        assert store.slots(900, 0, 9999) == []
        assert store.shadow_wh() is None
        assert store.fact("x") is None


def test_imported_history_never_replaces_what_was_metered(tmp_path: Path) -> None:
    with HomeStore(tmp_path / "home.sqlite") as store:
        store.save_slot(slot(900, 111.0))
        assert store.import_history([slot(0, 1.0), slot(900, 2.0)]) == 2
        assert [(s.load_wh, s.source) for s in store.slots(900, 0, 9999)] == [(1.0, "import"), (111.0, "meter")]
        store.save_slot(slot(0, 5.0))
        assert store.slots(900, 0, 1)[0].source == "meter"


def test_import_is_all_or_nothing(tmp_path: Path) -> None:
    with HomeStore(tmp_path / "home.sqlite") as store:
        with pytest.raises(sqlite3.Error):
            store.import_history([slot(0), slot(None)])  # type: ignore[arg-type]
        assert store.slots(900, 0, 9999) == []
        assert store.import_history([slot(0)]) == 1


def test_slots_of_different_lengths_do_not_mix(tmp_path: Path) -> None:
    with HomeStore(tmp_path / "home.sqlite") as store:
        store.save_slot(slot(3600))
        store.save_slot(StoredSlot(key=3600, length_s=3600, load_wh=400.0, pv_wh=None))
        assert [s.load_wh for s in store.slots(3600, 0, 9999)] == [400.0]
        assert [s.load_wh for s in store.slots(900, 0, 9999)] == [100.0]


def test_pruning_forgets_old_plans_and_forecasts_but_no_metered_slot(tmp_path: Path) -> None:
    with HomeStore(tmp_path / "home.sqlite") as store:
        for key in (900, 1800):
            store.save_slot(slot(key))
            store.save_plan(key, 900, {"battery_w": [0.0]})
            store.save_forecast(key, 900, {"load_w": [0.0]})
        assert store.prune(1800) == 2
        assert store.plan(900, 900) is None
        assert store.forecast(1800, 900) is not None
        assert len(store.slots(900, 0, 9999)) == 2


def test_file_that_is_no_database_is_named_with_the_cure(tmp_path: Path) -> None:
    path = tmp_path / "home.sqlite"
    path.write_bytes(b"this is a shopping list, not a database\n" * 100)
    with pytest.raises(ConfigError, match=r"home\.sqlite.*cannot be used.*name another one"):
        HomeStore(path)
    assert path.read_bytes().startswith(b"this is a shopping list")


def test_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "home.sqlite"
    HomeStore(path).close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version={VERSION + 1}")
    db.close()
    with pytest.raises(ConfigError, match=rf"version {VERSION + 1}.*Update Commonwatt"):
        HomeStore(path)


def test_somebody_elses_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE photos (name TEXT)")
    db.close()
    with pytest.raises(ConfigError, match="not a Commonwatt home's"):
        HomeStore(path)


def test_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be opened"):
        HomeStore(tmp_path)


def test_numbers_that_are_none_are_refused_in_what_is_kept_as_issued(tmp_path: Path) -> None:
    with HomeStore(tmp_path / "home.sqlite") as store, pytest.raises(ValueError, match="JSON"):
        store.save_plan(900, 900, {"battery_w": [float("nan")]})
