"""A long period in parts that can be lived at the same time, on as many cores as there are.

Only the batteries connect one part with the next, and what they held a few days ago no longer matters. Every part
begins some days early with half-full batteries and books nothing until they have found their rhythm. The parts do not
depend on how many processes there are, so neither do the figures.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from agent.forecast.naive import DAY_S
from coordinator.slots import Slot

PART_DAYS = 28
RUN_IN_DAYS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A part of a period.

    Args:
        first: First slot that is lived.
        run_in: So many slots pass before the books open; 0 at the beginning of the period.
        slots: So many slots are booked after them.
    """

    first: Slot
    run_in: int
    slots: int

    @property
    def booked(self) -> Slot:
        """The first slot that is booked."""
        return self.first.shifted(self.run_in)


def segments(first: Slot, slots: int) -> Iterator[Segment]:
    """Yield the parts of a period; a rest shorter than half a part stays with the last one."""
    day = DAY_S // first.length_s
    part, at = PART_DAYS * day, 0
    while at < slots:
        count = part if slots - at - part >= part // 2 else slots - at
        run_in = RUN_IN_DAYS * day if at else 0
        yield Segment(first=first.shifted(at - run_in), run_in=run_in, slots=count)
        at += count
