"""What every source of records can do: say what it has, and read it into meters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from agent.imports.columns import Chosen, Column
from agent.imports.meters import Meter

BATCH = 20_000
"""Rows that are held at a time."""

OnProgress = Callable[[float], None]
"""Told which share is done, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What reading came to.

    Args:
        said: Sentences on what was left out or taken for granted.
    """

    meters: Sequence[Meter]
    said: list[str] = field(default_factory=list)


class Source(Protocol):
    """A file of records."""

    path: Path

    @property
    def words(self) -> str:
        """What it is, in a few words."""
        ...

    @property
    def knows_roles(self) -> bool:
        """Whether the columns' roles are certain, so that nobody must tell them."""
        ...

    @property
    def step_s(self) -> int:
        """Usual time between two values."""
        ...

    def columns(self) -> list[Column]: ...

    def read(self, chosen: Sequence[Chosen], slot_s: int, on_progress: OnProgress) -> Read:
        """Read what was chosen.

        Raises:
            ConfigError: If the file cannot be understood; the text names file, line, cause and cure.
        """
        ...
