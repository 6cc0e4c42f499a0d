"""The convex program of a recorded home: set up once, kept from slot to slot by `QuickHome`.

Columns in blocks of n slots: charge, discharge, stored, import, export, and `free`: the trade q when bidding, the part
of a given trade that would take reselling grid energy when planning; where energy bears a fee on its way into the
home, also `delivered`. In kW and kWh.

    balance     import - export + discharge - charge (+ q)  =  load - pv (- given q)
    dynamics    stored - stored before - h * eta_c * charge + h / eta_d * discharge  =  0
    no resale   q >= -(pv + discharge),   q <= load + charge        (not behind one connection)
    delivered   >= load - pv + charge - discharge
"""

import numpy as np
import piqp
from scipy import sparse

from agent.planning.problem import Battery, Floats
from agent.planning.solver import new_solver

CHARGE, DISCHARGE, STORED, IMPORT, EXPORT, FREE, DELIVERED = range(7)


class QuickProgram:
    """The program with free trades (`bend` given: how steep their square is) or with given ones.

    `rise` is how steep the squares of import and export are, `passing_on` allows resale. The interior point solver has
    no warm start, but keeps what it learned of the matrices.
    """

    def __init__(
        self,
        battery: Battery,
        n: int,
        h: float,
        *,
        rise: float,
        bend: float | None,
        passing_on: bool,
        delivery: bool,
    ) -> None:
        self._battery, self._n, self._passing_on, self._delivery = battery, n, passing_on, delivery
        q = 0.0 if bend is None else 1.0
        into, out_of = h * battery.efficiency_charge, h / battery.efficiency_discharge
        width = 7 if delivery else 6
        same = np.array([[-1.0, 1.0, 0.0, 1.0, -1.0, q, 0.0], [-into, out_of, 0.0, 0.0, 0.0, 0.0, 0.0]])
        change = np.array([[0.0] * 7, [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]])
        one, step = sparse.eye_array(n), sparse.eye_array(n) - sparse.eye_array(n, k=-1)
        self._a = sparse.csc_matrix(sparse.kron(same[:, :width], one) + sparse.kron(change[:, :width], step))
        limits = []
        if not passing_on:
            # trades given: discharge + short >= -(pv + q) and charge + short >= q - load; else charge - q >= -load
            limits += [[0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0, -1.0 if q else 1.0, 0.0]]
        if delivery:
            limits += [[-1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]]
        self._g = sparse.csc_matrix(sparse.kron(np.array(limits).reshape(-1, 7)[:, :width], one))
        steep = np.repeat([0.0, rise, bend or 0.0, 0.0], [3 * n, 2 * n, n, (width - 6) * n])
        self._p = sparse.csc_matrix(sparse.diags_array(steep))
        self._low, self._high = np.zeros((width, n)), np.full((width, n), np.inf)
        self._high[CHARGE], self._high[DISCHARGE] = battery.charge_max_w / 1000, battery.discharge_max_w / 1000
        self._high[STORED] = battery.capacity_wh / 1000
        if bend is not None:
            self._low[FREE] = -np.inf
        self._b, self._g_low = np.zeros((2, n)), np.zeros((len(limits), n))
        self._solver: piqp.SparseSolver | None = None
        self._known: dict[bytes, tuple[Floats | None, Floats]] = {}
        self.stored_values: Floats = np.zeros(n)
        """By how much the cost of the plan falls per kWh more in the battery when each slot begins."""

    def begin(self, cost: Floats, load_kw: Floats, pv_kw: Floats, start_kwh: float, floor_kwh: float) -> None:
        self._cost = cost
        self._known.clear()
        self._b[0], self._b[1, 0] = load_kw - pv_kw, start_kwh
        if not self._passing_on:
            self._g_low[0], self._g_low[1] = -pv_kw, -load_kw
        if self._delivery:
            self._g_low[-1] = load_kw - pv_kw
        self._low[STORED] = floor_kwh
        vectors = {
            "c": cost.ravel(),
            "b": self._b.ravel(),
            "h_l": self._g_low.ravel(),
            "x_l": self._low.ravel(),
            "x_u": self._high.ravel(),
        }
        if self._solver is not None:
            self._solver.update(**vectors)
            return
        self._solver = new_solver()
        self._solver.setup(P=self._p, A=self._a, G=self._g, **vectors)

    def bend(self, bend: float) -> None:
        """Change how steep the square of free trades is."""
        assert self._solver is not None
        self._p.data[-self._n :] = bend
        self._solver.update(P=self._p)

    def bid(self, cost_of_free: Floats) -> Floats | None:
        assert self._solver is not None
        self._cost[FREE] = cost_of_free
        self._solver.update(c=self._cost.ravel())
        return self._x()

    def plan(self, trade_kw: Floats) -> Floats | None:
        assert self._solver is not None
        key = trade_kw.tobytes()
        if key not in self._known:
            b, low = self._b.copy(), self._g_low.copy()
            b[0] -= trade_kw
            if not self._passing_on:
                low[0] -= trade_kw
                low[1] += trade_kw
            self._solver.update(b=b.ravel(), h_l=low.ravel())
            self._known[key] = self._x(), np.array(self._solver.result.y)[self._n :]
        x, self.stored_values = self._known[key]
        return x

    def _x(self) -> Floats | None:
        assert self._solver is not None
        if self._solver.solve() != piqp.PIQP_SOLVED:
            return None
        return np.array(self._solver.result.x).reshape(-1, self._n)
