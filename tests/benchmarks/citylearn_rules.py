"""What the CityLearn Challenge 2022 counts, and how its batteries behave, as its environment of that time (version
1.3.6) defines them. Written anew from the definitions; a test holds it against cases done by hand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agent.planning.problem import Floats

PHASES: Mapping[str, tuple[range, float]] = {
    "phase 1": (range(5), 0.2),
    "phase 2": (range(5, 10), 0.3),
    "phase 3": (range(10, 17), 0.5),
}
"""Places of the homes that are one district, and the phase's weight in the final score."""

CAPACITY_WH, NOMINAL_W = 6400.0, 5000.0
_FADING = 1e-5
"""Share of the first capacity that a full cycle takes for ever."""
_EFFICIENCY = ((0.0, 0.3, 0.7, 0.8, 1.0), (0.83, 0.83, 0.9, 0.9, 0.85))
"""There and back, by share of the nominal power."""
_POWER = ((0.0, 0.8, 1.0), (1.0, 1.0, 0.2))
"""Highest power as a share of the nominal one, in either direction, by share of the capacity that is full."""
_MONTH = 730
"""Hours after which the load factor begins anew."""


class Batteries:
    """The batteries of a district, empty at first, hour by hour.

    Attributes:
        stored_wh: Shape (homes,); so is `capacity_wh`.
    """

    def __init__(self, homes: int) -> None:
        self.stored_wh: Floats = np.zeros(homes)
        self.capacity_wh: Floats = np.full(homes, CAPACITY_WH)

    def run(self, wanted_w: Floats) -> Floats:
        """Live through an hour and return what the batteries did of what was wanted [W], + discharges."""
        full = self.stored_wh / self.capacity_wh
        # a battery that lost the capacity it is full of may do all it can: so does the environment
        limit_w = NOMINAL_W * np.where(full > 1, 1.0, np.interp(full, *_POWER))
        taken_wh = np.clip(-wanted_w, -limit_w, limit_w)
        efficiency = np.sqrt(np.interp(np.abs(taken_wh) / NOMINAL_W, *_EFFICIENCY))
        change = np.where(taken_wh >= 0, taken_wh * efficiency, taken_wh / efficiency)
        after_wh = np.where(
            taken_wh >= 0,
            np.minimum(self.stored_wh + change, self.capacity_wh),
            np.maximum(self.stored_wh + change, 0.0),
        )
        change = after_wh - self.stored_wh
        taken_wh = np.where(change >= 0, change / efficiency, change * efficiency)
        self.capacity_wh = self.capacity_wh - _FADING * CAPACITY_WH * np.abs(taken_wh) / (2 * self.capacity_wh)
        self.stored_wh = after_wh
        return -taken_wh


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Each figure with control over the same figure without batteries; lower is better."""

    price: float
    emission: float
    ramping: float
    load_factor: float

    @property
    def grid(self) -> float:
        return (self.ramping + self.load_factor) / 2

    @property
    def score(self) -> float:
        return (self.price + self.emission + self.grid) / 3


def scores(net_wh: Floats, without_wh: Floats, price_per_kwh: Floats, carbon_per_kwh: Floats) -> Scores:
    """Compare a district with the same homes without batteries.

    Args:
        net_wh: Import minus export of every home and hour, shape (homes, hours); so is `without_wh`.
        price_per_kwh: Shape (hours,); so is `carbon_per_kwh`.
    """
    with_control, without = (_figures(wh, price_per_kwh, carbon_per_kwh) for wh in (net_wh, without_wh))
    ratios = (ours / theirs for ours, theirs in zip(with_control, without, strict=True))
    return Scores(**dict(zip(Scores.__slots__, ratios, strict=True)))


def _figures(net_wh: Floats, price_per_kwh: Floats, carbon_per_kwh: Floats) -> tuple[float, float, float, float]:
    """Return price, emission, ramping and load factor.

    Homes share one bill, so one home's surplus counts full for its neighbour's need of the same hour; what the district
    exports earns nothing. Emissions count per home. The load factor is what is missing to a flat line, by month.
    """
    district = net_wh.sum(axis=0)
    months = [district[at : at + _MONTH] for at in range(0, district.size, _MONTH)]
    return (
        float(np.maximum(price_per_kwh * district, 0.0).sum()),
        float((carbon_per_kwh * np.maximum(net_wh, 0.0)).sum()),
        float(np.abs(np.diff(district)).sum()),
        float(np.mean([1 - month.mean() / month.max() for month in months])),
    )


def weighted(found: Sequence[float]) -> float:
    """Return the final figure from the phases' ones."""
    return sum(weight * value for (_, weight), value in zip(PHASES.values(), found, strict=True))
