"""The home's convex program, in kW and kWh: what each column costs, and what physics and the charter ask of it.

Every flexible thing is a storage with columns charge, discharge and stored. Beside them stand `own` (what the home uses
that neighbours do not bring), `export`, `curtailed` (sun turned down, only where that can help), and on an island
`shed` and `shed_critical`. Everything else follows from these:

    trade       q = load + sum of charge - own                          (given, and `own` left out, when it is fixed)
    grid        import - export = g = load - pv + curtailed + sum of (charge - discharge) - q
    import      g + export >= 0
    no resale   own >= 0,   q >= -(pv - curtailed + sum of discharge)
    dynamics    stored[t] = keeps * stored[t-1] + h * eta_c * charge - h / eta_d * discharge - drawn
    connection  |load - pv + curtailed + sum of (charge - discharge)| <= limit
    island      g = shed + shed_critical, no export and no import: q follows from the rest

A fixed trade that the home could only serve by reselling grid energy leaves its rest in `short`; on an island energy
that nobody can deliver or take is `short` or `surplus`. Wishes give way by `missing`. All three cost more than any
tariff.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from agent.planning.draft import Block, Draft, Matrix, Row, Sides, Slots, Term, matrix_of, transposed
from agent.planning.problem import Floats, HomeProblem, Storage, power_limits_w

TIE_BREAK_PER_KWH = 2e-4
"""Cost of charging in the first slot or discharging in the last one; falls to nothing at the other end.

Forecasts of far slots are worse, so of equal plans the one that charges late and discharges early is better. Both ways
together stay below half of a 0.001 price step.
"""

SPREAD_MIN_PER_KWH = 1e-4
"""Importing counts at least this much more than exporting, so that equal prices do not leave both undetermined. Sun is
turned down only for at least this much."""

_LEAST_KW = 1e-6
"""Stands for a load of nothing where something is divided by the load."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """minimise cost.x + bend/2.x^2 subject to A x = b, low <= G x <= high, x_low <= x <= x_high.

    Args:
        tie_break: The part of `cost` that only decides between equal plans.
        constant: What the cost has beyond cost.x, in currency.
        a_rows: The rows of A by blocks; those of the first storage, the home's battery if it has one, come first.
        g_rows: The rows of G by blocks.
        equal: Right-hand side of A, and how it hangs on a fixed trade.
        between: Right-hand sides of G, likewise.
        trade: q = trade x + trade_kw; no rows when the trade is fixed.
        grid: g = grid x + grid_kw (minus a fixed trade); no rows on an island.
    """

    slots: int
    columns: tuple[Block, ...]
    cost: Floats
    tie_break: Floats
    constant: float
    bend: Floats
    a_rows: tuple[Row, ...]
    g_rows: tuple[Row, ...]
    equal: Sides
    between: Sides
    x_low: Floats
    x_high: Floats
    trade_rows: tuple[Row, ...]
    trade_kw: Floats
    grid_rows: tuple[Row, ...]
    grid_kw: Floats

    @cached_property
    def a(self) -> Matrix:
        return matrix_of(self.columns, self.a_rows)

    @cached_property
    def g(self) -> Matrix:
        return matrix_of(self.columns, self.g_rows)

    @cached_property
    def trade(self) -> Matrix:
        return matrix_of(self.columns, self.trade_rows)

    @cached_property
    def grid(self) -> Matrix:
        return matrix_of(self.columns, self.grid_rows)

    @cached_property
    def trade_transposed(self) -> Matrix:
        return transposed(self.columns, self.trade_rows)

    @cached_property
    def grid_transposed(self) -> Matrix:
        return transposed(self.columns, self.grid_rows)

    @cached_property
    def names(self) -> dict[str, tuple[slice, Slots]]:
        """Where each block of columns lies in x, and of which slots it is."""
        found, start = {}, 0
        for name, slots in self.columns:
            found[name] = (slice(start, start + len(slots)), slots)
            start += len(slots)
        return found

    def span(self, name: str) -> slice:
        """Return where a block of columns lies in x.

        Raises:
            KeyError: If the home has no such block.
        """
        return self.names[name][0]

    def part(self, x: Floats, name: str) -> Floats:
        """Return one block of x for all slots, 0 where it has no column; shape (n,)."""
        whole = np.zeros(self.slots)
        if name in self.names:
            span, slots = self.names[name]
            whole[list(slots)] = x[span]
        return whole


def dearest_per_kwh(problem: HomeProblem) -> float:
    """Return a price that no tariff, and no value of served load, comes near."""
    top = float(np.abs(problem.import_per_kwh).max())
    return 1 + 3 * max(top, problem.island.critical_per_kwh[1] if problem.island else 0.0)


def wish_per_kwh(problem: HomeProblem) -> float:
    """Return what a kWh counts that a wish does not get: more than any tariff, on an island less than any load."""
    return problem.island.normal_per_kwh[0] / 2 if problem.island else dearest_per_kwh(problem)


def build(problem: HomeProblem, *, fixed: bool, feeder: bool = False) -> Program:
    """Assemble a home's program.

    Args:
        fixed: For given trades; else the trades are variables.
        feeder: Whether the grid may carry a further price, so that turning the sun down can help anywhere.
    """
    draft, storages = Draft(), problem.storages()
    for storage in storages:
        _add_storage(draft, problem, storage)
    charge = [Term(f"charge {s.name}") for s in storages]
    discharge = [Term(f"discharge {s.name}", -1.0) for s in storages if s.gives]
    curtailable = _add_curtailment(draft, problem, feeder=feeder)
    curtailed = [Term("curtailed")] if curtailable else []
    if np.isfinite(problem.connection_max_w):
        _limit_connection(draft, problem, storages, [*charge, *discharge, *curtailed], curtailable)
    if problem.island is not None:
        return _island(draft, problem, [*charge, *discharge, *curtailed], fixed=fixed)
    return _on_grid(draft, problem, charge, [*discharge, *curtailed], fixed=fixed)


def _add_storage(draft: Draft, problem: HomeProblem, storage: Storage) -> None:
    """Add a storage's columns, its dynamics and its wishes."""
    h, n, name, there = problem.slot_h, problem.slots, storage.name, storage.slots
    late, wear = np.array(there) / n, h * storage.wear_per_kwh
    left = np.zeros(len(there))
    left[-1] = -storage.left_per_kwh
    low_wh, wishes = storage.bounds_wh()
    draft.column(
        f"charge {name}", there, high=storage.charge_max_w / 1000, cost=wear, tie=h * TIE_BREAK_PER_KWH * (1 - late)
    )
    if storage.gives:
        draft.column(
            f"discharge {name}", there, high=storage.discharge_max_w / 1000, cost=wear, tie=h * TIE_BREAK_PER_KWH * late
        )
    draft.column(f"stored {name}", there, low=low_wh / 1000, high=storage.ceiling_wh / 1000, cost=left)
    step = [
        Term(f"stored {name}"),
        Term(f"stored {name}", -storage.keeps, at="before"),
        Term(f"charge {name}", -h * storage.efficiency_charge),
    ]
    if storage.gives:
        step.append(Term(f"discharge {name}", h / storage.efficiency_discharge))
    begun_kwh = -storage.drawn_wh / 1000
    begun_kwh[0] += storage.keeps * storage.start_wh / 1000
    draft.equals(there, step, begun_kwh)
    if wishes and storage.wish_wh is not None:
        wanted = tuple(there[i] for i in wishes)
        draft.column(f"missing {name}", wanted, cost=wish_per_kwh(problem))
        draft.lies_between(
            wanted, [Term(f"stored {name}"), Term(f"missing {name}")], storage.wish_wh[list(wishes)] / 1000
        )


def _add_curtailment(draft: Draft, problem: HomeProblem, *, feeder: bool) -> tuple[int, ...]:
    """Add a column for turning the sun down in the slots in which that can help; return these slots."""
    surplus_w = problem.pv_w - problem.load_w
    helps = (problem.export_per_kwh < 0) | (surplus_w > problem.connection_max_w)
    if feeder or problem.island is not None:
        helps = np.ones(problem.slots, dtype=bool)
    slots = tuple(int(t) for t in np.flatnonzero(helps & (problem.pv_w > 0)))
    if slots:
        pv_kw = problem.pv_w[list(slots)] / 1000
        draft.column("curtailed", slots, high=pv_kw, tie=problem.slot_h * SPREAD_MIN_PER_KWH)
    return slots


def _limit_connection(
    draft: Draft,
    problem: HomeProblem,
    storages: Sequence[Storage],
    through: list[Term],
    curtailable: tuple[int, ...],
) -> None:
    """Bound what goes through the grid connection, trades included, where the limit can bind at all."""
    net_kw, limit_kw = (problem.load_w - problem.pv_w) / 1000, problem.connection_max_w / 1000
    lowest, highest = -limit_kw - net_kw, np.maximum(limit_kw - net_kw, 0.0)
    idle = np.minimum(lowest, 0.0)  # an idle battery is always allowed
    idle[list(curtailable)] = lowest[list(curtailable)]
    charge_w, discharge_w = power_limits_w(storages, problem.slots)
    if through and ((idle > -discharge_w / 1000).any() or (highest < charge_w / 1000).any()):
        draft.lies_between(range(problem.slots), through, idle, highest)


def _island(draft: Draft, problem: HomeProblem, through: list[Term], *, fixed: bool) -> Program:
    """Finish a program without a grid: what storages, sun and trades leave open stays unserved."""
    island, h, every = problem.island, problem.slot_h, range(problem.slots)
    assert island is not None
    critical_kw = problem.critical_w / 1000
    normal_kw = problem.load_w / 1000 - critical_kw
    tiers = (("shed", normal_kw, island.normal_per_kwh), ("shed critical", critical_kw, island.critical_per_kwh))
    for name, load_kw, (first, last) in tiers:
        bend = h * (last - first) / np.maximum(load_kw, _LEAST_KW)
        draft.column(name, every, high=load_kw, cost=h * first, bend=bend)
    open_terms = [*through, Term("shed", -1.0), Term("shed critical", -1.0)]
    net_kw = (problem.load_w - problem.pv_w) / 1000
    if not fixed:
        return _finished(draft, problem, trade=((every, tuple(open_terms)),), trade_kw=net_kw)
    for name, sign in (("short", -1.0), ("surplus", 1.0)):
        draft.column(name, every, cost=2 * h * dearest_per_kwh(problem))
        open_terms.append(Term(name, sign))
    draft.equals(every, open_terms, -net_kw, trade=1.0)
    return _finished(draft, problem)


def _on_grid(
    draft: Draft,
    problem: HomeProblem,
    charge: list[Term],
    given: list[Term],
    *,
    fixed: bool,
) -> Program:
    """Finish a program with a grid. `given`: discharge and curtailment, negative where they add energy."""
    h, every = problem.slot_h, range(problem.slots)
    load_kw, pv_kw = problem.load_w / 1000, problem.pv_w / 1000
    if fixed:
        draft.column("short", every, cost=2 * h * dearest_per_kwh(problem))
        short = [Term("short")]
        draft.lies_between(every, [*charge, *short], -load_kw, trade=1.0)
        draft.lies_between(every, [*_negative(given), *short], -pv_kw, trade=-1.0)
        grid, grid_kw, sign = [*charge, *given], load_kw - pv_kw, -1.0
        trade: tuple[Row, ...] = ()
    else:
        draft.column("own", every)
        bought = [*charge, Term("own", -1.0)]
        draft.lies_between(every, [*bought, *_negative(given)], -pv_kw - load_kw)
        grid, grid_kw, sign = [Term("own"), *given], -pv_kw, 0.0
        trade = ((every, tuple(bought)),)
    spread = problem.import_per_kwh - problem.export_per_kwh
    tie = h * np.maximum(SPREAD_MIN_PER_KWH - spread, 0.0)
    draft.column("export", every, cost=h * spread, tie=tie)
    draft.lies_between(every, [*grid, Term("export")], -grid_kw, trade=-sign)
    return _finished(
        draft,
        problem,
        trade=trade,
        trade_kw=load_kw,
        grid=((every, tuple(grid)),),
        grid_kw=grid_kw,
        price=h * problem.import_per_kwh,
    )


def _negative(terms: list[Term]) -> list[Term]:
    return [Term(term.column, -term.factor) for term in terms]


def _finished(
    draft: Draft,
    problem: HomeProblem,
    *,
    trade: tuple[Row, ...] = (),
    trade_kw: Floats | None = None,
    grid: tuple[Row, ...] = (),
    grid_kw: Floats | None = None,
    price: Floats | None = None,
) -> Program:
    """Return the program of a draft. `price`: of the grid, in currency per kW of a slot."""
    nothing = np.zeros(problem.slots)
    columns, tie_break = tuple(draft.columns), np.concatenate(draft.tie)
    cost = np.concatenate(draft.cost) + tie_break
    constant = 0.0
    if grid and grid_kw is not None and price is not None:
        cost = cost + transposed(columns, grid) @ price
        constant = float(price @ grid_kw)
    return Program(
        slots=problem.slots,
        columns=columns,
        cost=cost,
        tie_break=tie_break,
        constant=constant,
        bend=np.concatenate(draft.bend),
        a_rows=tuple(draft.equal.rows),
        g_rows=tuple(draft.between.rows),
        equal=draft.equal.sides(),
        between=draft.between.sides(),
        x_low=np.concatenate(draft.low),
        x_high=np.concatenate(draft.high),
        trade_rows=trade,
        trade_kw=nothing if trade_kw is None else trade_kw,
        grid_rows=grid,
        grid_kw=nothing if grid_kw is None else grid_kw,
    )
