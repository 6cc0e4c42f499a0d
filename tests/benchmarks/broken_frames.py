"""Ways in which an answer on a Modbus line can be broken. Pure."""

import random
import struct
from collections.abc import Callable

from agent.simulator.frames import checksum

Break = Callable[[bytes, bytes, random.Random], bytes]
"""Gets the honest answer's unit and PDU, those of the answer before, and chance; returns what comes instead."""

_EDGES = (0x0000, 0x0001, 0x7FFF, 0x8000, 0xFFFF, 0x7FC0, 0xFF80)
"""Words that mean something in some type: extremes, sentinels, NaN and infinity."""


def flip_byte(body: bytes, before: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(body))
    return body[:at] + bytes((body[at] ^ dice.randrange(1, 256),)) + body[at + 1 :]


def flip_bit(body: bytes, before: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(body))
    return body[:at] + bytes((body[at] ^ 1 << dice.randrange(8),)) + body[at + 1 :]


def flip_some(body: bytes, before: bytes, dice: random.Random) -> bytes:
    for _ in range(dice.randrange(2, 6)):
        body = flip_byte(body, before, dice)
    return body


def shorten(body: bytes, before: bytes, dice: random.Random) -> bytes:
    return body[: dice.randrange(1, len(body))]


def lengthen(body: bytes, before: bytes, dice: random.Random) -> bytes:
    return body + dice.randbytes(dice.randrange(1, 9))


def drop_registers(body: bytes, before: bytes, dice: random.Random) -> bytes:
    """Send fewer registers than asked for, announced rightly."""
    words = max(0, (len(body) - 3) // 2 - dice.randrange(1, 4))
    return body[:2] + bytes((2 * words,)) + body[3 : 3 + 2 * words]


def put_word(body: bytes, before: bytes, dice: random.Random) -> bytes:
    """Put an extreme into one register."""
    if len(body) < 5:
        return flip_byte(body, before, dice)
    at = 3 + 2 * dice.randrange((len(body) - 3) // 2)
    return body[:at] + struct.pack(">H", dice.choice(_EDGES)) + body[at + 2 :]


def swap_words(body: bytes, before: bytes, dice: random.Random) -> bytes:
    """Turn two neighbouring registers round."""
    if len(body) < 7:
        return flip_byte(body, before, dice)
    at = 3 + 2 * dice.randrange((len(body) - 5) // 2)
    return body[:at] + body[at + 2 : at + 4] + body[at : at + 2] + body[at + 4 :]


def shift_registers(body: bytes, before: bytes, dice: random.Random) -> bytes:
    """Answer as if another address had been asked for."""
    words = body[3:]
    shift = 2 * dice.randrange(1, 5)
    return body[:3] + words[shift:] + words[:shift]


def blank(body: bytes, before: bytes, dice: random.Random) -> bytes:
    """Show nothing but zeros or ones from some byte on."""
    at = dice.randrange(len(body))
    return body[:at] + dice.choice((b"\x00", b"\xff")) * (len(body) - at)


def other_answer(body: bytes, before: bytes, dice: random.Random) -> bytes:
    """Send the answer to the request before."""
    return before or dice.randbytes(len(body))


def noise(body: bytes, before: bytes, dice: random.Random) -> bytes:
    return dice.randbytes(dice.randrange(1, 260))


BREAKS: tuple[Break, ...] = (
    flip_byte,
    flip_bit,
    flip_some,
    shorten,
    lengthen,
    drop_registers,
    put_word,
    swap_words,
    shift_registers,
    blank,
    other_answer,
    noise,
)


def break_frame(how: Break, honest: bytes, before: bytes, dice: random.Random, *, rtu: bool) -> bytes:
    """Return an answer broken in one way: half of them inside a right header or checksum, half as they come.

    Args:
        honest: The whole frame.
        before: The whole frame before it; empty at the beginning.
    """
    inside = dice.random() < 0.5
    if rtu:
        body = how(honest[:-2], before[:-2], dice) if inside else how(honest, before, dice)
        return body + checksum(body) if inside else body
    if not inside:
        return how(honest, before, dice)
    # Unit and PDU, with a length that fits.
    body = how(honest[6:], before[6:], dice)
    return honest[:4] + struct.pack(">H", len(body) & 0xFFFF) + body
