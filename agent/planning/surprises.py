"""The first slot under uncertainty: its trade is fixed before its load and sun are known.

With surprises, battery and grid answer to each case by columns of its own (charge, discharge, stored, import, export),
whose means the first slot's columns are; from the second slot on the plan goes on from the mean. A trade is then worth
what it is worth on average, not what it would be worth if the forecast were true: a home that might not need the energy
does not buy it at its own tariff.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy import sparse

from agent.planning.problem import HomeProblem
from agent.planning.program import Column, Matrix, Program, Rows, block_matrix, build, columns_of, equality_rows

Case = Literal["import", "export", "charge", "discharge", "stored"]
_CASES: tuple[Case, ...] = ("import", "export", "charge", "discharge", "stored")
_BATTERY_CASES = 3


def build_uncertain(problem: HomeProblem, *, fixed: bool) -> Program:
    """Assemble a home's program with its surprises; without any it is the plain one.

    The first balance row becomes "import is the mean of the cases' imports". New rows follow: the same for export,
    charge and discharge; the battery's dynamics in each case; the balance in each case.
    """
    program = build(problem, fixed=fixed)
    if not problem.surprises:
        return program
    shares = tuple(share for share, _ in problem.surprises)
    cases, battery = len(shares), problem.battery
    constants = (problem.slot_h, battery.efficiency_charge, battery.efficiency_discharge) if battery else None
    a = _matrix(columns_of(problem), problem.slots, equality_rows(problem, fixed=fixed), shares, constants, fixed)
    surprise_kw = np.array([watts for _, watts in problem.surprises]) / 1000
    balances = (problem.load_w[0] - problem.pv_w[0]) / 1000 + surprise_kw
    dynamics = np.full(cases if battery else 0, problem.start_wh / 1000)
    b = np.concatenate([program.b, np.zeros(3 if battery else 1), dynamics, balances])
    b[0] = 0.0
    low, high = [0.0, 0.0], [np.inf, np.inf]
    if battery is not None:
        low += [0.0, 0.0, problem.floor_wh / 1000]
        high += [battery.charge_max_w / 1000, battery.discharge_max_w / 1000, battery.capacity_wh / 1000]
    extra = len(low) * cases
    return replace(
        program,
        cost=np.concatenate([program.cost, np.zeros(extra)]),
        a=a,
        b=b,
        g=None if program.g is None else _widened(program.g, extra),
        x_low=np.concatenate([program.x_low, np.repeat(low, cases)]),
        x_high=np.concatenate([program.x_high, np.repeat(high, cases)]),
        cases=cases,
    )


def _widened(g: Matrix, extra: int) -> Matrix:
    """Return G with columns of nothing for the cases."""
    rows, columns = g.shape
    return sparse.csc_array(
        (g.data, g.indices, np.append(g.indptr, np.full(extra, g.indptr[-1]))), (rows, columns + extra)
    )


@lru_cache(maxsize=64)
def _matrix(
    columns: tuple[Column, ...],
    n: int,
    rows: Rows,
    shares: tuple[float, ...],
    constants: tuple[float, float, float] | None,
    fixed: bool,
) -> Matrix:
    """Return A. `constants`: slot length in hours and the battery's efficiencies, None without a battery."""
    plain = block_matrix(columns, n, rows).tolil()
    used = _CASES if constants else _CASES[:-_BATTERY_CASES]
    cases, first = len(shares), plain.shape[1]
    width = first + len(used) * cases

    def of_case(kind: Case, case: int) -> int:
        return first + used.index(kind) * cases + case

    def of_slot(kind: Column) -> int:
        return columns.index(kind) * n

    def mean(kind: Literal["import", "export", "charge", "discharge"]) -> dict[int, float]:
        return {of_slot(kind): 1.0} | {of_case(kind, k): -share for k, share in enumerate(shares)}

    added: list[dict[int, float]] = [mean("export")]
    if constants:
        h, efficiency_charge, efficiency_discharge = constants
        added += [mean("charge"), mean("discharge")]
        added += [
            {
                of_case("stored", k): 1.0,
                of_case("charge", k): -h * efficiency_charge,
                of_case("discharge", k): h / efficiency_discharge,
            }
            for k in range(cases)
        ]
    for k in range(cases):
        balance: dict[int, float] = {of_case("import", k): 1.0, of_case("export", k): -1.0}
        if constants:
            balance |= {of_case("discharge", k): 1.0, of_case("charge", k): -1.0}
        added.append(balance if fixed else balance | {of_slot("free"): 1.0})
    before = plain.shape[0]
    plain.resize((before + len(added), width))  # type: ignore[arg-type]  # the stubs know the one-dimensional form only
    plain[0, :] = 0.0
    _fill(plain, [(0, mean("import")), *enumerate(added, start=before)])
    return sparse.csc_array(plain)


def _fill(matrix: "sparse.lil_array", rows: Sequence[tuple[int, dict[int, float]]]) -> None:
    for row, values in rows:
        for column, value in values.items():
            matrix[row, column] = value


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
