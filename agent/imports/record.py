"""From a home's meters to its load and sun per slot: what is missing stays missing, what cannot be true becomes it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.forecast.history import Floats
from agent.imports.columns import FLOWS, Role
from agent.imports.meters import Meter
from coordinator.errors import ConfigError
from coordinator.slots import Slot

NOISE_W = 100.0
"""Load and sun this far below 0 come from meters read at different moments, and count as 0."""
LOAD_MAX_W = 3 * 230.0 * 63
"""Where the fuse is not told: no home has a bigger one."""
PV_MAX_SHARE = 1.3
"""Of the installed power; cold, reflecting clouds give a little more than 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What cannot be exceeded [W]."""

    load_w: float = LOAD_MAX_W
    pv_w: float = LOAD_MAX_W


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeRecord:
    """Mean power per slot from `first` on, shape (slots,) [W]; NaN is missing.

    Args:
        pv_w: 0 everywhere for a home without panels.
        negative: How many loads below -NOISE_W became missing; `clipped` how many above it became 0.
        peaks_load_w: Values above the limit, which became missing.
        flows_wh: What each role came to in the slots of the record.
    """

    first: Slot
    load_w: Floats
    pv_w: Floats
    has_pv: bool
    measured: bool
    negative: int
    clipped: int
    peaks_load_w: Floats
    peaks_pv_w: Floats
    flows_wh: dict[Role, float]

    @property
    def slots(self) -> int:
        return int(self.load_w.size)


def household(
    meters: Sequence[Meter], slot_s: int, limits: Limits, cut: tuple[float | None, float | None]
) -> HomeRecord:
    """Put a home's meters together.

    Args:
        cut: Unix seconds before and after which nothing is wanted; None for no limit.

    Raises:
        ConfigError: If nothing is left.
    """
    first, slots = _span(meters, slot_s, cut)
    flows: dict[Role, Floats] = {}
    for meter in meters:
        power_w = meter.sums.power_w(first.key, slots)
        role = meter.chosen.role
        flows[role] = power_w if role not in flows else flows[role] + power_w
    measured = "load" in flows
    load_w = flows["load"] if measured else sum((FLOWS[role] * flow for role, flow in flows.items()), np.zeros(slots))
    has_pv = "pv" in flows
    inside = _inside(load_w, flows.get("pv"))
    load_w, negative, clipped = _not_negative(load_w)
    pv_w, _, _ = _not_negative(flows["pv"]) if has_pv else (np.zeros(slots), 0, 0)
    load_w, peaks_load_w = _below(load_w, limits.load_w)
    pv_w, peaks_pv_w = _below(pv_w, limits.pv_w)
    if not np.isfinite(load_w).any():
        raise ConfigError(
            "no slot has a load: the columns that make it up must cover the same time, and be neither negative "
            f"nor above {limits.load_w / 1000:g} kW"
        )
    return HomeRecord(
        first=first.shifted(inside.start),
        load_w=load_w[inside],
        pv_w=pv_w[inside],
        has_pv=has_pv,
        measured=measured,
        negative=negative,
        clipped=clipped,
        peaks_load_w=peaks_load_w,
        peaks_pv_w=peaks_pv_w,
        flows_wh={role: float(np.nansum(flow)) * first.hours for role, flow in flows.items()},
    )


def _span(meters: Sequence[Meter], slot_s: int, cut: tuple[float | None, float | None]) -> tuple[Slot, int]:
    """Return first slot and number of slots of which anything is known."""
    spans = [span for meter in meters if (span := meter.sums.span) is not None]
    if not spans:
        raise ConfigError("the columns hold no value that can be used")
    start, end = min(span[0] for span in spans), max(span[1] for span in spans)
    if cut[0] is not None:
        start = max(start, -int(-cut[0] // slot_s) * slot_s)
    if cut[1] is not None:
        end = min(end, int(cut[1] // slot_s) * slot_s)
    if end <= start:
        raise ConfigError("nothing is left between --from and --to: the record lies outside")
    return Slot(start, slot_s), (end - start) // slot_s


def _inside(load_w: Floats, pv_w: Floats | None) -> slice:
    """Return the slots from the first to the last known one: a source seldom begins and ends with a whole slot."""
    known = np.flatnonzero(np.isfinite(load_w) | (False if pv_w is None else np.isfinite(pv_w)))
    return slice(int(known[0]), int(known[-1]) + 1) if known.size else slice(0, 0)


def _not_negative(power_w: Floats) -> tuple[Floats, int, int]:
    negative, noise = power_w < -NOISE_W, (power_w < 0) & (power_w >= -NOISE_W)
    return np.where(negative, np.nan, np.maximum(power_w, 0.0)), int(negative.sum()), int(noise.sum())


def _below(power_w: Floats, limit_w: float) -> tuple[Floats, Floats]:
    above = power_w > limit_w
    return np.where(above, np.nan, power_w), power_w[above]
