"""A community in a study: what does not change from slot to slot, and what may be varied."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.planning.problem import WEAR_PER_KWH
from agent.study.books import Books
from agent.study.lives import Lives
from agent.study.within import Fleet
from coordinator.charter import Rules
from coordinator.slots import Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What may be varied.

    Args:
        terminal_per_kwh: Price at which energy left at the horizon's end counts, per home.
        rise_per_kwh_kw: By how much a kWh from the grid gets dearer, and one into it less worth, per kW exchanged.
            Homes plan and trade with it, so that together they draw evenly; it is in no bill, and not in `central`.
    """

    rules: Rules
    terminal_per_kwh: Sequence[float] = ()
    wear_per_kwh: float = WEAR_PER_KWH
    rise_per_kwh_kw: float = 0.0


class Street:
    """The homes as arrays of shape (homes, slots of the record).

    Args:
        first: First slot of the period.
        half_full: Begin with half-full batteries instead of what the community's record says.
    """

    def __init__(self, lives: Lives, first: Slot, options: Options, *, half_full: bool = False) -> None:
        self.lives, self.first, self.options = lives, first, options
        self.offset = lives.index(first)
        self.hours = first.hours
        self.fleet = Fleet.of([life.battery for life in lives.homes])
        begin_wh = [life.stored_wh for life in lives.homes]
        self.start_wh = self.fleet.capacity_wh / 2 if half_full else np.array(begin_wh)
        self.load_w = np.array([life.load_w for life in lives.homes])
        self.pv_w = np.array([life.pv_w for life in lives.homes])
        self.import_micro = np.array([life.import_micro for life in lives.homes])
        self.export_micro = np.array([life.export_micro for life in lives.homes])

    def open_books(self) -> Books:
        """Return empty books for this street."""
        return Books(
            import_micro=self.import_micro,
            export_micro=self.export_micro,
            start_wh=self.start_wh,
            efficiency_discharge=self.fleet.efficiency_discharge,
            terminal_per_kwh=np.array(self.options.terminal_per_kwh),
        )

    def slot(self, t: int) -> Slot:
        """Return the slot at place `t` of the arrays."""
        return self.first.shifted(t - self.offset)

    def number(self, t: int) -> int:
        """Return the slot's number since 1970, which turns the luck of rounding."""
        slot = self.slot(t)
        return slot.key // slot.length_s
