"""The bytes of Modbus RTU: finding the answer to a request among whatever a line delivers. Pure.

RTU has no transaction numbers: an answer that comes after its request timed out looks exactly like the answer to the
next request of the same shape. What counts as an answer is therefore exact (unit, function, length, checksum, and for
writes the whole echo), and `Owed` remembers the shapes that may still be on their way.
"""

from pymodbus.framer import FramerRTU

_READS = (3, 4)
LATEST_S = 30.0
"""Nobody answers later than this: devices were seen to take 15 s."""


def find_answer(data: bytes, request: bytes) -> bytes:
    """Return the frame in `data` that answers `request`; empty while there is none.

    Noise, broken frames, frames of others and answers of another length are passed over.

    Args:
        data: All bytes received since the request, without a local echo.
        request: The frame that was sent, with its checksum.
    """
    unit, fc = request[0], request[1]
    normal = _normal_head(request)
    for start in range(len(data)):
        if data[start] != unit:
            continue
        if data.startswith(normal, start):
            length = len(normal) + 2 + (normal[2] if fc in _READS else 0)
        elif data.startswith(bytes((unit, fc | 0x80)), start):
            length = 5
        else:
            continue
        frame = data[start : start + length]
        if len(frame) == length and FramerRTU.check_CRC(frame[:-2], int.from_bytes(frame[-2:], "big")):
            return frame
    return b""


def _normal_head(request: bytes) -> bytes:
    """Return how an answer without exception begins: up to the byte count of a read, or the whole echo of a write."""
    if request[1] in _READS:
        return request[:2] + bytes((2 * int.from_bytes(request[4:6], "big") & 0xFF,))
    return request[:6]


class Owed:
    """Answers that timed out and may still come.

    Devices answer in order: once a request whose answer cannot be mistaken has been answered, nothing older will come.
    """

    def __init__(self) -> None:
        self._shapes: dict[bytes, float] = {}

    def __bool__(self) -> bool:
        return bool(self._shapes)

    def forget_old(self, now_s: float) -> None:
        """Drop what nobody can owe any more."""
        self._shapes = {shape: at_s for shape, at_s in self._shapes.items() if now_s - at_s < LATEST_S}

    def add(self, request: bytes, now_s: float) -> None:
        """Note a request that was not answered in time."""
        self._shapes[request[:1] + _normal_head(request)] = now_s

    def could_be(self, request: bytes) -> bool:
        """Return whether the answer to an older request could be taken for the one to this."""
        return request[:1] + _normal_head(request) in self._shapes

    def settled(self) -> None:
        """Note that a request was answered which no older answer fits."""
        self._shapes.clear()


def other_count(count: int) -> int:
    """Return a number of registers near `count` and of the same parity, to ask for an answer of another length."""
    return count - 2 if count > 2 else count + 2
