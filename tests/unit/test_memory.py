"""What a home knows again after a restart."""

from datetime import UTC, date, datetime
from pathlib import Path

from agent.config import load_config
from agent.first_files import write_first_files
from agent.memory import HomeMemory
from coordinator.charter import Rules

NOW = datetime(2026, 6, 1, 9, tzinfo=UTC)


def test_what_was_moved_for_neighbours_on_a_day_is_known_after_a_restart(tmp_path: Path) -> None:
    files = write_first_files(tmp_path, name="home-1", timezone="UTC", currency="EUR")
    config = load_config(files)
    config.home.data_dir.mkdir(exist_ok=True)
    memory = HomeMemory(config, Rules(), NOW)
    assert memory.worn() == (None, 0.0)
    memory.worn_is(None, 5.0)
    assert memory.worn() == (None, 0.0)
    memory.worn_is(date(2026, 6, 1), 120.5)
    memory.close()
    again = HomeMemory(config, Rules(), NOW)
    assert again.worn() == (date(2026, 6, 1), 120.5)
    again.close()
