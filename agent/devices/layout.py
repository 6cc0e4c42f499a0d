"""Where the points of one installed device lie, which frames to read, and what the words mean. Pure.

Points of neighbouring SunSpec models share a frame where it fits: one frame is one moment, and a scale factor is only
ever used with values of its own frame.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agent.devices.registers import NumberType, WordOrder, decode, encode, scale_factor
from agent.devices.schema import PointSpec, Profile
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
        factor: Raw units to the house's (without the scale factor register).
        scale_address: Address of the scale factor register, if it has one.
    """

    frame: Frame
    address: int
    size: int
    kind: NumberType
    order: WordOrder
    absent: frozenset[float] | None
    factor: float
    scale_address: int | None
    range: tuple[float, float] | None


def find_models(profile: Profile, chain: Sequence[ModelAt]) -> dict[str, ModelAt]:
    """Return the device's model for each handle of the profile; handles it does not have are left out."""
    found: dict[str, ModelAt] = {}
    for handle, wanted in (profile.sunspec.models if profile.sunspec else {}).items():
        model = next((model for model in chain if model.model_id in wanted.id), None)
        if model is not None:
            found[handle] = model
    return found


def place_points(profile: Profile, models: Mapping[str, ModelAt]) -> dict[str, Place]:
    """Return where each point lies; points of models that the device lacks, or has in a shorter form, are left out."""
    places: dict[str, Place] = {}
    for name, spec in profile.points.items():
        if spec.block is not None and spec.addr is not None and spec.type is not None:
            places[name] = Place(
                frame=Frame(profile.blocks[spec.block].fc, spec.addr, spec.size),
                address=spec.addr,
                size=spec.size,
                kind=spec.type,
                order=spec.words,
                absent=None if spec.absent is None else frozenset(spec.absent),
                factor=spec.factor,
                scale_address=None,
                range=spec.range,
            )
        elif spec.model is not None and spec.point is not None and spec.model in models:
            model = models[spec.model]
            place = _in_model(spec, model, model_points(model.model_id)[spec.point])
            if place is not None:
                places[name] = place
    return places


def _in_model(spec: PointSpec, model: ModelAt, point: PointDef) -> Place | None:
    last = max(point.offset + point.size, (point.scale_offset or 0) + 1)
    if point.kind is None or last > model.length + 2:
        return None
    address = model.address + point.offset
    scale_address = None if point.scale_offset is None else model.address + point.scale_offset
    start = min(address, address if scale_address is None else scale_address)
    return Place(
        frame=Frame(3, start, model.address + last - start),
        address=address,
        size=point.size,
        kind=point.kind,
        order="big",
        # An accumulator at zero is SunSpec's word for "not supported".
        absent=frozenset({0}) if point.accumulator else None if spec.absent is None else frozenset(spec.absent),
        factor=spec.factor * 10.0**point.scale_power,
        scale_address=scale_address,
        range=spec.range,
    )


def plan_frames(profile: Profile, places: Mapping[str, Place], names: Iterable[str]) -> list[Frame]:
    """Return the fewest frames that hold the named points: blocks as declared, SunSpec spans merged up to max_read."""
    blocks: set[Frame] = set()
    spans: list[Frame] = []
    for name in names:
        spec = profile.points[name]
        if spec.block is not None:
            block = profile.blocks[spec.block]
            blocks.add(Frame(block.fc, block.addr, block.count))
        elif name in places:
            spans.append(places[name].frame)
    merged: list[Frame] = []
    for span in sorted(spans):
        last = merged[-1] if merged else None
        end = max(last.end, span.end) if last else 0
        if last and end - last.address <= profile.limits.max_read:
            merged[-1] = Frame(last.fc, last.address, end - last.address)
        else:
            merged.append(span)
    return sorted(blocks) + merged


def decode_point(place: Place, frames: Mapping[Frame, Sequence[int]]) -> float | None:
    """Return a point's value in its unit and the house's sign; None when absent, out of range or without scale.

    Args:
        frames: The words of each frame that was read in this poll.
    """
    for frame, words in frames.items():
        if frame.fc == place.frame.fc and frame.address <= place.frame.address and place.frame.end <= frame.end:
            at = place.address - frame.address
            raw = decode(words[at : at + place.size], place.kind, order=place.order, absent=place.absent)
            scale: float | None = 1.0
            if place.scale_address is not None:
                scale = scale_factor(words[place.scale_address - frame.address])
            if raw is None or scale is None:
                return None
            value = raw * scale * place.factor
            inside = place.range is None or place.range[0] <= value <= place.range[1]
            return value + 0.0 if inside else None  # + 0.0 turns -0.0 into 0.0
    return None


def encode_point(place: Place, value: float, scale: float) -> list[int]:
    """Return the words that tell the device `value`, given in the point's unit and the house's sign.

    Args:
        scale: The value of the scale factor register, read just before; 1 where there is none.

    Raises:
        ValueError: If the value is outside the point's range or its register.
    """
    if place.range is not None and not place.range[0] <= value <= place.range[1]:
        raise ValueError(f"{value:g} is outside {place.range[0]:g} to {place.range[1]:g}")
    return encode(value / (scale * place.factor), place.kind, order=place.order)


def derive(profile: Profile, values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return the derived points; a sum with an absent part is absent."""
    derived: dict[str, float | None] = {}
    for name, spec in profile.derived.items():
        total: float | None = 0.0
        for term in spec.sum:
            part = values.get(term[1:])
            total = None if total is None or part is None else total + (part if term[0] == "+" else -part)
        derived[name] = max(total, spec.floor) if total is not None and spec.floor is not None else total
    return derived
