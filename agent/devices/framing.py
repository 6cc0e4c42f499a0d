"""What Modbus TCP and serial lines put around a request, and what counts as its answer. Pure.

pymodbus builds the frames and decodes the answers. What it leaves unchecked is checked on the bytes before it sees them
(`mbap.py`, `rtu.py`): function, number of registers, byte count, and on serial lines what is noise or somebody else's.
"""

import logging
import struct

from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
    ReadInputRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from agent.devices.mbap import find_fault
from agent.devices.rtu import find_answer

# The library logs each answer that it passes over as an error; who gets none raises that, and the poller says it once.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)


def read_request(unit: int, fc: int, address: int, count: int) -> ModbusPDU:
    """Return the request for registers by function 3 or 4."""
    make = ReadHoldingRegistersRequest if fc == 3 else ReadInputRegistersRequest
    return make(address=address, count=count, dev_id=unit)


def write_request(unit: int, address: int, words: list[int], *, single: bool) -> ModbusPDU:
    """Return the request to write one register by function 6, or all by function 16."""
    make = WriteSingleRegisterRequest if single else WriteMultipleRegistersRequest
    return make(address=address, registers=words, dev_id=unit)


def acknowledges(answer: ModbusPDU, request: ModbusPDU) -> bool:
    """Return whether a device says that it carried out just this write; the library does not look."""
    if answer.address != request.address:
        return False
    return answer.registers == request.registers if request.function_code == 6 else answer.count == request.count


class _Registers(ReadHoldingRegistersResponse):
    """Registers in one go: the library takes them one by one, and then spells them all out for a log nobody keeps."""

    def decode(self, data: bytes) -> None:
        self.registers = list(struct.unpack_from(f">{data[0] // 2}H", data, 1))

    def __str__(self) -> str:
        return f"{len(self.registers)} registers by function {self.function_code}"


class _InputRegisters(_Registers):
    function_code = 4


def _decoder() -> DecodePDU:
    decoder = DecodePDU(is_server=False)
    for answer in (_Registers, _InputRegisters):
        decoder.register(answer)
    return decoder


class TcpFraming:
    """Frames with transaction numbers.

    Attributes:
        fault: What was wrong with the bytes that came last, in words; None when nothing was.
    """

    def __init__(self) -> None:
        self.fault: str | None = None
        self._framer = FramerSocket(_decoder())
        self._transaction = 0

    def frame(self, request: ModbusPDU) -> bytes:
        """Return the frame of a request; its number is a new one."""
        self.fault = None
        self._transaction = request.transaction_id = self._transaction % 0xFFFF + 1
        return self._framer.buildFrame(request)

    def asked(self, frame: bytes) -> bytes:
        """Return unit, function and whatever follows of a frame."""
        return frame[6:]

    def find(self, data: bytes, frame: bytes) -> ModbusPDU | None:
        """Return the answer among the bytes that came since `frame` was sent; None while it is not there."""
        fault = find_fault(data, frame)
        if fault is not None:
            self.fault = fault
            return None
        return self._framer.handleFrame(data, frame[6], int.from_bytes(frame[:2], "big"))[1]


class RtuFraming:
    """Frames with checksums, on serial lines and in TCP connections to gateways.

    Args:
        echo: Whether the adapter hears its own requests.

    Attributes:
        fault: What was wrong with the bytes that came last, in words; None when nothing was.
    """

    def __init__(self, *, echo: bool) -> None:
        self.fault: str | None = None
        self._framer = FramerRTU(_decoder())
        self._echo = echo

    def frame(self, request: ModbusPDU) -> bytes:
        """Return the frame of a request."""
        self.fault = None
        return self._framer.buildFrame(request)

    def asked(self, frame: bytes) -> bytes:
        """Return unit, function and whatever follows of a frame."""
        return frame

    def find(self, data: bytes, frame: bytes) -> ModbusPDU | None:
        """Return the answer among the bytes that came since `frame` was sent; None while it is not there."""
        if self._echo:
            if not data.startswith(frame):
                return None
            data = data[len(frame) :]
        answer = find_answer(data, frame)
        self.fault = "bytes that do not answer the request" if data and not answer else None
        return self._framer.handleFrame(answer, frame[0], 0)[1]
