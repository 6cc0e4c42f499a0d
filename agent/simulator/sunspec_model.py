"""One SunSpec model as registers, laid out by pysunspec2's definitions (nothing is retyped here)."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from sunspec2 import device, mb, mdef

Value = int | str | None
"""Raw value of a point; None is written as the type's "not implemented"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Where a point lies (`offset` from the model's ID register) and what it may hold."""

    name: str
    offset: int
    size: int
    kind: str
    writable: bool
    scale_factor: str | None
    symbols: frozenset[int]

    def encode(self, value: Value) -> tuple[int, ...]:
        """Return the registers of a raw (already scaled) value; numbers are held inside the type's range."""
        if value is None:
            data = mb.create_unimpl_value(self.kind, len=2 * self.size)
        else:
            data = mb.point_type_info[self.kind].to_data(self._bounded(value), 2 * self.size)
        return struct.unpack(f">{self.size}H", data)

    def decode(self, registers: Sequence[int]) -> int:
        """Return the raw number in the point's registers."""
        value = mb.point_type_info[self.kind].data_to(struct.pack(f">{self.size}H", *registers))
        return int(value)

    def _bounded(self, value: int | str) -> int | str:
        if isinstance(value, str):
            return value
        bits = 16 * self.size
        # The last code of each type means "not implemented" and must not be reached by a large value.
        if self.kind.startswith("int"):
            return min(max(value, 1 - (1 << bits - 1)), (1 << bits - 1) - 1)
        if self.kind.startswith("uint"):
            return min(max(value, 0), (1 << bits) - 2)
        if self.kind.startswith("acc"):
            return value % (1 << bits)
        return value


@cache
def points_of(model_id: int, modules: int = 1) -> dict[str, Point]:
    """Return the points of a model by name, in address order; points of inner groups as `group.point`.

    Args:
        modules: How often a repeating group is there; from the second on its points are `group.2.point`.
    """
    path = Path(device.models_dir) / "json" / mdef.to_json_filename(model_id)
    points: dict[str, Point] = {}
    _collect(mdef.from_json_file(str(path))[mdef.GROUP], "", 0, points, modules)
    return points


def _collect(group: Mapping[str, Any], prefix: str, offset: int, points: dict[str, Point], modules: int) -> int:
    for definition in group[mdef.POINTS]:
        size = int(definition.get(mdef.SIZE) or mb.point_type_info[definition[mdef.TYPE]].len)
        name = prefix + definition[mdef.NAME]
        scale_factor = definition.get(mdef.SF)
        points[name] = Point(
            name=name,
            offset=offset,
            size=size,
            kind=definition[mdef.TYPE],
            writable=definition.get(mdef.ACCESS) == mdef.ACCESS_RW,
            scale_factor=None if scale_factor is None else str(scale_factor),
            symbols=frozenset(symbol[mdef.VALUE] for symbol in definition.get(mdef.SYMBOLS, ())),
        )
        offset += size
    for inner in group.get(mdef.GROUPS, ()):
        for module in range(1, 1 + (modules if "count" in inner else 1)):
            name = f"{inner[mdef.NAME]}." if module == 1 else f"{inner[mdef.NAME]}.{module}."
            offset = _collect(inner, name, offset, points, modules)
    return offset


@dataclass(slots=True)
class ModelImage:
    """The registers of one model. `set` takes physical values and applies the model's scale factors."""

    model_id: int
    modules: int = 1
    points: dict[str, Point] = field(init=False)
    registers: list[int] = field(init=False)
    _scale: dict[str, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.points = points_of(self.model_id, self.modules)
        self.registers = []
        for point in self.points.values():
            self.registers.extend(point.encode(None))
        self.set_raw(ID=self.model_id, L=len(self.registers) - 2)

    def set_raw(self, **values: Value) -> None:
        """Store raw values as they are."""
        for name, value in values.items():
            point = self.points[name]
            self.registers[point.offset : point.offset + point.size] = point.encode(value)

    def set_scales(self, **exponents: int) -> None:
        """Store scale factors: a raw value stands for raw * 10**exponent."""
        self._scale.update(exponents)
        self.set_raw(**exponents)

    def set(self, **values: float) -> None:
        """Store physical values, rounded to the resolution of their scale factor."""
        for name, value in values.items():
            scale_factor = self.points[name].scale_factor
            exponent = self._scale[scale_factor] if scale_factor else 0
            self.set_raw(**{name: round(value / 10**exponent)})


def scale_for(largest: float, limit: int) -> int:
    """Return the smallest exponent >= 0 with which `largest` still fits into `limit`: 1 W steps as long as they fit."""
    exponent = 0
    while largest > limit * 10**exponent:
        exponent += 1
    return exponent
