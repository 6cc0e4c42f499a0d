"""Requests and answers as bytes."""

import asyncio
import struct
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.simulator.frames import ExceptionCode, Frame, FrameError, ModbusError, answer, parse_header
from agent.simulator.server import answer_units


class Memory:
    """A device of 100 registers that remembers."""

    def __init__(self) -> None:
        self.registers = list(range(100))

    def read(self, function: int, address: int, count: int) -> Sequence[int]:
        if address + count > 100:
            raise ModbusError(ExceptionCode.ILLEGAL_ADDRESS)
        return self.registers[address : address + count]

    def write(self, address: int, values: Sequence[int]) -> None:
        if address + len(values) > 100:
            raise ModbusError(ExceptionCode.ILLEGAL_ADDRESS)
        self.registers[address : address + len(values)] = values


class Broken(Memory):
    """A device whose own code fails."""

    def read(self, function: int, address: int, count: int) -> Sequence[int]:
        raise ZeroDivisionError


def test_the_four_functions_are_answered_as_the_specification_says() -> None:
    device = Memory()
    assert answer(device, bytes.fromhex("0300020003")) == bytes.fromhex("0306000200030004")
    assert answer(device, bytes.fromhex("0400020001")) == bytes.fromhex("04020002")
    assert answer(device, bytes.fromhex("060005ABCD")) == bytes.fromhex("060005ABCD")
    assert answer(device, bytes.fromhex("1000060002040102FFFE")) == bytes.fromhex("1000060002")
    assert device.registers[4:9] == [4, 0xABCD, 0x0102, 0xFFFE, 8]


@settings(max_examples=300, deadline=None)
@given(
    pdu=st.binary(min_size=1, max_size=253)
    | st.builds(bytes.__add__, st.sampled_from([b"\x03\x00", b"\x10\x00"]), st.binary())
)
def test_any_request_gets_a_wellformed_answer_or_exception(pdu: bytes) -> None:
    said = answer(Memory(), pdu)
    if said[0] & 0x80:
        assert said[0] == pdu[0] | 0x80
        assert len(said) == 2
        assert said[1] in (1, 2, 3)
    elif said[0] in (3, 4):
        assert len(said) == 2 + said[1] == 2 + 2 * struct.unpack(">H", pdu[3:5])[0]
    else:
        assert said == pdu[:5]


@given(header=st.binary(min_size=7, max_size=7))
def test_a_header_is_refused_or_names_a_size_the_specification_allows(header: bytes) -> None:
    try:
        _, _, size = parse_header(header)
    except FrameError:
        return
    assert header[2:4] == b"\x00\x00"
    assert 1 <= size <= 253


def test_a_failing_device_answers_device_failure_and_the_log_says_why(caplog: pytest.LogCaptureFixture) -> None:
    request = Frame(transaction=3, unit=1, pdu=bytes.fromhex("0300000001"))
    reply = asyncio.run(_reply(request))
    assert reply == bytes.fromhex("000300000003018304")
    assert "ZeroDivisionError" in caplog.text


async def _reply(request: Frame) -> bytes | None:
    return await answer_units({1: Broken()})(request)
