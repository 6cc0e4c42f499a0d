"""Where the points of one installed device lie, which frames to read, and what to write. Pure.

Points of neighbouring SunSpec models share a frame where it fits: one frame is one moment, and a scale factor is only
ever used with values of its own frame.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agent.devices.registers import NumberType, WordOrder, encode
from agent.devices.schema import DerivedSpec, PointSpec, Profile
from agent.devices.sunspec import ModelAt, PointDef, model_points


@dataclass(frozen=True, slots=True, order=True)
class Frame:
    """Registers read by one request."""

    fc: int
    address: int
    count: int

    @property
    def end(self) -> int:
        return self.address + self.count


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one point lies and how its raw value becomes the house's.

    Attributes:
        frame: The smallest registers holding the value and its scale factor.
        addresses: Its registers, in the order in which they are decoded.
        spec: What the profile says of its value.
        absent: Raw values that mean "absent"; None takes the defaults of the type.
        factor: Raw units to the house's (without the scale factor register).
        scale_address: Address of the scale factor register, if it has one.
    """

    frame: Frame
    addresses: tuple[int, ...]
    kind: NumberType
    order: WordOrder
    spec: PointSpec
    absent: frozenset[float] | None
    factor: float
    scale_address: int | None


def find_models(profile: Profile, chain: Sequence[ModelAt]) -> dict[str, ModelAt]:
    """Return the device's model for each handle of the profile; handles it does not have are left out."""
    found: dict[str, ModelAt] = {}
    for handle, wanted in (profile.sunspec.models if profile.sunspec else {}).items():
        for model_id in wanted.id:
            like = [model for model in chain if model.model_id == model_id]
            if len(like) >= wanted.nth:
                found.setdefault(handle, like[wanted.nth - 1])
    return found


def place_points(profile: Profile, models: Mapping[str, ModelAt]) -> dict[str, Place]:
    """Return where each point lies; points of models that the device lacks, or has in a shorter form, are left out."""
    places: dict[str, Place] = {}
    for name, spec in profile.points.items():
        if spec.block is not None:
            places[name] = _in_block(profile, spec)
        elif spec.model is not None and spec.point is not None and spec.model in models:
            model = models[spec.model]
            point = model_points(model.model_id, spec.module)[spec.point]
            place = _in_model(spec, model, point)
            if place is not None:
                places[name] = place
    return places


def _in_block(profile: Profile, spec: PointSpec) -> Place:
    assert spec.block is not None
    assert spec.type is not None
    scale = profile.points[spec.scale_from] if spec.scale_from is not None else None
    used = (*spec.addresses, *(scale.addresses if scale else ()))
    return Place(
        frame=Frame(profile.blocks[spec.block].fc, min(used), max(used) + 1 - min(used)),
        addresses=spec.addresses,
        kind=spec.type,
        # Registers named one by one come high word first already.
        order="big" if spec.regs is not None else spec.words,
        spec=spec,
        absent=None if spec.absent is None else frozenset(spec.absent),
        factor=spec.factor,
        scale_address=scale.addresses[0] if scale else None,
    )


def _in_model(spec: PointSpec, model: ModelAt, point: PointDef) -> Place | None:
    last = max(point.offset + point.size, (point.scale_offset or 0) + 1)
    if point.kind is None or last > model.length + 2:
        return None
    address = model.address + point.offset
    scale_address = None if point.scale_offset is None else model.address + point.scale_offset
    start = min(address, address if scale_address is None else scale_address)
    return Place(
        frame=Frame(3, start, model.address + last - start),
        addresses=tuple(range(address, address + point.size)),
        kind=point.kind,
        order="big",
        spec=spec,
        absent=_absent(spec, point),
        factor=spec.factor * 10.0**point.scale_power,
        scale_address=scale_address,
    )


def _absent(spec: PointSpec, point: PointDef) -> frozenset[float] | None:
    if spec.absent is not None:
        return frozenset(spec.absent)
    # An accumulator at zero is SunSpec's word for "not supported".
    return frozenset({0}) if point.accumulator else None


def plan_frames(
    profile: Profile, places: Mapping[str, Place], names: Iterable[str], *, merge: bool = True
) -> list[Frame]:
    """Return the fewest frames that hold the named points: blocks as declared, SunSpec spans merged up to max_read.

    Args:
        merge: Whether spans of neighbouring SunSpec models may share a frame.
    """
    blocks: set[Frame] = set()
    spans: set[Frame] = set()
    for name in names:
        spec = profile.points[name]
        if spec.block is not None:
            block = profile.blocks[spec.block]
            blocks.add(Frame(block.fc, block.addr, block.count))
        elif name in places:
            spans.add(places[name].frame)
    merged: list[Frame] = []
    for span in sorted(spans):
        last = merged[-1] if merged else None
        end = max(last.end, span.end) if last else 0
        if last and (merge or span.address < last.end) and end - last.address <= profile.limits.max_read:
            merged[-1] = Frame(last.fc, last.address, end - last.address)
        else:
            merged.append(span)
    return sorted(blocks) + merged


def encode_point(place: Place, value: float, scale: float) -> list[int]:
    """Return the words that tell the device `value`, given in the point's unit and the house's sign.

    Args:
        scale: The value of the scale factor register, read just before; 1 where there is none.

    Raises:
        ValueError: If the value is outside the point's range or its register, or none of its `one_of`.
    """
    spec = place.spec
    if spec.range is not None and not spec.range[0] <= value <= spec.range[1]:
        raise ValueError(f"{value:g} is outside {spec.range[0]:g} to {spec.range[1]:g}")
    raw = value / (scale * place.factor)
    if spec.one_of is not None and raw not in spec.one_of:
        raise ValueError(f"{raw:g} is none of {', '.join(map(str, spec.one_of))}")
    return encode(raw, place.kind, order=place.order)


def derive(profile: Profile, values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return the derived points; one with an absent part is absent."""
    return {name: _derived(spec, values) for name, spec in profile.derived.items()}


def _derived(spec: DerivedSpec, values: Mapping[str, float | None]) -> float | None:
    parts = [values.get(name) for name in spec.inputs]
    known = [part for part in parts if part is not None]
    if len(known) < (spec.least or len(parts)):
        return None
    if spec.sum is None:
        sign = (spec.signs or {}).get(round(known[1]))
        return None if sign is None else sign * abs(known[0]) + 0.0
    signed = zip(spec.sum, parts, strict=True)
    total = sum((part if term[0] == "+" else -part) for term, part in signed if part is not None)
    return max(total, spec.floor) if spec.floor is not None else float(total)
