"""The interior point solver behind a program. Its symbolic factorisation is kept between solutions."""

from collections.abc import Sequence

import numpy as np
import piqp
from scipy import sparse

from agent.planning.draft import Matrix, Row, scaled, squared
from agent.planning.problem import Floats
from agent.planning.program import Program

_ACCURACY = 1e-6
"""Of the solver, in kW and currency: a thousandth of the Wh that bids are rounded to."""


def new_solver() -> piqp.SparseSolver:
    """Return a solver as every plan uses it, still without a program."""
    solver = piqp.SparseSolver()
    settings = solver.settings
    settings.eps_abs = settings.eps_rel = _ACCURACY
    settings.eps_duality_gap_abs = settings.eps_duality_gap_rel = _ACCURACY
    settings.preconditioner_reuse_on_update = True
    return solver


class Solver:
    """Solves one program again and again, with other costs or other right-hand sides.

    Attributes:
        x: The last solution.
        y: By how much its cost falls per unit more on the right-hand side of each row of A.

    Args:
        pulled: Rows whose squared values cost `weight` / 2 each on top of the program's cost.
    """

    def __init__(self, program: Program, pulled: Sequence[tuple[Row, ...]] = (), weight: float = 0.0) -> None:
        self.program = program
        self.x: Floats = np.zeros(program.cost.size)
        self.y: Floats = np.zeros(program.equal.low.size)
        self._solver = new_solver()
        p, a, g = program, program.a, program.g
        self._solver.setup(
            _quadratic(program, pulled, weight),
            p.cost,
            a if a.shape[0] else None,
            p.equal.low if a.shape[0] else None,
            g if g.shape[0] else None,
            p.between.low if g.shape[0] else None,
            p.between.high if g.shape[0] else None,
            p.x_low,
            p.x_high,
        )

    def solve(self, cost: Floats | None = None, trade_kw: Floats | None = None) -> bool:
        """Solve with another cost, or for another fixed trade; return whether `x` is a solution."""
        changed: dict[str, Floats] = {} if cost is None else {"c": cost}
        if trade_kw is not None:
            equal, between = self.program.equal, self.program.between
            if equal.factor.any():
                changed["b"] = equal.low_at(trade_kw)
            changed |= {"h_l": between.low_at(trade_kw)} if between.factor.any() else {}
        self._solver.update(**changed)
        solved = bool(self._solver.solve() == piqp.PIQP_SOLVED)
        if solved:
            self.x = np.array(self._solver.result.x)
            self.y = np.array(self._solver.result.y)
        return solved


def _quadratic(program: Program, pulled: Sequence[tuple[Row, ...]], weight: float) -> Matrix:
    parts = [scaled(squared(program.columns, rows), weight) for rows in pulled if rows and weight]
    if program.bend.any() or not parts:
        parts.append(sparse.csc_matrix(sparse.diags_array(program.bend)))
    return parts[0] if len(parts) == 1 else sparse.csc_matrix(sum(parts[1:], parts[0]))
