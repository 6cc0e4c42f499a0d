"""A home's data folder: made or explained, and held by one process at a time."""

import multiprocessing
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from agent.data_folder import in_turn, make_data_folder, only_agent, only_guard, running_agent
from coordinator.errors import ConfigError


@pytest.mark.parametrize(
    ("only", "said"),
    [(only_agent, "this home runs already"), (only_guard, "another guard runs for this home")],
    ids=["agent", "guard"],
)
def test_a_second_of_a_kind_is_told_who_is_the_first(
    tmp_path: Path, only: Callable[[Path], AbstractContextManager[None]], said: str
) -> None:
    with only(tmp_path / "data"):
        with pytest.raises(ConfigError) as refused, only(tmp_path / "data"):
            pass
        assert str(refused.value).startswith(f"{said} (process {os.getpid()}): stop it first")
    with only(tmp_path / "data"):
        pass


def test_an_agent_and_a_guard_of_one_home_live_beside_each_other(tmp_path: Path) -> None:
    with only_agent(tmp_path), only_guard(tmp_path), in_turn(tmp_path, "charter.lock"):
        assert running_agent(tmp_path) == f"process {os.getpid()}"


def test_looking_who_runs_makes_nothing_and_hinders_nobody(tmp_path: Path) -> None:
    assert running_agent(tmp_path / "data") is None
    assert not (tmp_path / "data").exists()
    with only_agent(tmp_path):
        pass
    assert running_agent(tmp_path) is None
    with only_agent(tmp_path):
        pass


def hold_and_die(folder: Path) -> None:
    with only_agent(folder):
        os._exit(0)


def test_a_killed_agent_holds_nothing(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=hold_and_die, args=(tmp_path,))
    process.start()
    process.join()
    assert (tmp_path / "agent.lock").read_text() == str(process.pid)
    with only_agent(tmp_path):
        pass


def test_a_folder_that_cannot_be_used_is_told_with_its_cure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cure = "choose another home.data_dir, or its owner"
    with pytest.raises(ConfigError, match=cure):
        make_data_folder(tmp_path / "file")
    (tmp_path / "agent.lock").mkdir()
    with pytest.raises(ConfigError, match=cure), only_agent(tmp_path):
        pass
