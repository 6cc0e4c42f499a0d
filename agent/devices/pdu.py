"""Modbus requests and answers, without what TCP or a serial line puts around them. Pure."""

import struct
from collections.abc import Sequence

_REQUEST = struct.Struct(">BHH")


def read_request(fc: int, address: int, count: int) -> bytes:
    """Return the request for registers by function 3 or 4."""
    return _REQUEST.pack(fc, address, count)


def write_request(address: int, words: Sequence[int], *, single: bool) -> bytes:
    """Return the request to write one register by function 6, or all by function 16."""
    if single:
        return _REQUEST.pack(6, address, *words)
    count = len(words)
    return struct.pack(f">BHHB{count}H", 16, address, count, 2 * count, *words)


def acknowledgement(request: bytes) -> bytes:
    """Return how a device says that it carried out a write: both functions give back the first five bytes."""
    return request[: _REQUEST.size]


def registers(answer: bytes) -> list[int]:
    """Return the registers in the answer to a read; its byte count was checked before."""
    return list(struct.unpack_from(f">{answer[1] // 2}H", answer, 2))


def refusal(answer: bytes) -> int | None:
    """Return the exception code with which a device refuses, or None when it does what was asked."""
    return answer[1] if answer[0] & 0x80 else None
