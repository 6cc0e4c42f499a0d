"""SunSpec: where the models of a device lie, and where the points of a model lie.

Offsets, types and scale factors come from pysunspec2's model definitions; nothing of them is typed in here.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from sunspec2.device import get_model_def
from sunspec2.mdef import ModelDefinitionError

from agent.devices.errors import DeviceRefusedError, WrongDeviceError
from agent.devices.registers import NumberType

BASES = (40000, 0, 50000)
"""Where a SunSpec map may start, in the order in which devices use them."""
MARKER = [0x5375, 0x6E53]
END_MODEL = 0xFFFF
_CHAIN_LIMIT = 100

ReadWords = Callable[[int, int], Awaitable[list[int]]]
"""Reads `count` holding registers at an address: `await read(address, count)`."""

_TYPES: dict[str, NumberType] = {
    "int16": "i16",
    "uint16": "u16",
    "enum16": "u16",
    "bitfield16": "u16",
    "acc16": "u16",
    "sunssf": "i16",
    "int32": "i32",
    "uint32": "u32",
    "enum32": "u32",
    "bitfield32": "u32",
    "acc32": "u32",
    "int64": "i64",
    "uint64": "u64",
    "acc64": "u64",
    "float32": "f32",
    "float64": "f64",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAt:
    """One model of a device: `address` is that of its ID register, `length` the registers after ID and L."""

    model_id: int
    address: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PointDef:
    """A point of a model.

    Attributes:
        offset: Registers from the model's ID register.
        size: Registers it takes.
        kind: Its type, None for text.
        accumulator: Zero means "not supported" for these.
        scale: Offset of its scale factor register, or the fixed power of ten, or None.
    """

    offset: int
    size: int
    kind: NumberType | None
    accumulator: bool
    scale_offset: int | None
    scale_power: int


@cache
def model_points(model_id: int, module: int | None = None) -> Mapping[str, PointDef]:
    """Return a model's points by name; empty when pysunspec2 does not know the model.

    Args:
        module: None for the points of the fixed part; from 1 on, for those of that repetition of the first repeating
            group (an MPPT input of 160, a DC port of 714); empty when there is none.
    """
    try:
        group: dict[str, Any] = get_model_def(model_id, mapping=False)["group"]
    except ModelDefinitionError:
        return {}
    offsets, size = _offsets(group, 0)
    if module is None:
        return {point["name"]: _point(point, offsets[point["name"]], offsets) for point in group["points"]}
    inner = next((inner for inner in group.get("groups", ()) if "count" in inner), None)
    if inner is None:
        return {}
    _, length = _offsets(inner, 0)
    own, _ = _offsets(inner, size + (module - 1) * length)
    return {point["name"]: _point(point, own[point["name"]], offsets | own) for point in inner["points"]}


def _offsets(group: Mapping[str, Any], start: int) -> tuple[dict[str, int], int]:
    """Return where each point of a group lies when the group begins at `start`, and where it ends."""
    offsets: dict[str, int] = {}
    for point in group["points"]:
        offsets[point["name"]] = start
        start += point["size"]
    return offsets, start


def _point(point: Mapping[str, Any], offset: int, offsets: Mapping[str, int]) -> PointDef:
    scale = point.get("sf")
    return PointDef(
        offset=offset,
        size=point["size"],
        kind=_TYPES.get(point["type"]),
        accumulator=point["type"].startswith("acc"),
        scale_offset=offsets.get(scale) if isinstance(scale, str) else None,
        scale_power=scale if isinstance(scale, int) else 0,
    )


LAST_REGISTER = 0xFFFF


async def scan(read: ReadWords, bases: tuple[int, ...], where: str) -> list[ModelAt]:
    """Return the chain of models of a device, in the order of their addresses.

    Args:
        read: Reads holding registers; may raise `DeviceRefusedError` where there are none.
        where: The device in words, for the error.

    Raises:
        WrongDeviceError: If no base carries the SunSpec marker or the chain does not end.
        DeviceError: If the link fails.
    """
    for base in bases:
        try:
            marker = await read(base, 2)
        except DeviceRefusedError:
            continue
        if marker == MARKER:
            return await _chain(read, base + 2, where)
    tried = ", ".join(map(str, bases))
    raise WrongDeviceError(f"{where} is no SunSpec device (no marker at {tried}): is SunSpec switched on in its menu?")


async def _chain(read: ReadWords, address: int, where: str) -> list[ModelAt]:
    models: list[ModelAt] = []
    while len(models) < _CHAIN_LIMIT:
        if address > LAST_REGISTER - 1:
            raise WrongDeviceError(f"{where} lists SunSpec models beyond register {LAST_REGISTER}: a length is wrong")
        model_id, length = await read(address, 2)
        if model_id == END_MODEL:
            return models
        models.append(ModelAt(model_id=model_id, address=address, length=length))
        address += 2 + length
    raise WrongDeviceError(f"{where} lists more than {_CHAIN_LIMIT} SunSpec models: its list has no end")
