"""The first slot under uncertainty: its trade is fixed before its load and sun are known.

With surprises, battery and grid answer to each case by columns of its own (charge, discharge, import), whose means the
first slot's columns are; from the second slot on the plan goes on from the mean. A trade is then worth what it is worth
on average, not what it would be worth if the forecast were true: a home that might not need the energy does not buy it
at its own tariff. Other flexible things keep to the plan in every case.
"""

from collections.abc import Sequence

import numpy as np

from agent.planning.draft import Draft, Term
from agent.planning.problem import HomeProblem, Storage


def add_cases(
    draft: Draft,
    problem: HomeProblem,
    battery: Storage | None,
    grid: Sequence[Term],
    grid_kw: float,
    *,
    trade: float,
) -> None:
    """Add the cases of the first slot to a program whose first slot's grid costs the export price.

    Each case pays for its import what importing costs more; its export, import - g of the case, cannot be negative.

    Args:
        battery: What answers to the cases, if the home has one.
        grid: The terms of import - export in the first slot, for the plan's mean.
        grid_kw: What import - export is on top of its terms.
        trade: How it hangs on a fixed trade.
    """
    shares = tuple(share for share, _ in problem.surprises)
    surprise_kw = np.array([watts for _, watts in problem.surprises]) / 1000
    cases = range(len(shares))
    spread = problem.slot_h * float(problem.import_per_kwh[0] - problem.export_per_kwh[0])
    draft.column("import of case", cases, cost=spread * np.array(shares))
    export = [Term("import of case"), *(Term(term.column, -term.factor, at="first") for term in grid)]
    if battery is not None:
        export += _battery_cases(draft, problem.slot_h, battery, shares)
    draft.lies_between(cases, export, surprise_kw + grid_kw, trade=trade, of_first=True)


def _battery_cases(draft: Draft, slot_h: float, battery: Storage, shares: tuple[float, ...]) -> list[Term]:
    """Add the battery's columns of the cases; return what they change of each case's export."""
    cases, name = range(len(shares)), battery.name
    draft.column("charge of case", cases, high=battery.charge_max_w[0] / 1000)
    stored = [Term("charge of case", slot_h * battery.efficiency_charge)]
    draft.equals(range(1), [Term(f"charge {name}"), Term("charge of case", -1.0, "all", shares)], np.zeros(1))
    change = [Term("charge of case", -1.0), Term(f"charge {name}", at="first")]
    if battery.gives:
        draft.column("discharge of case", cases, high=battery.discharge_max_w[0] / 1000)
        stored.append(Term("discharge of case", -slot_h / battery.efficiency_discharge))
        draft.equals(range(1), [Term(f"discharge {name}"), Term("discharge of case", -1.0, "all", shares)], np.zeros(1))
        change += [Term("discharge of case"), Term(f"discharge {name}", -1.0, at="first")]
    start_wh = battery.keeps * battery.start_wh - float(battery.drawn_wh[0])
    room_kwh = [(wh - start_wh) / 1000 for wh in (float(battery.floor_wh[0]), float(battery.ceiling_wh[0]))]
    draft.lies_between(cases, stored, np.full(len(cases), room_kwh[0]), np.full(len(cases), room_kwh[1]))
    return change


def surprises_of(
    load_band_w: Sequence[float], pv_band_w: Sequence[float], load_w: float, pv_w: float
) -> tuple[tuple[float, float], ...]:
    """Return (probability, W) cases of a slot's net load from the 10, 50 and 90 % quantiles of its load and sun.

    Each quantile stands for its part of the distribution (30, 40, 30 %, the three-point rule of Swanson), load and sun
    are taken as independent.

    References: Keefer and Bodily, "Three-point approximations for continuous random variables", Management Science
        29 (1983).
    """
    weights = (0.3, 0.4, 0.3)
    sun = list(zip(weights, pv_band_w, strict=True)) if max(pv_band_w) > 0 else [(1.0, pv_w)]
    return tuple(
        (share * sun_share, (load - load_w) - (pv - pv_w))
        for share, load in zip(weights, load_band_w, strict=True)
        for sun_share, pv in sun
    )
