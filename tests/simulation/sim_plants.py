"""Bugs planted on purpose: each must be caught, or the simulation does not see what it claims to see.

A plant replaces methods of the product while it is applied. Each is a bug somebody could write: a commit in the wrong
place, a state that only memory knows, a check that is missing. They are in sim_bugs_memory.py and sim_bugs_rules.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from coordinator.effects import Note, Say

Patch = tuple[Any, str, Any]


@dataclass(kw_only=True)
class Planted:
    """A bug, or none.

    Args:
        liars: It shows only where somebody lies.
        faults: It shows only where there are many of these.
        lost_rows: At most so many committed rows are lost in a power cut.
    """

    name: str = "none"
    patches: Sequence[Patch] = ()
    liars: bool = False
    faults: Mapping[str, Any] = field(default_factory=dict)
    lost_rows: int = 0
    _true: list[Patch] = field(default_factory=list)

    def __enter__(self) -> "Planted":
        for holder, name, wrong in self.patches:
            self._true.append((holder, name, getattr(holder, name)))
            setattr(holder, name, wrong)
        return self

    def __exit__(self, *_: object) -> None:
        while self._true:
            setattr(*self._true.pop())

    def power_cut(self, store: Any, draw: Random) -> None:
        """Is called at every crash."""
        if self.lost_rows:
            store.lose(draw.randint(0, self.lost_rows))


PLANTS: dict[str, Planted] = {}
RESTORES = {"restores": 0.5, "effects_per_crash": 100}
JUMPS = {"jumps": 0.5}
CLOCKS = {"skew_s": 60.0, "delay_s": 60.0, "loss": 0.0}


def plant(name: str, *patches: Patch, **more: Any) -> None:
    PLANTS[name] = Planted(name=name, patches=patches, **more)


def without(method: Any, dropped: Callable[[Any], bool]) -> Any:
    """Return the method with some of the effects it decides left out."""
    return lambda self, *args, **named: [e for e in method(self, *args, **named) if not dropped(e)]


def says(*kinds: type) -> Callable[[Any], bool]:
    return lambda effect: isinstance(effect, Say) and effect.kind in kinds


def notes(kind: str) -> Callable[[Any], bool]:
    return lambda effect: isinstance(effect, Note) and effect.mark.kind == kind
