"""The optimum of one optimiser with everybody's data: a ceiling to compare with, never a part of a home."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from agent.planning.problem import Floats, HomeProblem
from agent.planning.program import Matrix, Program, build, tariff_cost


def central_optimum(problems: Sequence[HomeProblem]) -> float:
    """Return the least total cost, in currency, of homes whose trades sum to zero in every slot.

    The cost of each home is that of `HomeModel.cost`, without tie-breaks. One linear program, solved with HiGHS.

    Raises:
        ValueError: If the homes' slots differ.
        RuntimeError: If HiGHS finds no optimum.
    """
    if len({(p.slots, p.slot_h) for p in problems}) != 1:
        raise ValueError("the homes must share the slots of the horizon")
    programs = [build(problem, fixed=False) for problem in problems]
    n = programs[0].slots
    community = sparse.hstack([_trades_of(program) for program in programs])
    a_eq: Any = sparse.vstack([sparse.block_diag([p.a for p in programs]), community], format="csc")
    rows, limits = _one_sided(programs)
    lows, highs = np.concatenate([p.x_low for p in programs]), np.concatenate([p.x_high for p in programs])
    bounds: Any = np.column_stack([lows, highs])
    result = linprog(
        np.concatenate([tariff_cost(p, q.columns) for p, q in zip(problems, programs, strict=True)]),
        A_ub=rows,
        b_ub=limits,
        A_eq=a_eq,
        b_eq=np.concatenate([*(p.b for p in programs), np.zeros(n)]),
        bounds=bounds,
        method="highs",
    )
    if result.status != 0 or result.fun is None:
        raise RuntimeError(f"no central optimum: {result.message}")
    return float(result.fun)


def _trades_of(program: Program) -> Matrix:
    """Return the matrix that picks a home's trades, shape (n, columns)."""
    n = program.slots
    index = np.arange(n)
    return sparse.csc_array((np.ones(n), (index, index + program.span("free").start)), shape=(n, program.cost.size))


def _one_sided(programs: Sequence[Program]) -> tuple[Any, Floats]:
    """Return low <= G x <= high of all homes as rows x <= limits, leaving out what is infinite."""
    empty = [sparse.csc_array((0, p.cost.size)) if p.g is None else p.g for p in programs]
    g = sparse.csr_array(sparse.block_diag(empty))
    low = np.concatenate([p.low for p in programs])
    high = np.concatenate([p.high for p in programs])
    up, down = np.isfinite(high), np.isfinite(low)
    return sparse.vstack([g[up], -g[down]], format="csc"), np.concatenate([high[up], -low[down]])
