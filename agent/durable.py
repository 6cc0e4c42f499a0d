"""Small files that must survive a power cut."""

import os
from pathlib import Path

from coordinator.errors import ConfigError


def write_durably(path: Path, text: str) -> None:
    """Put a text at `path`, whole or not at all; it is on the disk when this returns.

    Raises:
        ConfigError: If it cannot be written.
    """
    beside = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written ({error.strerror}): make room, or give its folder to the user that runs this"
        ) from None


def remove_durably(path: Path) -> None:
    """Remove a file, if it is there.

    Raises:
        ConfigError: If it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
        if path.parent.exists():
            _sync_folder(path.parent)
    except OSError as error:
        raise ConfigError(f"{path} cannot be removed ({error.strerror}): do it as the user that owns it") from None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
