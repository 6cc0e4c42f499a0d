"""The home's convex program, built once per slot and answered again in every round with a new linear term."""

from dataclasses import dataclass, replace

import numpy as np
import piqp
from scipy import sparse

from agent.planning.problem import Floats, HomeProblem
from agent.planning.program import Program
from agent.planning.surprises import build_uncertain

_ACCURACY = 1e-6
"""Of the solver, in kW and currency: a thousandth of the Wh that bids are rounded to."""

_SHORT_MIN_W = 10.0
"""Undeliverable power below this is the rounding to whole Wh (2 W in a quarter hour), no promise that is broken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A plan of the horizon. All arrays have shape (n,), powers are means over the slot in W.

    Args:
        battery_w: discharge minus charge (+ discharges).
        import_w: From the grid at the tariff, >= 0. With surprises the first slot's are means over the cases, so that
            import and export may both be positive.
        export_w: Into the grid at the tariff, >= 0.
        trade_w: + bought from neighbours, - sold.
        stored_wh: Energy in the battery at each slot's end.
        short_w: The part of the trade that the home could only serve by reselling grid energy (0 when all is well).
        cost: Tariff cost of import minus export, plus wear, minus the value of the energy left at the end, in currency.
            What is paid for trades is not in it.
        solved: False when the solver gave up; the schedule then leaves the battery idle.
    """

    battery_w: Floats
    charge_w: Floats
    discharge_w: Floats
    import_w: Floats
    export_w: Floats
    trade_w: Floats
    stored_wh: Floats
    short_w: Floats
    cost: float
    solved: bool = True

    @property
    def deliverable(self) -> bool:
        """Whether the home can serve these trades with its own sun, battery and use."""
        return bool(self.short_w.max() < _SHORT_MIN_W)


class HomeModel:
    """One home's horizon, ready to answer prices.

    Not thread-safe: the solvers' memory is reused between answers.
    """

    def __init__(self, problem: HomeProblem) -> None:
        self.problem = problem
        self._free: _Solver | None = None
        self._fixed: _Solver | None = None
        self._rho = -1.0

    def alone(self) -> Schedule:
        """Return the best plan without neighbours."""
        return self.with_trades(np.zeros(self.problem.slots))

    def answer(self, prices_per_kwh: Floats, anchor_w: Floats, rho: float) -> Schedule:
        """Return the plan that minimises f(q) + sum over slots of h/1000 * (price * q + rho/2 * (q - anchor)^2).

        Args:
            prices_per_kwh: Neighbourhood price per slot.
            anchor_w: Where the quadratic term pulls the trade to, + buys.
            rho: Step size in currency per kWh and W, positive.
        """
        problem = self.problem
        if self._free is None or rho != self._rho:
            program = build_uncertain(problem, fixed=False)
            weight = np.zeros(program.cost.size)
            weight[program.span("free")] = 1000 * problem.slot_h * rho
            self._free, self._rho = _Solver(program, weight), rho
        program = self._free.program
        cost = program.cost.copy()
        cost[program.span("free")] = problem.slot_h * (prices_per_kwh - rho * anchor_w)
        x = self._free.solve(cost=cost)
        if x is None:
            return self._idle(np.zeros(problem.slots))
        return self._schedule(program, x, trade_w=1000 * program.part(x, "free"), short_w=np.zeros(problem.slots))

    def with_trades(self, trade_w: Floats) -> Schedule:
        """Return the best plan that serves the given trades (+ buys).

        Trades that the home cannot serve without reselling grid energy are served as far as possible; `short_w` of the
        result says by how much they are not.
        """
        if self._fixed is None:
            program = build_uncertain(self.problem, fixed=True)
            # dearer than any tariff step, so that nothing is called short that could be served
            program.cost[program.span("free")] = self.problem.slot_h * (
                1 + 3 * np.abs(self.problem.import_per_kwh).max()
            )
            self._fixed = _Solver(program, np.zeros(program.cost.size))
        program, n = self._fixed.program, self.problem.slots
        trade_kw = trade_w / 1000
        b, low = program.trade_rhs(trade_kw), program.low.copy()
        low[:n] -= trade_kw
        low[n : 2 * n] += trade_kw
        x = self._fixed.solve(b=b, low=low)
        if x is None:
            return self._idle(trade_w)
        short_w = 1000 * np.maximum(program.part(x, "free"), 0.0)
        return self._schedule(program, x, trade_w=np.array(trade_w, dtype=float), short_w=short_w)

    def cost(self, schedule: Schedule) -> float:
        """Return a schedule's cost in currency: tariff and wear, minus the value of the energy left at the end."""
        p, kwh = self.problem, self.problem.slot_h / 1000
        left = p.terminal_per_kwh * p.battery.efficiency_discharge * schedule.stored_wh[-1] / 1000 if p.battery else 0.0
        tariff = kwh * float(p.import_per_kwh @ schedule.import_w - p.export_per_kwh @ schedule.export_w)
        wear = kwh * p.wear_per_kwh / 2 * float((schedule.charge_w + schedule.discharge_w).sum())
        return tariff + wear - float(left)

    def _schedule(self, program: Program, x: Floats, *, trade_w: Floats, short_w: Floats) -> Schedule:
        charge_w = 1000 * np.maximum(program.part(x, "charge"), 0.0)
        discharge_w = 1000 * np.maximum(program.part(x, "discharge"), 0.0)
        stored_wh = 1000 * program.part(x, "stored")
        schedule = self._finish(charge_w, discharge_w, stored_wh, trade_w, short_w, solved=True)
        return self._on_average(schedule, float(program.part(x, "import")[0])) if program.cases else schedule

    def _on_average(self, schedule: Schedule, import_kw: float) -> Schedule:
        """Give the first slot's grid both its sides: on average it imports in some cases and exports in others."""
        import_w, export_w = schedule.import_w.copy(), schedule.export_w.copy()
        net_w = float(import_w[0] - export_w[0])
        import_w[0] = max(1000 * import_kw, net_w, 0.0)
        export_w[0] = import_w[0] - net_w
        both = replace(schedule, import_w=import_w, export_w=export_w)
        return replace(both, cost=self.cost(both))

    def _idle(self, trade_w: Floats) -> Schedule:
        p, zero = self.problem, np.zeros(self.problem.slots)
        short_w = np.maximum(0.0, np.maximum(trade_w - p.load_w, -p.pv_w - trade_w))
        return self._finish(zero, zero, np.full(p.slots, p.start_wh), trade_w, short_w, solved=False)

    def _finish(
        self,
        charge_w: Floats,
        discharge_w: Floats,
        stored_wh: Floats,
        trade_w: Floats,
        short_w: Floats,
        *,
        solved: bool,
    ) -> Schedule:
        # the grid takes exactly what is left, so that the balance holds to the last bit whatever the solver's accuracy
        grid_w = self.problem.load_w - self.problem.pv_w + charge_w - discharge_w - trade_w
        draft = Schedule(
            battery_w=discharge_w - charge_w,
            charge_w=charge_w,
            discharge_w=discharge_w,
            import_w=np.maximum(grid_w, 0.0),
            export_w=np.maximum(-grid_w, 0.0),
            trade_w=trade_w,
            stored_wh=stored_wh,
            short_w=short_w,
            cost=0.0,
            solved=solved,
        )
        object.__setattr__(draft, "cost", self.cost(draft))
        return draft


class _Solver:
    """An interior point solver whose symbolic factorisation is kept between solutions."""

    def __init__(self, program: Program, weight: Floats) -> None:
        self.program = program
        self._solver = piqp.SparseSolver()
        settings = self._solver.settings
        settings.eps_abs = settings.eps_rel = _ACCURACY
        settings.eps_duality_gap_abs = settings.eps_duality_gap_rel = _ACCURACY
        settings.preconditioner_reuse_on_update = True
        p = program
        self._solver.setup(
            sparse.csc_matrix(sparse.diags_array(weight)),
            p.cost,
            sparse.csc_matrix(p.a),
            p.b,
            None if p.g is None else sparse.csc_matrix(p.g),
            None if p.g is None else p.low,
            None if p.g is None else p.high,
            p.x_low,
            p.x_high,
        )

    def solve(self, cost: Floats | None = None, b: Floats | None = None, low: Floats | None = None) -> Floats | None:
        """Return x for the changed parts, or None when the solver gives up."""
        self._solver.update(c=cost, b=b, h_l=low)
        status = self._solver.solve()
        return np.array(self._solver.result.x) if status == piqp.PIQP_SOLVED else None
