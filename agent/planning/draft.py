"""A linear program in the making: named blocks of columns, rows that say what stands under them, in kW and kWh.

The matrices depend on the names, the slots and the factors only, never on forecasts or prices, so they are built once
and remembered; what changes from slot to slot are vectors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from agent.planning.problem import Floats

Matrix = sparse.csc_matrix
"""Of this type and no other, because the solver takes no other without a copy."""
Slots = range | tuple[int, ...]
"""Which slots a block of columns or rows has an entry for, rising."""
Block = tuple[str, Slots]
"""Columns of one name."""


@dataclass(frozen=True, slots=True)
class Term:
    """What multiple of a block's column stands in a row.

    Args:
        at: Of which slot: the row's own, or the one before it.
    """

    column: str
    factor: float = 1.0
    at: Literal["own", "before"] = "own"


Row = tuple[Slots, tuple[Term, ...]]


@lru_cache(maxsize=2048)
def matrix_of(columns: tuple[Block, ...], rows: tuple[Row, ...]) -> Matrix:
    """Return the matrix of these rows of blocks."""
    starts = dict(zip((name for name, _ in columns), _starts([slots for _, slots in columns]), strict=True))
    slots_of = dict(columns)
    values: list[Floats] = []
    at: list[tuple[NDArray[np.intp], NDArray[np.intp]]] = []
    for (slots, terms), start in zip(rows, _starts([slots for slots, _ in rows]), strict=True):
        for term in terms:
            in_rows, in_columns, factors = _entries(slots, slots_of[term.column], term)
            values.append(factors)
            at.append((start + in_rows, starts[term.column] + in_columns))
    shape = (sum(len(slots) for slots, _ in rows), sum(len(slots) for _, slots in columns))
    if not values:
        return sparse.csc_matrix(shape)
    index = np.concatenate([i for i, _ in at]), np.concatenate([j for _, j in at])
    return sparse.csc_matrix((np.concatenate(values), index), shape=shape)


def _starts(blocks: Sequence[Slots]) -> list[int]:
    return [0, *np.cumsum([len(slots) for slots in blocks]).tolist()][: len(blocks)]


def _entries(rows: Slots, columns: Slots, term: Term) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """Return the entries of one term: rows and columns within their blocks, and the factors."""
    wanted, there = np.array(rows) - (term.at == "before"), np.array(columns)
    found = np.flatnonzero(np.isin(wanted, there))
    return found, np.searchsorted(there, wanted[found]), np.full(found.size, term.factor)


@lru_cache(maxsize=2048)
def transposed(columns: tuple[Block, ...], rows: tuple[Row, ...]) -> Matrix:
    """Return M' of `matrix_of`."""
    return sparse.csc_matrix(matrix_of(columns, rows).T)


@lru_cache(maxsize=2048)
def squared(columns: tuple[Block, ...], rows: tuple[Row, ...]) -> Matrix:
    """Return M'M of `matrix_of`: what the square of the rows' values hangs on."""
    product = sparse.csc_matrix(transposed(columns, rows) @ matrix_of(columns, rows))
    product.sort_indices()  # the solver takes the order for granted
    return product


def scaled(matrix: Matrix, factor: float) -> Matrix:
    """Return a matrix times a factor, without scipy's checks of what is known to be right."""
    return sparse.csc_matrix((matrix.data * factor, matrix.indices, matrix.indptr), shape=matrix.shape, copy=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """The right-hand sides of rows, and how they hang on a fixed trade: `low + factor * trade[index]`, high alike."""

    low: Floats
    high: Floats
    index: NDArray[np.intp]
    factor: Floats

    def low_at(self, trade_kw: Floats) -> Floats:
        return self.low + self.factor * trade_kw[self.index]

    def high_at(self, trade_kw: Floats) -> Floats:
        return self.high + self.factor * trade_kw[self.index]


class _Rows:
    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._low: list[Floats] = []
        self._high: list[Floats] = []
        self._index: list[NDArray[np.intp]] = []
        self._factor: list[Floats] = []

    def add(self, slots: Slots, terms: Sequence[Term], low: Floats, high: Floats, *, trade: float) -> None:
        count = len(slots)
        self.rows.append((slots, tuple(terms)))
        self._low.append(low)
        self._high.append(high)
        self._index.append(np.array(slots, np.intp))
        self._factor.append(np.full(count, trade))

    def sides(self) -> Sides:
        def joined(parts: list[Floats]) -> Floats:
            return np.concatenate(parts) if parts else np.zeros(0)

        index = np.concatenate(self._index) if self._index else np.zeros(0, np.intp)
        return Sides(low=joined(self._low), high=joined(self._high), index=index, factor=joined(self._factor))


class Draft:
    """Collects a program's columns and rows."""

    def __init__(self) -> None:
        self.columns: list[Block] = []
        self.low: list[Floats] = []
        self.high: list[Floats] = []
        self.cost: list[Floats] = []
        self.tie: list[Floats] = []
        self.bend: list[Floats] = []
        self.equal = _Rows()
        self.between = _Rows()

    def column(
        self,
        name: str,
        slots: Slots,
        *,
        cost: Floats | float = 0.0,
        tie: Floats | float = 0.0,
        low: Floats | float = 0.0,
        high: Floats | float = np.inf,
        bend: Floats | float = 0.0,
    ) -> None:
        """Add a block of columns.

        Args:
            cost: Per unit, in currency.
            tie: What only decides between equal plans, per unit; on top of `cost`.
            bend: Second derivative of the cost.
        """
        self.columns.append((name, slots))
        given = ((self.low, low), (self.high, high), (self.cost, cost), (self.tie, tie), (self.bend, bend))
        for parts, value in given:
            parts.append(value if isinstance(value, np.ndarray) else np.full(len(slots), value))

    def equals(self, slots: Slots, terms: Sequence[Term], value: Floats, *, trade: float = 0.0) -> None:
        """Add rows terms = value + trade * (the fixed trade of the row's slot)."""
        self.equal.add(slots, terms, value, value, trade=trade)

    def lies_between(
        self,
        slots: Slots,
        terms: Sequence[Term],
        low: Floats,
        high: Floats | None = None,
        *,
        trade: float = 0.0,
    ) -> None:
        """Add rows low <= terms <= high, both moved by trade * (the fixed trade); no `high` means no upper limit."""
        top = np.full(len(slots), np.inf) if high is None else high
        self.between.add(slots, terms, low, top, trade=trade)
