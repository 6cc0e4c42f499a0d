"""What commands that write a report share."""

import tempfile
from pathlib import Path

from coordinator.errors import ConfigError

PAGE = "report.html"


def check_report(folder: Path | None) -> None:
    """Say before the work, not after it, that a report cannot be drawn or has no place; None wants none.

    Raises:
        ConfigError: If the library that draws is not installed, or the folder cannot be written.
    """
    if folder is None:
        return
    try:
        import agent.study.pictures  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"--report needs {error.name}: pip install 'commonwatt[study]'") from None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(f"--report {folder}: cannot be written: {error.strerror}; name another folder") from None
