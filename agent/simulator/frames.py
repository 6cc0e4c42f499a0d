"""Modbus frames and requests as bytes, TCP and RTU, by the Modbus specification (application protocol 1.1b3, messaging
1.0b, serial line 1.02).

Written from the specification, sharing no code with the client under test: a partner of the same library would share
its mistakes. Pure; the server is the shell.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

HEADER = struct.Struct(">HHHB")
"""Transaction, protocol (0), length of what follows including the unit, unit."""

MAX_LENGTH = 254
MAX_READ = 125
MAX_WRITE = 123

READ_HOLDING = 3
READ_INPUT = 4
WRITE_SINGLE = 6
WRITE_MULTIPLE = 16


class ExceptionCode(IntEnum):
    ILLEGAL_FUNCTION = 1
    ILLEGAL_ADDRESS = 2
    ILLEGAL_VALUE = 3
    DEVICE_FAILURE = 4


class ModbusError(Exception):
    """The device refuses a request; the client receives `code`."""

    def __init__(self, code: ExceptionCode) -> None:
        super().__init__(f"Modbus exception {code.value} ({code.name})")
        self.code = code


class FrameError(Exception):
    """The bytes are no Modbus TCP; nothing after them on this connection can be trusted."""


class ModbusDevice(Protocol):
    """One device (unit) behind a server."""

    def read(self, function: int, address: int, count: int) -> Sequence[int]:
        """Return `count` registers of one moment.

        Raises:
            ModbusError: If the device does not have them.
        """
        ...

    def write(self, address: int, values: Sequence[int]) -> None:
        """Write registers, all or none of them.

        Raises:
            ModbusError: If the device refuses.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One request or answer. `pdu` starts with the function code."""

    transaction: int
    unit: int
    pdu: bytes

    def encode(self) -> bytes:
        return HEADER.pack(self.transaction, 0, len(self.pdu) + 1, self.unit) + self.pdu


@dataclass(frozen=True, slots=True, kw_only=True)
class RtuFrame(Frame):
    """A frame of a serial line: no transaction, and a checksum at its end."""

    transaction: int = 0

    def encode(self) -> bytes:
        data = bytes((self.unit,)) + self.pdu
        return data + checksum(data)


def checksum(data: bytes) -> bytes:
    """Return the CRC-16 of a serial line, low byte first (polynomial 0x8005 reflected, start 0xFFFF)."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            low = crc & 1
            crc >>= 1
            if low:
                crc ^= 0xA001
    return struct.pack("<H", crc)


def take_rtu(data: bytes) -> tuple[RtuFrame | None, bytes]:
    """Return the first whole request in the bytes of a serial line, and what follows it; noise before it is skipped."""
    for start in range(len(data)):
        size = _rtu_size(data[start:])
        if size is None or len(data) < start + size:
            continue
        frame = data[start : start + size]
        if checksum(frame[:-2]) == frame[-2:]:
            return RtuFrame(unit=frame[0], pdu=frame[1:-2]), data[start + size :]
    return None, data[-260:]


def _rtu_size(data: bytes) -> int | None:
    """Return how long the request at the beginning of `data` is; None for what is no request, or not known yet."""
    if len(data) < 2:
        return None
    if data[1] in (READ_HOLDING, READ_INPUT, WRITE_SINGLE):
        return 8
    return 9 + data[6] if data[1] == WRITE_MULTIPLE and len(data) > 6 else None


def parse_header(header: bytes) -> tuple[int, int, int]:
    """Return (transaction, unit, bytes of the PDU that follow).

    Raises:
        FrameError: If this is not the header of a Modbus TCP frame.
    """
    transaction, protocol, length, unit = HEADER.unpack(header)
    if protocol != 0 or not 2 <= length <= MAX_LENGTH:
        raise FrameError(f"not a Modbus TCP header: {header.hex()}")
    return transaction, unit, length - 1


def answer(device: ModbusDevice, pdu: bytes) -> bytes:
    """Return the device's answer to one request, an exception answer included."""
    try:
        return _carry_out(device, pdu)
    except ModbusError as refusal:
        return refused(pdu, refusal.code)


def refused(pdu: bytes, code: ExceptionCode) -> bytes:
    """Return the exception answer to a request."""
    return bytes((pdu[0] | 0x80, code))


def _carry_out(device: ModbusDevice, pdu: bytes) -> bytes:
    match pdu[0]:
        case 3 | 4:
            return _read(device, pdu)
        case 6:
            address, value = _fields(pdu, ">HH")
            device.write(address, [value])
            return pdu
        case 16:
            return _write(device, pdu)
        case _:
            raise ModbusError(ExceptionCode.ILLEGAL_FUNCTION)


def _read(device: ModbusDevice, pdu: bytes) -> bytes:
    address, count = _fields(pdu, ">HH")
    if not 1 <= count <= MAX_READ:
        raise ModbusError(ExceptionCode.ILLEGAL_VALUE)
    if address + count > 0x10000:
        raise ModbusError(ExceptionCode.ILLEGAL_ADDRESS)
    registers = device.read(pdu[0], address, count)
    return struct.pack(f">BB{count}H", pdu[0], 2 * count, *registers)


def _write(device: ModbusDevice, pdu: bytes) -> bytes:
    if len(pdu) < 6:
        raise ModbusError(ExceptionCode.ILLEGAL_VALUE)
    address, count, size = struct.unpack(">HHB", pdu[1:6])
    if not 1 <= count <= MAX_WRITE or size != 2 * count or len(pdu) != 6 + size:
        raise ModbusError(ExceptionCode.ILLEGAL_VALUE)
    if address + count > 0x10000:
        raise ModbusError(ExceptionCode.ILLEGAL_ADDRESS)
    device.write(address, struct.unpack(f">{count}H", pdu[6:]))
    return pdu[:5]


def _fields(pdu: bytes, layout: str) -> tuple[int, int]:
    if len(pdu) != 1 + struct.calcsize(layout):
        raise ModbusError(ExceptionCode.ILLEGAL_VALUE)
    first, second = struct.unpack(layout, pdu[1:])
    return first, second
