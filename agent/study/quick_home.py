"""A home's program, kept from slot to slot: what `Planner` answers, without building anything anew.

`Planner` is made for one negotiation and forgotten, and knows vehicles, tanks, islands and feeders. A year of a street
asks for a hundred thousand of them, and building one costs more than its answers. A recorded home has a load, sun and
at most one battery; its program is written down here once, its solvers live on, and from slot to slot only vectors
change. Tests hold its bids, the trades it keeps and its plans against `Planner`.

Columns in blocks of n slots: charge, discharge, stored, import, export, and `free`: the trade q when bidding, the part
of a given trade that would take reselling grid energy when planning. In kW and kWh.

    balance     import - export + discharge - charge (+ q)  =  load - pv (- given q)
    dynamics    stored - stored before - h * eta_c * charge + h / eta_d * discharge  =  0
    no resale   q >= -(pv + discharge),   q <= load + charge
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import piqp
from scipy import sparse

from agent.planning.home_model import SHORT_MIN_W
from agent.planning.planner import allowed_loss
from agent.planning.problem import Battery, Floats
from agent.planning.program import SPREAD_MIN_PER_KWH, TIE_BREAK_PER_KWH
from agent.planning.solver import new_solver
from coordinator.quantities import MICRO

_SHORT_MIN_KW = SHORT_MIN_W / 1000
_NO_BATTERY = Battery(capacity_wh=0.0, charge_max_w=0.0, discharge_max_w=0.0)
_CHARGE, _DISCHARGE, _STORED, _IMPORT, _EXPORT, _FREE = range(6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What a home knows of its horizon. Arrays have shape (n,).

    Args:
        stored_wh: Energy in the battery now.
        terminal_per_kwh: Price of energy left at the end, before discharge losses.
    """

    load_w: Floats
    pv_w: Floats
    import_per_kwh: Floats
    export_per_kwh: Floats
    stored_wh: float
    terminal_per_kwh: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The first slot of a plan, in W.

    Args:
        battery_w: + discharges.
        grid_w: Import minus export at the tariff, the trade not counted.
        stored_value_per_kwh: What one more kWh stored at the slot's end would save later on.
    """

    battery_w: float
    grid_w: float
    stored_value_per_kwh: float


class QuickHome:
    """One home; `begin` before every slot.

    Args:
        rho_micro: Step size of the charter in micro-units per kWh and W.
        rise_per_kwh_kw: As `Options`.
    """

    def __init__(
        self,
        battery: Battery | None,
        *,
        horizon: int,
        slot_h: float,
        wear_per_kwh: float,
        rho_micro: int,
        rise_per_kwh_kw: float = 0.0,
    ) -> None:
        self._battery, self._n, self._h = battery or _NO_BATTERY, horizon, slot_h
        self._rho, self._wear, self._rise = rho_micro / MICRO, wear_per_kwh, slot_h * rise_per_kwh_kw
        late = np.arange(horizon) / horizon
        self._tie_charge = slot_h * TIE_BREAK_PER_KWH * (1 - late)
        self._tie_discharge = slot_h * TIE_BREAK_PER_KWH * late
        self._bidding = _Solver(self._battery, horizon, slot_h, rise=self._rise, bend=1000 * slot_h * self._rho)
        self._planning = _Solver(self._battery, horizon, slot_h, rise=self._rise, bend=None)

    def begin(self, outlook: Outlook) -> None:
        """Take the horizon of the slot to be negotiated."""
        battery, h, n = self._battery, self._h, self._n
        self._load_kw = np.maximum(outlook.load_w, 0.0) / 1000
        self._pv_kw = np.maximum(outlook.pv_w, 0.0) / 1000
        self._outlook = outlook
        start_kwh = min(max(outlook.stored_wh, 0.0), battery.capacity_wh) / 1000
        self._true = np.zeros((6, n))
        self._true[_CHARGE] = self._true[_DISCHARGE] = h * self._wear / 2
        self._true[_STORED, -1] = -outlook.terminal_per_kwh * battery.efficiency_discharge
        self._true[_IMPORT], self._true[_EXPORT] = h * outlook.import_per_kwh, -h * outlook.export_per_kwh
        cost = self._true.copy()
        cost[_CHARGE] += self._tie_charge
        cost[_DISCHARGE] += self._tie_discharge
        spread = outlook.import_per_kwh - outlook.export_per_kwh
        cost[_IMPORT] += h * np.maximum(SPREAD_MIN_PER_KWH - spread, 0.0)
        floor_kwh = min(battery.reserve_wh / 1000, start_kwh)
        self._bidding.begin(cost.copy(), self._load_kw, self._pv_kw, start_kwh, floor_kwh)
        cost[_FREE] = h * (1 + 3 * float(np.abs(outlook.import_per_kwh).max()))
        self._planning.begin(cost, self._load_kw, self._pv_kw, start_kwh, floor_kwh)
        self._lowest = -np.floor((1000 * self._pv_kw + battery.discharge_max_w) * h)
        self._highest = np.floor((1000 * self._load_kw + battery.charge_max_w) * h)
        self._expected = np.zeros(n)
        self._prices = np.zeros(n)

    def bid(self, prices_micro: Sequence[int], anchor_wh: Sequence[float], rho_micro: int | None = None) -> list[int]:
        """Return the wanted trade per slot, as `Planner.bid`."""
        if rho_micro is not None and rho_micro / MICRO != self._rho:
            self._rho = rho_micro / MICRO
            self._bidding.bend(1000 * self._h * self._rho)
        self._prices = np.array(prices_micro) / MICRO
        anchor_w = np.array(anchor_wh, dtype=float) / self._h
        x = self._bidding.bid(self._h * (self._prices - self._rho * anchor_w))
        trade_kw = np.zeros(self._n) if x is None else x[_FREE]
        wanted_wh = np.rint(1000 * trade_kw * self._h)
        self._expected = np.minimum(np.maximum(wanted_wh, self._lowest), self._highest)
        bids: list[int] = self._expected.astype(np.int64).tolist()
        return bids

    def expect(self, trades_wh: Sequence[int]) -> None:
        """Reckon with these trades in later slots; without this call with the last bids, as `Planner` does."""
        self._expected = np.array(trades_wh, dtype=float)

    def keep(self, trade_wh: int, price_micro: int) -> int:
        """Return how much of a matched trade of the first slot does not lose, as `Planner.keep`."""
        price = price_micro / MICRO
        if trade_wh > 0 and price > self._outlook.import_per_kwh[0]:
            return 0
        if trade_wh < 0 and price < self._outlook.export_per_kwh[0]:
            return 0
        without = min(self._costs(0, price))
        for part in (1, 2, 4):
            kept_wh = int(trade_wh / part)
            allowed = allowed_loss(kept_wh)
            if kept_wh and any(cost <= without + allowed for cost in self._costs(kept_wh, price)):
                return kept_wh
        return 0

    def _costs(self, trade_wh: int, price: float) -> Iterator[float]:
        """Yield the cost of the horizon with this trade first: with later trades as expected, and with none."""
        prices = self._prices.copy()
        prices[0] = price
        yield self._cost(self._with_first(trade_wh), prices)
        lonely = np.zeros(self._n)
        lonely[0] = trade_wh
        yield self._cost(lonely, prices)

    def _with_first(self, trade_wh: int) -> Floats:
        trades_wh = self._expected.copy()
        trades_wh[0] = trade_wh
        return trades_wh

    def _cost(self, trades_wh: Floats, prices: Floats) -> float:
        x = self._planning.plan(trades_wh / self._h / 1000)
        if x is None or x[_FREE].max() > _SHORT_MIN_KW:
            return float("inf")
        risen = self._rise / 2 * float((x[[_IMPORT, _EXPORT]] ** 2).sum())
        return float((self._true * x).sum()) + risen + float(trades_wh @ prices) / 1000

    def step(self, committed_wh: int, *, alone: bool = False) -> Step:
        """Return the first slot of the plan with this trade in it, as `Planner.schedule`.

        Args:
            alone: Reckon with no trades in later slots; else with the expected ones, where they can be served.
        """
        lonely = np.zeros(self._n)
        lonely[0] = committed_wh
        x = self._planning.plan((lonely if alone else self._with_first(committed_wh)) / self._h / 1000)
        if not alone and (x is None or x[_FREE].max() > _SHORT_MIN_KW):
            x = self._planning.plan(lonely / self._h / 1000)
        net_w = 1000 * float(self._load_kw[0] - self._pv_kw[0]) - committed_wh / self._h
        if x is None or self._battery is _NO_BATTERY:
            return Step(battery_w=0.0, grid_w=net_w, stored_value_per_kwh=0.0)
        battery_w = 1000 * float(max(x[_DISCHARGE, 0], 0.0) - max(x[_CHARGE, 0], 0.0))
        value = float(self._planning.stored_values[min(1, self._n - 1)])
        return Step(battery_w=battery_w, grid_w=net_w - battery_w, stored_value_per_kwh=value)


class _Solver:
    """The program with free trades (`bend` given: how steep their square is) or with given ones.

    `rise` is how steep the squares of import and export are. The interior point solver has no warm start, but keeps
    what it learned of the matrices.
    """

    def __init__(self, battery: Battery, n: int, h: float, *, rise: float, bend: float | None) -> None:
        self._battery, self._n = battery, n
        q = 0.0 if bend is None else 1.0
        into, out_of = h * battery.efficiency_charge, h / battery.efficiency_discharge
        same = [[-1.0, 1.0, 0.0, 1.0, -1.0, q], [-into, out_of, 0.0, 0.0, 0.0, 0.0]]
        change = [[0.0] * 6, [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]]
        one, step = sparse.eye_array(n), sparse.eye_array(n) - sparse.eye_array(n, k=-1)
        self._a = sparse.csc_matrix(sparse.kron(np.array(same), one) + sparse.kron(np.array(change), step))
        # trades given: discharge + short >= -(pv + q) and charge + short >= q - load; else charge - q >= -load
        limits = [[0.0, 1.0, 0.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0, 0.0, -1.0 if q else 1.0]]
        self._g = sparse.csc_matrix(sparse.kron(np.array(limits), one))
        self._p = sparse.csc_matrix(sparse.diags_array(np.repeat([0.0, rise, bend or 0.0], [3 * n, 2 * n, n])))
        self._low, self._high = np.zeros((6, n)), np.full((6, n), np.inf)
        self._high[_CHARGE], self._high[_DISCHARGE] = battery.charge_max_w / 1000, battery.discharge_max_w / 1000
        self._high[_STORED] = battery.capacity_wh / 1000
        if bend is not None:
            self._low[_FREE] = -np.inf
        self._b, self._g_low = np.zeros((2, n)), np.zeros((2, n))
        self._solver: piqp.SparseSolver | None = None
        self._known: dict[bytes, tuple[Floats | None, Floats]] = {}
        self.stored_values: Floats = np.zeros(n)
        """By how much the cost of the plan falls per kWh more in the battery when each slot begins."""

    def begin(self, cost: Floats, load_kw: Floats, pv_kw: Floats, start_kwh: float, floor_kwh: float) -> None:
        self._cost = cost
        self._known.clear()
        self._b[0], self._b[1, 0] = load_kw - pv_kw, start_kwh
        self._g_low[0], self._g_low[1] = -pv_kw, -load_kw
        self._low[_STORED] = floor_kwh
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
        self._cost[_FREE] = cost_of_free
        self._solver.update(c=self._cost.ravel())
        return self._x()

    def plan(self, trade_kw: Floats) -> Floats | None:
        assert self._solver is not None
        key = trade_kw.tobytes()
        if key not in self._known:
            b, low = self._b.copy(), self._g_low.copy()
            b[0] -= trade_kw
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
        return np.array(self._solver.result.x).reshape(6, self._n)
