"""The home's convex program, built once per slot and answered again in every round with a new linear term."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from agent.planning.problem import Floats, HomeProblem, Storage, untouched
from agent.planning.program import build, wish_per_kwh
from agent.planning.solver import Solver

SHORT_MIN_W = 10.0
"""Undeliverable power below this is the rounding to whole Wh (2 W in a quarter hour), no promise that is broken."""

_MISSING_MIN_WH = 5.0
"""A wish that lacks less than this is fulfilled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What one storage does. Arrays have shape (n,), powers are means over the slot in W.

    Args:
        charge_w: AC power into it, >= 0.
        discharge_w: AC power out of it, >= 0.
        stored_wh: Energy in it at each slot's end; while it is away, what it came or went with.
        missing_wh: What it lacks of its wish at each slot's end, >= 0.
    """

    name: str
    charge_w: Floats
    discharge_w: Floats
    stored_wh: Floats
    missing_wh: Floats

    @property
    def power_w(self) -> Floats:
        """+ gives, - takes."""
        return self.discharge_w - self.charge_w


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A plan of the horizon. All arrays have shape (n,), powers are means over the slot in W.

    load - unserved == import - export + trade + pv - curtailed + battery + flexible things (on an island, where a trade
    cannot be served, up to what is short).

    Args:
        battery: What the home's battery does; nothing where there is none.
        flexible: What the other flexible things do, in the order of the problem.
        import_w: From the grid at the tariff, >= 0.
        export_w: Into the grid at the tariff, >= 0.
        trade_w: + bought from neighbours, - sold.
        short_w: The part of the trade that the home could only serve by reselling grid energy, or on an island not at
            all (0 when all is well).
        curtailed_w: Sun that is turned down.
        unserved_w: Load that an island leaves out, critical load included.
        critical_unserved_w: The critical part of it.
        cost: Tariff cost of import minus export, plus wear, unserved load and wishes that give way, minus the value of
            the energy left at the end, in currency. What is paid for trades is not in it.
        stored_per_kwh: By how much the cost falls per kWh more in the home's battery at the first slot's end; 0
            without a battery.
        solved: False when the solver gave up; the schedule then leaves everything idle.
    """

    battery: Flow
    flexible: tuple[Flow, ...]
    import_w: Floats
    export_w: Floats
    trade_w: Floats
    short_w: Floats
    curtailed_w: Floats
    unserved_w: Floats
    critical_unserved_w: Floats
    cost: float
    stored_per_kwh: float
    solved: bool

    @property
    def battery_w(self) -> Floats:
        """Discharge minus charge of the home's battery (+ discharges)."""
        return self.battery.power_w

    @property
    def charge_w(self) -> Floats:
        return self.battery.charge_w

    @property
    def discharge_w(self) -> Floats:
        return self.battery.discharge_w

    @property
    def stored_wh(self) -> Floats:
        """Energy in the home's battery at each slot's end."""
        return self.battery.stored_wh

    @property
    def flexible_w(self) -> Floats:
        """Power of all other flexible things together, + gives, - takes."""
        return sum((flow.power_w for flow in self.flexible), np.zeros(self.trade_w.size))

    @property
    def deliverable(self) -> bool:
        """Whether the home can serve these trades with its own sun, storages and use."""
        return bool(self.short_w.max() < SHORT_MIN_W)

    @property
    def grid_w(self) -> Floats:
        """Exchange with the grid, + imports; neighbours' energy is not in it."""
        return self.import_w - self.export_w

    def gave_way(self) -> dict[str, tuple[int, float]]:
        """Return by name the slot at whose end most of a wish is missing, and the Wh that are."""
        worst = {flow.name: int(flow.missing_wh.argmax()) for flow in self.flexible}
        missing_wh = {flow.name: float(flow.missing_wh.max()) for flow in self.flexible}
        return {name: (at, missing_wh[name]) for name, at in worst.items() if missing_wh[name] > _MISSING_MIN_WH}


@dataclass(frozen=True, slots=True, kw_only=True)
class Feeder:
    """A community's limit of its grid exchange, felt as a price.

    Args:
        price_per_kwh: What importing costs on top of the tariff and exporting earns on top of it, per slot.
        anchor_w: Where the quadratic term pulls the grid exchange to, + imports.
    """

    price_per_kwh: Floats
    anchor_w: Floats


class HomeModel:
    """One home's horizon, ready to answer prices.

    Not thread-safe: the solvers' memory is reused between answers.
    """

    def __init__(self, problem: HomeProblem) -> None:
        self.problem = problem
        self._storages = problem.storages()
        self._free: dict[tuple[float, bool], Solver] = {}
        self._fixed: dict[tuple[float, bool], Solver] = {}

    def alone(self) -> Schedule:
        """Return the best plan without neighbours."""
        return self.with_trades(np.zeros(self.problem.slots))

    def bids(
        self, prices_per_kwh: Floats, anchor_w: Floats, rho: float, feeder: Feeder | None = None
    ) -> tuple[Floats, Floats]:
        """Return the trades of `answer`, + buys, and the exchange with the grid, + imports, in W; without a schedule.

        All zero when the solver gives up.
        """
        solver = self._answered(prices_per_kwh, anchor_w, rho, feeder)
        nothing = np.zeros(self.problem.slots)
        if solver is None:
            return nothing, nothing
        program, x = solver.program, solver.x
        grid_kw = program.grid @ x + program.grid_kw if feeder is not None and program.grid_rows else nothing
        return 1000 * (program.trade @ x + program.trade_kw), 1000 * grid_kw

    def answer(self, prices_per_kwh: Floats, anchor_w: Floats, rho: float, feeder: Feeder | None = None) -> Schedule:
        """Return the plan that minimises f(q) + sum over slots of h/1000 * (price * q + rho/2 * (q - anchor)^2).

        With a feeder, the same two terms of its price and anchor are added for the exchange with the grid.

        Args:
            prices_per_kwh: Neighbourhood price per slot.
            anchor_w: Where the quadratic term pulls the trade to, + buys.
            rho: Step size in currency per kWh and W, positive.
        """
        solver = self._answered(prices_per_kwh, anchor_w, rho, feeder)
        price = None if feeder is None else feeder.price_per_kwh
        if solver is None:
            return self._schedule(None, np.zeros(self.problem.slots), price)
        return self._schedule(solver, 1000 * (solver.program.trade @ solver.x + solver.program.trade_kw), price)

    def _answered(self, prices_per_kwh: Floats, anchor_w: Floats, rho: float, feeder: Feeder | None) -> Solver | None:
        h, key = self.problem.slot_h, (rho, feeder is not None)
        solver = self._free.get(key)
        if solver is None:
            program = build(self.problem, fixed=False, feeder=feeder is not None)
            rows = [program.trade_rows]
            if feeder is not None and program.grid_rows:
                rows.append(program.grid_rows)
            solver = self._free[key] = Solver(program, rows, 1000 * h * rho)
        program = solver.program
        slope = h * (prices_per_kwh + rho * (1000 * program.trade_kw - anchor_w))
        cost = program.cost + program.trade_transposed @ slope
        if feeder is not None and program.grid_rows:
            slope = h * (feeder.price_per_kwh + rho * (1000 * program.grid_kw - feeder.anchor_w))
            cost += program.grid_transposed @ slope
        return solver if solver.solve(cost=cost) else None

    def with_trades(self, trade_w: Floats, feeder: Feeder | None = None, rho: float = 0.0) -> Schedule:
        """Return the best plan that serves the given trades (+ buys).

        Trades that the home cannot serve without reselling grid energy are served as far as possible; `short_w` of the
        result says by how much they are not.

        Args:
            feeder: Its price is part of the tariff for this plan and its cost.
            rho: Above 0, in currency per kWh and W, the exchange with the grid is held to the feeder's anchor, which
                gives what `answer` gave: at the price alone many exchanges cost the same, also some that break the
                limit.
        """
        key = (rho, feeder is not None)
        solver = self._fixed.get(key)
        if solver is None:
            program = build(self.problem, fixed=True, feeder=feeder is not None)
            solver = self._fixed[key] = Solver(program, [program.grid_rows], 1000 * self.problem.slot_h * rho)
        program, cost = solver.program, None
        if feeder is not None and program.grid_rows:
            idle_w = 1000 * program.grid_kw - trade_w
            slope = self.problem.slot_h * (feeder.price_per_kwh + rho * (idle_w - feeder.anchor_w))
            cost = program.cost + program.grid_transposed @ slope
        solved = solver.solve(cost=cost, trade_kw=trade_w / 1000)
        price = None if feeder is None else feeder.price_per_kwh
        return self._schedule(solver if solved else None, np.array(trade_w, dtype=float), price)

    def cost(self, schedule: Schedule, feeder_per_kwh: Floats | None = None) -> float:
        """Return a schedule's cost in currency, as `Schedule.cost` says."""
        p, kwh = self.problem, self.problem.slot_h / 1000
        total = kwh * float(p.import_per_kwh @ schedule.import_w - p.export_per_kwh @ schedule.export_w)
        if feeder_per_kwh is not None:
            total += kwh * float(feeder_per_kwh @ schedule.grid_w)
        flows = {flow.name: flow for flow in (schedule.battery, *schedule.flexible)}
        for storage in self._storages:
            flow = flows[storage.name]
            total += kwh * storage.wear_per_kwh * float((flow.charge_w + flow.discharge_w).sum())
            total -= storage.left_per_kwh * float(flow.stored_wh[storage.slots.stop - 1]) / 1000
            total += wish_per_kwh(p) * float(flow.missing_wh.sum()) / 1000
        return total + self._unserved_cost(schedule)

    def _unserved_cost(self, schedule: Schedule) -> float:
        p, island = self.problem, self.problem.island
        if island is None:
            return 0.0
        critical_w = schedule.critical_unserved_w
        tiers = (
            (schedule.unserved_w - critical_w, p.load_w - p.critical_w, island.normal_per_kwh),
            (critical_w, p.critical_w, island.critical_per_kwh),
        )
        return sum(
            p.slot_h / 1000 * float((first * w + (last - first) * w**2 / (2 * np.maximum(load_w, 1e-3))).sum())
            for w, load_w, (first, last) in tiers
        )

    def _schedule(self, solver: Solver | None, trade_w: Floats, feeder_per_kwh: Floats | None) -> Schedule:
        p, n = self.problem, self.problem.slots

        def power_w(name: str) -> Floats:
            return np.zeros(n) if solver is None else 1000 * np.maximum(solver.program.part(solver.x, name), 0.0)

        flows = tuple(self._flow(storage, solver) for storage in self._storages)
        storages_w = sum((flow.power_w for flow in flows), np.zeros(n))
        curtailed_w, short_w = np.minimum(power_w("curtailed"), p.pv_w), power_w("short") - power_w("surplus")
        if solver is None:
            short_w = np.maximum(-p.pv_w - trade_w, 0.0) + np.minimum(p.load_w - trade_w, 0.0)
        # the grid takes exactly what is left, so that the balance holds to the last bit whatever the solver's accuracy
        grid_w = p.load_w - p.pv_w + curtailed_w - storages_w - trade_w
        unserved_w = np.zeros(n)
        if p.island is not None:  # here what is left stays unserved, or is turned down
            left_w = grid_w - short_w
            unserved_w = np.clip(left_w, 0.0, p.load_w)
            curtailed_w = curtailed_w + np.clip(-left_w, 0.0, p.pv_w - curtailed_w)
            grid_w = np.zeros(n)
        import_w, export_w = np.maximum(grid_w, 0.0), np.maximum(-grid_w, 0.0)
        schedule = Schedule(
            battery=flows[0] if p.battery is not None else _nothing("battery", n),
            flexible=flows[1:] if p.battery is not None else flows,
            import_w=import_w,
            export_w=export_w,
            trade_w=trade_w,
            short_w=np.abs(short_w),
            curtailed_w=curtailed_w,
            unserved_w=unserved_w,
            critical_unserved_w=np.minimum(power_w("shed critical"), unserved_w),
            cost=0.0,
            stored_per_kwh=self._stored_per_kwh(solver),
            solved=solver is not None,
        )
        return replace(schedule, cost=self.cost(schedule, feeder_per_kwh))

    def _stored_per_kwh(self, solver: Solver | None) -> float:
        if solver is None or self.problem.battery is None:
            return 0.0
        return float(solver.y[min(1, self.problem.slots - 1)])  # of what the battery holds when the second slot begins

    def _flow(self, storage: Storage, solver: Solver | None) -> Flow:
        n, there = self.problem.slots, storage.slots
        charge_w, discharge_w, missing_wh = np.zeros(n), np.zeros(n), np.zeros(n)
        stored_wh = np.full(n, storage.start_wh)
        path_wh = untouched(storage.start_wh, storage.keeps, storage.drawn_wh)
        if solver is not None:
            program, x = solver.program, solver.x
            charge_w = 1000 * np.maximum(program.part(x, f"charge {storage.name}"), 0.0)
            discharge_w = 1000 * np.maximum(program.part(x, f"discharge {storage.name}"), 0.0)
            charge_w, discharge_w = _one_way(storage, charge_w, discharge_w, self.problem.import_per_kwh < 0)
            path_wh = 1000 * x[program.span(f"stored {storage.name}")]
        stored_wh[there.start : there.stop] = path_wh
        stored_wh[there.stop :] = path_wh[-1]
        if storage.wish_wh is not None:
            missing_wh[there.start : there.stop] = np.maximum(storage.wish_wh - path_wh, 0.0)
        return Flow(
            name=storage.name,
            charge_w=charge_w,
            discharge_w=discharge_w,
            stored_wh=stored_wh,
            missing_wh=missing_wh,
        )


def _nothing(name: str, slots: int) -> Flow:
    zero = np.zeros(slots)
    return Flow(name=name, charge_w=zero, discharge_w=zero, stored_wh=zero, missing_wh=zero)


def _one_way(
    storage: Storage, charge_w: Floats, discharge_w: Floats, where: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Return flows that, in some slots, never go both ways at once, with the same energy stored.

    At prices below zero a convex program charges and discharges together to waste energy; no battery can do that.
    """
    round_trip = storage.efficiency_charge * storage.efficiency_discharge
    wasted_w = np.where(where, np.minimum(charge_w * round_trip, discharge_w), 0.0)
    return charge_w - wasted_w / round_trip, discharge_w - wasted_w
