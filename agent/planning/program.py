"""The home's linear constraints as sparse matrices, in kW and kWh.

The matrices depend on the battery's efficiencies and the number of slots only, so they are built once and remembered;
what changes from slot to slot are vectors.

Columns come in blocks of n slots: charge, discharge, stored (these three only with a battery), import, export, and one
`free` block: the trade q in the negotiating program, the undeliverable part of fixed trades in the fixed one.

    balance     import - export + discharge - charge (+ q)  =  load - pv (- fixed q)
    dynamics    stored[t] - stored[t-1] - h * eta_c * charge + h / eta_d * discharge  =  0
    no resale   q >= -(pv + discharge),   q <= load + charge
    connection  |load - pv + charge - discharge| <= limit

With surprises, the first slot's trade is fixed before its load and sun are known, and battery and grid answer to each
case: five columns per case after the blocks (charge, discharge, stored, import, export), whose means the first slot's
columns are. From the second slot on the plan goes on from the mean. A trade is then worth what it is worth on average,
not what it would be worth if the forecast were true: a home that might not need the energy does not buy it at its own
tariff.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy import sparse

from agent.planning.problem import Floats, HomeProblem

Column = Literal["charge", "discharge", "stored", "import", "export", "free"]
Matrix = sparse.csc_array

TIE_BREAK_PER_KWH = 2e-4
"""Cost of charging in the first slot or discharging in the last one; falls to nothing at the other end.

Forecasts of far slots are worse, so of equal plans the one that charges late and discharges early is better. Both ways
together stay below half of a 0.001 price step.
"""

SPREAD_MIN_PER_KWH = 1e-4
"""Importing counts at least this much more than exporting, so that equal prices do not leave both undetermined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """minimise cost.x subject to A x = b, low <= G x <= high, x_low <= x <= x_high.

    `balance` says how the balance rows hang on a fixed trade: they equal `b[:n]`, minus the trade.
    """

    columns: tuple[Column, ...]
    slots: int
    cost: Floats
    a: Matrix
    b: Floats
    g: Matrix | None
    low: Floats
    high: Floats
    x_low: Floats
    x_high: Floats
    cases: int = 0
    """Surprises of the first slot; their balance rows are the last `cases` rows of A."""

    def trade_rhs(self, trade_kw: Floats) -> Floats:
        """Return the right-hand side of A x = b with fixed trades."""
        b = self.b.copy()
        b[: self.slots] -= trade_kw
        if self.cases:
            b[0] += trade_kw[0]  # the first row says what its import is the mean of
            b[-self.cases :] -= trade_kw[0]
        return b

    def span(self, column: Column) -> slice:
        """Return where a block of columns lies in x."""
        at = self.columns.index(column) * self.slots
        return slice(at, at + self.slots)

    def part(self, x: Floats, column: Column) -> Floats:
        """Return one block of x, or zeros when the home has no such column."""
        return x[self.span(column)] if column in self.columns else np.zeros(self.slots)


def columns_of(problem: HomeProblem) -> tuple[Column, ...]:
    """Return the blocks of variables this home has."""
    battery: tuple[Column, ...] = () if problem.battery is None else ("charge", "discharge", "stored")
    return (*battery, "import", "export", "free")


Rows = tuple[tuple[tuple[Column, float | Literal["step"]], ...], ...]
"""Block rows: what multiple of the identity, or the step from slot to slot, stands under which column."""


@lru_cache(maxsize=64)
def block_matrix(columns: tuple[Column, ...], n: int, rows: Rows) -> Matrix:
    """Return the matrix of these block rows."""
    step = sparse.csc_array(sparse.eye_array(n) - sparse.eye_array(n, k=-1))
    named = [{column: step if what == "step" else what for column, what in row} for row in rows]
    blocks = [[row.get(column, 0.0) for column in columns] for row in named]
    dense = [[w * sparse.eye_array(n) if isinstance(w, float) else w for w in row] for row in blocks]
    matrix = sparse.csc_array(sparse.block_array(dense))
    matrix.eliminate_zeros()
    return matrix


def tariff_cost(problem: HomeProblem, columns: tuple[Column, ...]) -> Floats:
    """Return the true cost per kW of every column: tariff and wear, minus the value of what is left at the end."""
    h, n = problem.slot_h, problem.slots
    wear = np.full(n, h * problem.wear_per_kwh / 2)
    left = np.zeros(n)
    if problem.battery is not None:
        left[-1] = -problem.terminal_per_kwh * problem.battery.efficiency_discharge
    parts: dict[Column, Floats] = {
        "charge": wear,
        "discharge": wear,
        "stored": left,
        "import": h * problem.import_per_kwh,
        "export": -h * problem.export_per_kwh,
        "free": np.zeros(n),
    }
    return np.concatenate([parts[column] for column in columns])


def _tie_break(problem: HomeProblem, columns: tuple[Column, ...]) -> Floats:
    h, n = problem.slot_h, problem.slots
    late = np.arange(n) / n
    spread = problem.import_per_kwh - problem.export_per_kwh
    parts: dict[Column, Floats] = {
        "charge": h * TIE_BREAK_PER_KWH * (1 - late),
        "discharge": h * TIE_BREAK_PER_KWH * late,
        "import": h * np.maximum(SPREAD_MIN_PER_KWH - spread, 0.0),
    }
    return np.concatenate([parts.get(column, np.zeros(n)) for column in columns])


def _bounds(problem: HomeProblem, columns: tuple[Column, ...], *, fixed: bool) -> tuple[Floats, Floats]:
    n, battery = problem.slots, problem.battery
    inf = float("inf")
    load_kw, pv_kw = problem.load_w / 1000, problem.pv_w / 1000
    free = (np.zeros(n), np.full(n, inf)) if fixed else (np.full(n, -inf), np.full(n, inf))
    if battery is None and not fixed:
        free = (-pv_kw, load_kw)
    parts: dict[Column, tuple[Floats, Floats]] = {
        "import": (np.zeros(n), np.full(n, inf)),
        "export": (np.zeros(n), np.full(n, inf)),
        "free": free,
    }
    if battery is not None:
        parts["charge"] = (np.zeros(n), np.full(n, battery.charge_max_w / 1000))
        parts["discharge"] = (np.zeros(n), np.full(n, battery.discharge_max_w / 1000))
        parts["stored"] = (np.full(n, problem.floor_wh / 1000), np.full(n, battery.capacity_wh / 1000))
    return np.concatenate([parts[c][0] for c in columns]), np.concatenate([parts[c][1] for c in columns])


def equality_rows(problem: HomeProblem, *, fixed: bool) -> Rows:
    """Return the block rows of A: the balance, and with a battery its dynamics."""
    h, battery = problem.slot_h, problem.battery
    balance: dict[Column, float | Literal["step"]] = {"import": 1.0, "export": -1.0, "discharge": 1.0, "charge": -1.0}
    if not fixed:
        balance["free"] = 1.0
    if battery is None:
        return (tuple(balance.items()),)
    dynamics: dict[Column, float | Literal["step"]] = {
        "stored": "step",
        "charge": -h * battery.efficiency_charge,
        "discharge": h / battery.efficiency_discharge,
    }
    return tuple(balance.items()), tuple(dynamics.items())


def _equalities(problem: HomeProblem, columns: tuple[Column, ...], *, fixed: bool) -> tuple[Matrix, Floats]:
    n = problem.slots
    a = block_matrix(columns, n, equality_rows(problem, fixed=fixed))
    net_kw = (problem.load_w - problem.pv_w) / 1000
    if problem.battery is None:
        return a, net_kw
    start = np.zeros(n)
    start[0] = problem.start_wh / 1000
    return a, np.concatenate([net_kw, start])


def _inequalities(
    problem: HomeProblem, columns: tuple[Column, ...], *, fixed: bool
) -> tuple[Matrix | None, Floats, Floats]:
    """Return no resale, then the connection limit where it can bind at all."""
    n, battery = problem.slots, problem.battery
    inf = np.full(n, np.inf)
    load_kw, pv_kw = problem.load_w / 1000, problem.pv_w / 1000
    rows: list[dict[Column, float | Literal["step"]]] = []
    low: list[Floats] = []
    high: list[Floats] = []
    if fixed:  # with q given: discharge + short >= -(pv + q), charge + short >= q - load; here for q = 0
        rows += [{"discharge": 1.0, "free": 1.0}, {"charge": 1.0, "free": 1.0}]
        low += [-pv_kw, -load_kw]
        high += [inf, inf]
    elif battery is not None:
        rows += [{"free": 1.0, "discharge": 1.0}, {"free": 1.0, "charge": -1.0}]
        low += [-pv_kw, -inf]
        high += [inf, load_kw]
    if battery is not None:
        net_kw, limit_kw = load_kw - pv_kw, problem.connection_max_w / 1000
        lowest = np.minimum(-limit_kw - net_kw, 0.0)  # an idle battery is always allowed
        highest = np.maximum(limit_kw - net_kw, 0.0)
        if lowest.max() > -battery.discharge_max_w / 1000 or highest.min() < battery.charge_max_w / 1000:
            rows.append({"charge": 1.0, "discharge": -1.0})
            low.append(lowest)
            high.append(highest)
    if not rows:
        return None, np.zeros(0), np.zeros(0)
    matrix = block_matrix(columns, n, tuple(tuple(row.items()) for row in rows))
    return matrix, np.concatenate(low), np.concatenate(high)


def build(problem: HomeProblem, *, fixed: bool) -> Program:
    """Assemble a home's program; `fixed` for given trades (initially 0), else the trades are variables."""
    columns = columns_of(problem)
    a, b = _equalities(problem, columns, fixed=fixed)
    g, low, high = _inequalities(problem, columns, fixed=fixed)
    x_low, x_high = _bounds(problem, columns, fixed=fixed)
    cost = tariff_cost(problem, columns) + _tie_break(problem, columns)
    return Program(
        columns=columns, slots=problem.slots, cost=cost, a=a, b=b, g=g, low=low, high=high, x_low=x_low, x_high=x_high
    )
