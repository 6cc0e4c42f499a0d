"""The optimum of one optimiser with everybody's data: a ceiling to compare with, never a part of a home."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import piqp
from scipy import sparse
from scipy.optimize import linprog

from agent.planning.problem import Floats, HomeProblem
from agent.planning.program import Program, build


def central_optimum(problems: Sequence[HomeProblem], *, feeder_limit_w: float = float("inf")) -> float:
    """Return the least total cost, in currency, of homes whose trades sum to zero in every slot.

    The cost of each home is that of `HomeModel.cost`, without tie-breaks. A linear program,
    solved with HiGHS; on an island the cost of unserved load bends, and PIQP solves it.

    Args:
        feeder_limit_w: Limit, in both directions, of all homes' exchange with the grid together, in every slot.

    Raises:
        ValueError: If the homes' slots differ, or only some of them are on an island.
        RuntimeError: If there is no optimum.
    """
    if len({(p.slots, p.slot_h) for p in problems}) != 1:
        raise ValueError("the homes must share the slots of the horizon")
    if len({p.island is None for p in problems}) != 1:
        raise ValueError("an island holds all of the homes or none")
    feeder = np.isfinite(feeder_limit_w) and problems[0].island is None
    programs = [build(p, fixed=False, feeder=bool(feeder)) for p in problems]
    traded = sparse.hstack([program.trade for program in programs])
    traded_kw = sum((program.trade_kw for program in programs), np.zeros(programs[0].slots))
    a: Any = sparse.vstack([sparse.block_diag([p.a for p in programs]), traded], format="csc")
    b = np.concatenate([*(p.equal.low for p in programs), -traded_kw])
    rows: list[Any] = [sparse.block_diag([p.g for p in programs])]
    low = [p.between.low for p in programs]
    high = [p.between.high for p in programs]
    if feeder:
        grid_kw = sum((program.grid_kw for program in programs), np.zeros(programs[0].slots))
        rows.append(sparse.hstack([program.grid for program in programs]))
        low.append(-feeder_limit_w / 1000 - grid_kw)
        high.append(feeder_limit_w / 1000 - grid_kw)
    g: Any = sparse.vstack(rows, format="csr")
    solve = _linear if problems[0].island is None else _bent
    cost = solve(programs, a, b, g, np.concatenate(low), np.concatenate(high))
    return cost + sum(program.constant for program in programs)


def _linear(programs: Sequence[Program], a: Any, b: Floats, g: Any, low: Floats, high: Floats) -> float:
    up, down = np.isfinite(high), np.isfinite(low)
    bounds: Any = np.column_stack(_bounds(programs))
    rows: Any = sparse.vstack([g[up], -g[down]], format="csc")
    result = linprog(
        np.concatenate([p.cost - p.tie_break for p in programs]),
        A_ub=rows,
        b_ub=np.concatenate([high[up], -low[down]]),
        A_eq=a,
        b_eq=b,
        bounds=bounds,
        method="highs",
    )
    if result.status != 0 or result.fun is None:
        raise RuntimeError(f"no central optimum: {result.message}")
    return float(result.fun)


def _bent(programs: Sequence[Program], a: Any, b: Floats, g: Any, low: Floats, high: Floats) -> float:
    cost, bend = (np.concatenate(parts) for parts in ([p.cost for p in programs], [p.bend for p in programs]))
    tie_break = np.concatenate([p.tie_break for p in programs])
    solver = piqp.SparseSolver()
    rows = (sparse.csc_matrix(g), low, high) if low.size else (None, None, None)
    bent = sparse.csc_matrix(sparse.diags_array(bend))
    solver.setup(bent, cost - tie_break, sparse.csc_matrix(a), b, *rows, *_bounds(programs))
    if solver.solve() != piqp.PIQP_SOLVED:
        raise RuntimeError("no central optimum: the solver gave up")
    return float(solver.result.info.primal_obj)


def _bounds(programs: Sequence[Program]) -> tuple[Floats, Floats]:
    return np.concatenate([p.x_low for p in programs]), np.concatenate([p.x_high for p in programs])
