"""Who decides about the battery's power, from the strongest to the weakest. Pure.

The order is the table; there is no second place that knows it. A stronger party says within which band the power must
lie, a weaker one chooses in what is left, and where nothing of its band is left it gets what is nearest to it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum


class Party(IntEnum):
    """The parties, strongest first."""

    BATTERY = 0
    """What the battery's own management allows now."""
    GRID = 1
    """What the grid connection bears: its fuse. Grid-code settings themselves are never touched."""
    EXTERNAL = 2
    """The network operator's limit, or its failsafe while the operator is silent."""
    OWNER = 3
    """Power, reserve and maximum charge that the owner allows."""
    CONTRACT = 4
    """What was promised to neighbours."""
    PRICE = 5
    """What pays."""


WORDS = {
    Party.BATTERY: "the battery's own limit",
    Party.GRID: "the limit of the grid connection",
    Party.EXTERNAL: "the network operator's limit",
    Party.OWNER: "its limit",
    Party.CONTRACT: "a contract",
    Party.PRICE: "the plan",
}


@dataclass(frozen=True, slots=True)
class Band:
    """Battery powers, + discharges [W]. An empty one (low above high) counts as the point in its middle."""

    low_w: float = -math.inf
    high_w: float = math.inf

    def __post_init__(self) -> None:
        if self.low_w > self.high_w:
            middle_w = (self.low_w + self.high_w) / 2
            object.__setattr__(self, "low_w", middle_w)
            object.__setattr__(self, "high_w", middle_w)

    def nearest(self, power_w: float) -> float:
        return min(max(power_w, self.low_w), self.high_w)

    def meets(self, other: "Band") -> bool:
        return self.low_w <= other.high_w and other.low_w <= self.high_w


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """The power, and which party kept the weakest one from its wish; None when none did."""

    power_w: float
    held_by: Party | None


def decide(bands: Mapping[Party, Band]) -> Decided:
    """Return the power that the parties make together: what is left of their bands, nearest to rest."""
    allowed, narrowed = Band(), []
    for party in sorted(bands):
        allowed = Band(allowed.nearest(bands[party].low_w), allowed.nearest(bands[party].high_w))
        narrowed.append((party, allowed))
    wish = bands[max(bands)] if bands else Band()
    held_by = next((party for party, left in narrowed[:-1] if not wish.meets(left)), None)
    return Decided(power_w=allowed.nearest(0.0) + 0.0, held_by=held_by)
