"""What may be wrong with the bytes of a Modbus TCP answer. Pure."""

_HEADER = 7
_READS = (3, 4)


def find_fault(data: bytes, request: bytes) -> str | None:
    """Return what is wrong with the answer to `request` in `data`, in words, or None.

    Incomplete answers are not wrong yet. Answers to another transaction (late ones) are passed over: the client skips
    them. Transaction 0, which some devices always send, counts as ours; the link knows whether it may be a late one.

    Args:
        data: All bytes received since the request: any number of frames, the last perhaps incomplete.
        request: The frame that was sent last.
    """
    while len(data) >= _HEADER:
        length = int.from_bytes(data[4:6], "big")
        if int.from_bytes(data[2:4], "big") != 0 or not 3 <= length <= 254:
            return "bytes that are no Modbus frame"
        if len(data) < 6 + length:
            return None
        if data[:2] in (request[:2], b"\0\0"):
            fault = _fault_of_body(data[_HEADER : 6 + length], request[_HEADER:])
            if fault is not None:
                return fault
        data = data[6 + length :]
    return None


def _fault_of_body(body: bytes, asked: bytes) -> str | None:
    fc = asked[0]
    if body[0] == fc | 0x80:
        return None if len(body) == 2 else f"an exception of {len(body)} bytes"
    if body[0] != fc:
        return f"an answer to function {body[0]} instead of {fc}"
    if fc in _READS:
        wanted = 2 * int.from_bytes(asked[3:5], "big")
        if body[1] != wanted or len(body) != wanted + 2:
            return f"{len(body) - 2} bytes (announced: {body[1]}) instead of {wanted}"
    elif len(body) != 5:
        return f"an acknowledgement of {len(body)} bytes"
    return None
