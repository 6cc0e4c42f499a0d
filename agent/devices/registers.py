"""Registers to numbers and back. Pure.

Bytes inside a register are always high byte first; values of several registers have the high word first unless
`little` is asked for. A sentinel is the device's word for "I do not have this": it becomes None, never a number.
"""

import math
import struct
from collections.abc import Collection, Sequence
from typing import Literal

NumberType = Literal["u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64"]
WordOrder = Literal["big", "little"]

_LARGEST_F32 = 3.4028234663852886e38
_FORMS: dict[NumberType, struct.Struct] = {
    "u16": struct.Struct(">H"),
    "i16": struct.Struct(">h"),
    "u32": struct.Struct(">I"),
    "i32": struct.Struct(">i"),
    "u64": struct.Struct(">Q"),
    "i64": struct.Struct(">q"),
    "f32": struct.Struct(">f"),
    "f64": struct.Struct(">d"),
}
SIZES: dict[NumberType, int] = {kind: form.size // 2 for kind, form in _FORMS.items()}
"""Registers that a value of each type takes."""
_WORDS: dict[int, struct.Struct] = {size: struct.Struct(f">{size}H") for size in SIZES.values()}

SENTINELS: dict[NumberType, frozenset[float]] = {
    "u16": frozenset({0xFFFF}),
    "i16": frozenset({-0x8000}),
    "u32": frozenset({0xFFFFFFFF}),
    "i32": frozenset({-0x80000000}),
    "u64": frozenset({0xFFFFFFFFFFFFFFFF}),
    "i64": frozenset({-0x8000000000000000}),
    "f32": frozenset({-_LARGEST_F32, _LARGEST_F32}),
    "f64": frozenset(),
}
"""What stands for "absent" unless a profile says otherwise. NaN and infinity are absent in every float."""

SCALE_LIMIT = 10
"""A SunSpec scale factor beyond this power of ten is a sentinel or a misread register."""


def decode(
    words: Sequence[int],
    kind: NumberType,
    *,
    order: WordOrder = "big",
    absent: Collection[float] | None = None,
) -> float | int | None:
    """Return the raw number in `words`, or None when it is a sentinel.

    Args:
        words: Exactly `SIZES[kind]` registers, in the order of their addresses.
        absent: Raw values that mean "absent"; None takes the defaults of the type.

    Raises:
        ValueError: If the number of registers does not fit the type.
    """
    if len(words) != SIZES[kind]:
        raise ValueError(f"{kind} takes {SIZES[kind]} registers, not {len(words)}")
    ordered = words if order == "big" else words[::-1]
    return decode_at(_WORDS[len(ordered)].pack(*ordered), 0, kind, absent)


def decode_at(data: bytes, at: int, kind: NumberType, absent: Collection[float] | None) -> float | int | None:
    """Return the raw number whose bytes, high word first, begin at `at`, or None when it is a sentinel.

    Args:
        absent: Raw values that mean "absent"; None takes the defaults of the type.
    """
    raw: float | int = _FORMS[kind].unpack_from(data, at)[0]
    if isinstance(raw, float) and not math.isfinite(raw):
        return None
    return None if raw in (SENTINELS[kind] if absent is None else absent) else raw


def encode(value: float, kind: NumberType, *, order: WordOrder = "big") -> list[int]:
    """Return the registers that carry the raw number `value` (rounded for integer types).

    Raises:
        ValueError: If the value is not finite, does not fit the type, or would read as a sentinel.
    """
    if not math.isfinite(value):
        raise ValueError(f"{value} cannot be written to a register")
    raw = value if kind in ("f32", "f64") else round(value)
    try:
        data = _FORMS[kind].pack(raw)
    except (struct.error, OverflowError):
        raise ValueError(f"{value:g} does not fit a register of type {kind}") from None
    if raw in SENTINELS[kind]:
        raise ValueError(f"{value:g} means 'absent' in a register of type {kind}")
    words = list(struct.unpack(f">{len(data) // 2}H", data))
    return words if order == "big" else words[::-1]


def decode_text(words: Sequence[int]) -> str:
    """Return the text in `words`: two characters a register, padded with zeros or blanks."""
    data = struct.pack(f">{len(words)}H", *words)
    return data.split(b"\0", 1)[0].decode("ascii", "replace").strip()


def scale_factor(word: int) -> float | None:
    """Return 10 to the power in a SunSpec scale factor register, or None when the register holds no power."""
    power = decode([word], "i16")
    return None if power is None or abs(power) > SCALE_LIMIT else float(10.0**power)
