"""Our requests and what counts as their answer, against the examples of the Modbus standard."""

import asyncio

import pytest
from fake_modbus import serve

from agent.devices import pdu
from agent.devices.errors import LinkDownError
from agent.devices.framing import RtuFraming, TcpFraming
from agent.devices.link import ModbusLink
from agent.devices.link_limits import LinkLimits
from agent.devices.rtu import crc16
from coordinator.clock import WallClock


def test_requests_are_the_examples_of_the_standard() -> None:
    assert pdu.read_request(3, 107, 3) == bytes.fromhex("03 006B 0003")
    assert pdu.read_request(4, 8, 1) == bytes.fromhex("04 0008 0001")
    assert pdu.write_request(1, [3], single=True) == bytes.fromhex("06 0001 0003")
    assert pdu.write_request(1, [10, 258], single=False) == bytes.fromhex("10 0001 0002 04 000A 0102")


def test_answers_are_read_as_the_examples_of_the_standard() -> None:
    assert pdu.registers(bytes.fromhex("03 06 022B 0000 0064")) == [555, 0, 100]
    assert pdu.acknowledgement(bytes.fromhex("06 0001 0003")) == bytes.fromhex("06 0001 0003")
    assert pdu.acknowledgement(bytes.fromhex("10 0001 0002 04 000A 0102")) == bytes.fromhex("10 0001 0002")
    assert pdu.refusal(bytes.fromhex("83 02")) == 2
    assert pdu.refusal(bytes.fromhex("03 02 0002")) is None


def test_a_tcp_answer_of_another_unit_or_transaction_is_passed_over() -> None:
    framing = TcpFraming()
    frame = framing.frame(5, pdu.read_request(3, 0, 1))
    assert frame == bytes.fromhex("0001 0000 0006 05 03 0000 0001")
    late, strange, ours = (
        bytes.fromhex(f"{number} 0000 0005 {unit} 03 02 {word}")
        for number, unit, word in (("0000", "06", "0001"), ("0007", "05", "0002"), ("0001", "05", "0003"))
    )
    assert framing.find(late + strange, frame) == b""
    assert framing.find(late + strange + ours[:-1], frame) == b""
    assert pdu.registers(framing.find(late + strange + ours, frame)) == [3]
    assert framing.fault is None
    to_anybody = framing.frame(0, pdu.read_request(3, 0, 1))
    assert framing.find(to_anybody[:2] + ours[2:], to_anybody) == ours[7:]


def test_transaction_numbers_begin_again_at_one() -> None:
    framing = TcpFraming()
    numbers = [int.from_bytes(framing.frame(1, b"\x03")[:2], "big") for _ in range(0x10001)]
    assert numbers == [*range(1, 0x10000), 1, 2]


def test_the_answer_on_a_line_with_an_echo_follows_the_request() -> None:
    framing = RtuFraming(echo=True)
    frame = framing.frame(1, pdu.write_request(1, [3], single=True))
    assert framing.find(frame, frame) == b"", "the echo of a write looks like its acknowledgement"
    assert framing.find(frame + frame, frame) == frame[1:-2]
    body = bytes.fromhex("01 86 02")
    assert pdu.refusal(framing.find(frame + body + crc16(body), frame)) == 2


def test_closing_a_link_ends_the_request_that_waits() -> None:
    async def main() -> None:
        async with serve({1: {0: 1}}) as fake:
            link = ModbusLink(fake.url, WallClock(), LinkLimits(timeout_s=1_000_000))
            generation = await link.open()
            reading = asyncio.create_task(link.read(generation, 5, 3, 0, 1))
            while not link.counters.requests:
                await asyncio.sleep(0)
            await link.close()
            with pytest.raises(LinkDownError):
                await reading

    asyncio.run(main())
