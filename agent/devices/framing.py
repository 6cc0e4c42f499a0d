"""What Modbus TCP and serial lines put around a request, and what counts as its answer. Pure."""

from agent.devices import mbap, rtu


class TcpFraming:
    """Frames with transaction numbers.

    Attributes:
        fault: What was wrong with the bytes that came last, in words; None when nothing was.
    """

    def __init__(self) -> None:
        self.fault: str | None = None
        self._transaction = 0

    def frame(self, unit: int, request: bytes) -> bytes:
        """Return the frame of a request; its number is a new one."""
        self.fault = None
        self._transaction = self._transaction % 0xFFFF + 1
        return mbap.frame(self._transaction, unit, request)

    def find(self, data: bytes, frame: bytes) -> bytes:
        """Return the answer among the bytes that came since `frame` was sent; empty while it is not there."""
        fault = mbap.find_fault(data, frame)
        if fault is not None:
            self.fault = fault
            return b""
        return mbap.find_answer(data, frame)


class RtuFraming:
    """Frames with checksums, on serial lines and in TCP connections to gateways.

    Args:
        echo: Whether the adapter hears its own requests.

    Attributes:
        fault: What was wrong with the bytes that came last, in words; None when nothing was.
    """

    def __init__(self, *, echo: bool) -> None:
        self.fault: str | None = None
        self._echo = echo

    def frame(self, unit: int, request: bytes) -> bytes:
        """Return the frame of a request."""
        self.fault = None
        return rtu.frame(unit, request)

    def find(self, data: bytes, frame: bytes) -> bytes:
        """Return the answer among the bytes that came since `frame` was sent; empty while it is not there."""
        if self._echo:
            if not data.startswith(frame):
                return b""
            data = data[len(frame) :]
        answer = rtu.find_answer(data, frame)
        self.fault = "bytes that do not answer the request" if data and not answer else None
        return answer[1:-2]
