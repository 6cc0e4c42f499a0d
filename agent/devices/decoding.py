"""From the words of a device's frames to its points' values: where each point lies is looked up once. Pure."""

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from agent.devices.layout import Frame, Place
from agent.devices.registers import NumberType, decode, decode_at, scale_factor


class _Spot(NamedTuple):
    """A point inside a frame, with all that its profile says of it at hand.

    Attributes:
        at: The positions of its words in the frame, high word first.
        byte: Where its bytes begin in the frame, if its words follow each other.
        scale_at: The position of its scale factor, if it has one.
        low, high: Its range, in its unit and the house's sign.
    """

    name: str
    kind: NumberType
    at: tuple[int, ...]
    byte: int | None
    absent: frozenset[float] | None
    scale_at: int | None
    bit: int | None
    one_of: frozenset[int] | None
    abs: bool
    factor: float
    low: float
    high: float


class Decoder:
    """Decodes points of one installed device.

    Args:
        names: The points that are wanted.
        places: Where the device's points lie; what is not there, the device lacks.
    """

    def __init__(self, names: Iterable[str], places: Mapping[str, Place]) -> None:
        self._names = tuple(names)
        self._places = {name: places[name] for name in self._names if name in places}
        self._spots: dict[Frame, list[_Spot]] = {}

    def values(self, frames: Mapping[Frame, Sequence[int]]) -> dict[str, float | None]:
        """Return the points' values in their units and the house's sign.

        A point is None when it is absent, out of range, without scale, or in none of the frames.

        Args:
            frames: The words of each frame that was read in this poll; where two hold a point, the first one counts.
        """
        found: dict[str, float | None] = {}
        for frame, words in frames.items():
            spots = self._spots.get(frame)
            if spots is None:
                spots = self._spots[frame] = list(self._inside(frame))
            data = struct.pack(f">{len(words)}H", *words)
            for spot in spots:
                if spot.name not in found:
                    found[spot.name] = _decode(spot, words, data)
        return {name: found.get(name) for name in self._names}

    def _inside(self, frame: Frame) -> Iterable[_Spot]:
        for name, place in self._places.items():
            offset = place.frame.address - frame.address
            if 0 <= offset <= frame.count - place.frame.count and frame.fc == place.frame.fc:
                yield _spot(name, place, frame.address)


def _spot(name: str, place: Place, begin: int) -> _Spot:
    """Return where a point lies in a frame that begins at an address."""
    spec = place.spec
    at = tuple(address - begin for address in place.addresses)
    if place.order == "little":
        at = at[::-1]
    low, high = spec.range or (-math.inf, math.inf)
    return _Spot(
        name=name,
        kind=place.kind,
        at=at,
        byte=2 * at[0] if at == tuple(range(at[0], at[0] + len(at))) else None,
        absent=place.absent,
        scale_at=None if place.scale_address is None else place.scale_address - begin,
        bit=spec.bit,
        one_of=None if spec.one_of is None else frozenset(spec.one_of),
        abs=spec.abs,
        factor=place.factor,
        low=low,
        high=high,
    )


def _decode(spot: _Spot, words: Sequence[int], data: bytes) -> float | None:
    """Return a point's value in a frame, given as its words and as its bytes."""
    if spot.byte is not None:
        raw = decode_at(data, spot.byte, spot.kind, spot.absent)
    else:
        raw = decode([words[at] for at in spot.at], spot.kind, absent=spot.absent)
    scale = 1.0 if spot.scale_at is None else scale_factor(words[spot.scale_at])
    if raw is None or scale is None:
        return None
    if spot.bit is not None:
        raw = int(raw) >> spot.bit & 1
    if spot.one_of is not None and raw not in spot.one_of:
        return None
    value = (abs(raw) if spot.abs else raw) * scale * spot.factor
    return value + 0.0 if spot.low <= value <= spot.high else None  # + 0.0 turns -0.0 into 0.0
