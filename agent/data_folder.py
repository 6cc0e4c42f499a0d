"""A home's data folder: made where it is missing, and held by one process at a time for each task."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

from coordinator.errors import ConfigError

AGENT_LOCK = "agent.lock"
GUARD_LOCK = "guard.lock"


def make_data_folder(folder: Path) -> None:
    """Make the folder, if it is not there yet.

    Raises:
        ConfigError: If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from None


def _unwritable(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{folder} cannot be written by this user ({error.strerror}): choose another home.data_dir, or its owner"
    )


@contextlib.contextmanager
def only_agent(data_dir: Path) -> Iterator[None]:
    """Hold the home: two agents with one key would sign two contents where one is due, which proves a fraud.

    Raises:
        ConfigError: If another agent holds it, or the folder cannot be written.
    """
    cure = "stop it first (systemctl stop commonwatt, or Ctrl-C where it runs)"
    with _held(data_dir, AGENT_LOCK, "this home runs already", cure):
        yield


@contextlib.contextmanager
def only_guard(data_dir: Path) -> Iterator[None]:
    """Hold the home's devices: two guards would be two writers.

    Raises:
        ConfigError: If another guard holds them, or the folder cannot be written.
    """
    with _held(data_dir, GUARD_LOCK, "another guard runs for this home", "stop it first"):
        yield


@contextlib.contextmanager
def in_turn(data_dir: Path, name: str) -> Iterator[None]:
    """Hold what the lock `name` stands for; wait while another process does.

    Raises:
        ConfigError: If the folder cannot be written.
    """
    with _opened(data_dir, name) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def running_agent(data_dir: Path) -> str | None:
    """Return who runs this home now, as in `process 123`; None when nobody does. Makes and changes nothing."""
    try:
        with (data_dir / AGENT_LOCK).open("rb", buffering=0) as file:
            return None if _free(file, fcntl.LOCK_SH) else _holder(file)
    except OSError:
        return None


@contextlib.contextmanager
def _held(data_dir: Path, name: str, taken: str, cure: str) -> Iterator[None]:
    with _opened(data_dir, name) as file:
        if not _free(file, fcntl.LOCK_EX):
            raise ConfigError(f"{taken} ({_holder(file)}): {cure}")
        with contextlib.suppress(OSError):  # whose it is serves a message only: a full disk must not stop a guard
            file.truncate(0)
            file.write(str(os.getpid()).encode())
        yield


def _opened(data_dir: Path, name: str) -> FileIO:
    make_data_folder(data_dir)
    try:
        return (data_dir / name).open("a+b", buffering=0)
    except OSError as error:
        raise _unwritable(data_dir, error) from None


def _free(file: FileIO, lock: int) -> bool:
    """Take the lock if nobody holds it; it ends with the file, or with the process."""
    try:
        fcntl.flock(file, lock | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(file: FileIO) -> str:
    file.seek(0)
    return f"process {file.read().decode(errors='replace').strip() or 'unknown'}"
