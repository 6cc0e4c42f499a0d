"""One optimiser with everybody's data: the plan of the strategies `central` and `perfect`. Never a part of a home.

Homes of one tariff share one import and one export: what their trades could do, netting does, and no home resells. In
kW and kWh per home: charge, discharge, stored; per tariff: import, export, and the exchange with the other tariffs,
which is bounded by what its homes make and use (no resale).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import piqp
from numpy.typing import NDArray
from scipy import sparse

from agent.planning.problem import Battery, Floats
from agent.planning.program import SPREAD_MIN_PER_KWH, TIE_BREAK_PER_KWH
from agent.planning.solver import new_solver


@dataclass(frozen=True, slots=True, kw_only=True)
class JointStep:
    """The first slot of the plan, arrays of shape (homes,).

    Args:
        battery_w: + discharges.
        stored_value_per_kwh: What one more kWh stored at the slot's end would save later on.
    """

    battery_w: Floats
    stored_value_per_kwh: Floats


class JointPlan:
    """Solves slot after slot; only vectors change.

    Args:
        batteries: Per home.
        groups: Number of each home's tariff, 0, 1, ..., shape (homes,).
        horizon: Slots ahead.
    """

    def __init__(
        self,
        batteries: Sequence[Battery | None],
        groups: NDArray[np.int64],
        *,
        horizon: int,
        slot_h: float,
        wear_per_kwh: float,
    ) -> None:
        self._n, self._h, self._wear = horizon, slot_h, wear_per_kwh
        self._groups = groups
        self._with = [i for i, battery in enumerate(batteries) if battery is not None]
        self._batteries = [battery for battery in batteries if battery is not None]
        self._count = int(groups.max()) + 1
        self._solver: piqp.SparseSolver | None = None
        self._a, self._g = self._matrices()

    def _matrices(self) -> tuple[sparse.csc_matrix, sparse.csc_matrix | None]:
        """Return A (balance of each tariff, dynamics of each battery, exchange sums to zero) and G (no resale)."""
        n, h, homes, groups = self._n, self._h, len(self._with), self._count
        member = np.array([[float(self._groups[i] == group) for i in self._with] for group in range(groups)])
        of_homes, of_groups = np.zeros((groups, homes)), np.eye(groups)
        balance = np.hstack([-member, member, of_homes, of_groups, -of_groups, of_groups])
        into = np.diag([-h * battery.efficiency_charge for battery in self._batteries])
        out_of = np.diag([h / battery.efficiency_discharge for battery in self._batteries])
        width = 3 * homes + 3 * groups
        dynamics = np.zeros((homes, width))
        dynamics[:, :homes], dynamics[:, homes : 2 * homes] = into, out_of
        together = np.zeros((1, width))
        together[0, -groups:] = 1.0
        steps = np.zeros((groups + homes + 1, width))
        steps[groups : groups + homes, 2 * homes : 3 * homes] = np.eye(homes)
        one, step = sparse.eye_array(n), sparse.eye_array(n) - sparse.eye_array(n, k=-1)
        a = sparse.kron(np.vstack([balance, dynamics, together]), one) + sparse.kron(steps, step)
        if groups == 1:
            return sparse.csc_matrix(a), None
        made = np.hstack([of_homes, member, of_homes, 0 * of_groups, 0 * of_groups, of_groups])
        used = np.hstack([-member, of_homes, of_homes, 0 * of_groups, 0 * of_groups, of_groups])
        return sparse.csc_matrix(a), sparse.csc_matrix(sparse.kron(np.vstack([made, used]), one))

    def step(
        self,
        *,
        load_w: Floats,
        pv_w: Floats,
        stored_wh: Floats,
        import_per_kwh: Floats,
        export_per_kwh: Floats,
        terminal_per_kwh: Floats,
    ) -> JointStep:
        """Plan a horizon.

        Args:
            load_w: Shape (homes, horizon); so is `pv_w`.
            stored_wh: Shape (homes,).
            import_per_kwh: Shape (tariffs, horizon); so is `export_per_kwh`.
            terminal_per_kwh: Shape (homes,).

        Raises:
            RuntimeError: If the solver finds no plan.
        """
        n, h, homes, groups = self._n, self._h, len(self._with), self._count
        late = np.arange(n) / n
        cost = np.zeros((3 * homes + 3 * groups, n))
        cost[:homes] = h * (self._wear / 2 + TIE_BREAK_PER_KWH * (1 - late))
        cost[homes : 2 * homes] = h * (self._wear / 2 + TIE_BREAK_PER_KWH * late)
        efficiency = np.array([battery.efficiency_discharge for battery in self._batteries])
        cost[2 * homes : 3 * homes, -1] = -terminal_per_kwh[self._with] * efficiency
        spread = np.maximum(SPREAD_MIN_PER_KWH - (import_per_kwh - export_per_kwh), 0.0)
        cost[3 * homes : 3 * homes + groups] = h * (import_per_kwh + spread)
        cost[3 * homes + groups : 3 * homes + 2 * groups] = -h * export_per_kwh
        load, pv = self._by_group(load_w), self._by_group(pv_w)
        start = np.zeros((homes, n))
        capacity = np.array([battery.capacity_wh for battery in self._batteries])
        held = np.clip(stored_wh[self._with], 0.0, capacity)
        start[:, 0] = held / 1000
        b = np.concatenate([(load - pv).ravel(), start.ravel(), np.zeros(n)])
        low, high = self._bounds(held)
        self._solve(cost.ravel(), b, low, high, load, pv)
        assert self._solver is not None
        x = np.array(self._solver.result.x).reshape(-1, n)
        y = np.array(self._solver.result.y).reshape(-1, n)
        battery_w, value = np.zeros(len(self._groups)), np.zeros(len(self._groups))
        battery_w[self._with] = 1000 * (np.maximum(x[homes : 2 * homes, 0], 0) - np.maximum(x[:homes, 0], 0))
        value[self._with] = y[groups : groups + homes, 1]
        return JointStep(battery_w=battery_w, stored_value_per_kwh=value)

    def _by_group(self, values: Floats) -> Floats:
        return np.array([values[self._groups == group].sum(axis=0) for group in range(self._count)]) / 1000

    def _bounds(self, held_wh: Floats) -> tuple[Floats, Floats]:
        n, homes, groups = self._n, len(self._with), self._count
        low = np.zeros((3 * homes + 3 * groups, n))
        high = np.full_like(low, np.inf)
        for i, battery in enumerate(self._batteries):
            high[i] = battery.charge_max_w / 1000
            high[homes + i] = battery.discharge_max_w / 1000
            low[2 * homes + i] = min(battery.reserve_wh, held_wh[i]) / 1000
            high[2 * homes + i] = battery.capacity_wh / 1000
        low[3 * homes + 2 * groups :] = -np.inf
        return low.ravel(), high.ravel()

    def _solve(self, cost: Floats, b: Floats, low: Floats, high: Floats, load: Floats, pv: Floats) -> None:
        g_low = g_high = None
        if self._g is not None:
            inf = np.full(load.size, np.inf)
            g_low, g_high = np.concatenate([-pv.ravel(), -inf]), np.concatenate([inf, load.ravel()])
        if self._solver is None:
            self._solver = new_solver()
            p = sparse.csc_matrix((cost.size, cost.size))
            self._solver.setup(p, cost, self._a, b, self._g, g_low, g_high, low, high)
        else:
            self._solver.update(c=cost, b=b, h_l=g_low, h_u=g_high, x_l=low, x_u=high)
        if self._solver.solve() != piqp.PIQP_SOLVED:
            raise RuntimeError("no plan of all homes together was found")
