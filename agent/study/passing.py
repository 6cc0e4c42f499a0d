"""What passes in one slot of a community's life: trades, meters, batteries."""

from dataclasses import dataclass
from typing import Literal

from agent.planning.problem import Floats
from agent.study.lives import Ints
from coordinator.slots import Slot

Kind = Literal["slot", "residual", "auction"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deal:
    """One trade; homes are numbered as in `Lives`."""

    seller: int
    buyer: int
    energy_wh: int
    price_micro: int
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Lived:
    """One slot of all homes, arrays of shape (homes,).

    Args:
        net_wh: Metered import minus export.
        battery_wh: + discharged.
        stored_wh: At the slot's end.
        rounds: Of the negotiation; 0 without one.
    """

    slot: Slot
    net_wh: Ints
    battery_wh: Floats
    stored_wh: Floats
    deals: tuple[Deal, ...]
    rounds: int = 0
