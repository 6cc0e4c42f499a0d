"""Our requests and what counts as their answer, against the examples of the Modbus standard."""

import asyncio

import pytest
from fake_modbus import serve
from pymodbus.pdu import ModbusPDU

from agent.devices.errors import LinkDownError, NoAnswerError
from agent.devices.framing import RtuFraming, TcpFraming, acknowledges, read_request, write_request
from agent.devices.link import ModbusLink
from agent.devices.link_limits import LinkLimits
from agent.simulator.frames import checksum
from coordinator.clock import WallClock


def body_of(request: ModbusPDU) -> bytes:
    return TcpFraming().frame(request)[7:]


def test_requests_are_the_examples_of_the_standard() -> None:
    assert body_of(read_request(1, 3, 107, 3)) == bytes.fromhex("03 006B 0003")
    assert body_of(read_request(1, 4, 8, 1)) == bytes.fromhex("04 0008 0001")
    assert body_of(write_request(1, 1, [3], single=True)) == bytes.fromhex("06 0001 0003")
    assert body_of(write_request(1, 1, [10, 258], single=False)) == bytes.fromhex("10 0001 0002 04 000A 0102")


def answer_to(request: ModbusPDU, answer: str) -> ModbusPDU | None:
    framing = TcpFraming()
    frame, body = framing.frame(request), bytes.fromhex(answer)
    return framing.find(frame[:4] + (len(body) + 1).to_bytes(2, "big") + frame[6:7] + body, frame)


@pytest.mark.parametrize("fc", [3, 4])
def test_answers_are_read_as_the_examples_of_the_standard(fc: int) -> None:
    answer = answer_to(read_request(1, fc, 107, 3), f"0{fc} 06 022B 0000 0064")
    assert answer is not None
    assert (answer.isError(), answer.registers) == (False, [555, 0, 100])
    refusal = answer_to(read_request(1, fc, 107, 3), f"8{fc} 02")
    assert refusal is not None
    assert (refusal.isError(), refusal.exception_code) == (True, 2)


@pytest.mark.parametrize(
    ("request_", "answer", "same"),
    [
        (write_request(1, 1, [3], single=True), "06 0001 0003", True),
        (write_request(1, 1, [3], single=True), "06 0001 0004", False),
        (write_request(1, 1, [3], single=True), "06 0002 0003", False),
        (write_request(1, 1, [10, 258], single=False), "10 0001 0002", True),
        (write_request(1, 1, [10, 258], single=False), "10 0001 0001", False),
        (write_request(1, 1, [10, 258], single=False), "10 0002 0002", False),
    ],
)
def test_a_write_is_acknowledged_with_its_own_address_and_value_or_count(
    request_: ModbusPDU, answer: str, same: bool
) -> None:
    heard = answer_to(request_, answer)
    assert heard is not None
    assert acknowledges(heard, request_) == same


def test_a_tcp_answer_of_another_unit_or_transaction_is_passed_over() -> None:
    framing = TcpFraming()
    frame = framing.frame(read_request(5, 3, 0, 1))
    assert frame == bytes.fromhex("0001 0000 0006 05 03 0000 0001")
    late, strange, ours = (
        bytes.fromhex(f"{number} 0000 0005 {unit} 03 02 {word}")
        for number, unit, word in (("0000", "06", "0001"), ("0007", "05", "0002"), ("0001", "05", "0003"))
    )
    assert framing.find(late + strange, frame) is None
    assert framing.find(late + strange + ours[:-1], frame) is None
    answer = framing.find(late + strange + ours, frame)
    assert answer is not None
    assert answer.registers == [3]
    assert framing.fault is None
    to_anybody = framing.frame(read_request(0, 3, 0, 1))
    answer = framing.find(to_anybody[:2] + ours[2:], to_anybody)
    assert answer is not None
    assert answer.registers == [3]


def test_transaction_numbers_begin_again_at_one() -> None:
    framing, request = TcpFraming(), read_request(1, 3, 0, 1)
    numbers = [int.from_bytes(framing.frame(request)[:2], "big") for _ in range(0x10001)]
    assert numbers == [*range(1, 0x10000), 1, 2]


def test_the_answer_on_a_line_with_an_echo_follows_the_request() -> None:
    framing, request = RtuFraming(echo=True), write_request(1, 1, [3], single=True)
    frame = framing.frame(request)
    assert frame == bytes.fromhex("01 06 0001 0003") + checksum(bytes.fromhex("01 06 0001 0003"))
    assert framing.find(frame, frame) is None, "the echo of a write looks like its acknowledgement"
    answer = framing.find(frame + frame, frame)
    assert answer is not None
    assert acknowledges(answer, request)
    body = bytes.fromhex("01 86 02")
    refusal = framing.find(frame + body + checksum(body), frame)
    assert refusal is not None
    assert refusal.exception_code == 2


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


def test_after_a_line_was_lost_in_the_pause_nothing_is_written_until_a_read_settled_what_is_owed() -> None:
    lines: list[asyncio.StreamWriter] = []

    async def serve_line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append(writer)
        while request := await reader.read(256):
            unit, fc, count = request[0], request[1], request[5]
            body = request[:-2] if fc == 6 else bytes((unit, fc, 2 * count)) + bytes(2 * count)
            writer.write(body + checksum(body))
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve_line, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        link = ModbusLink(f"rtu+tcp://127.0.0.1:{port}", WallClock(), LinkLimits(timeout_s=1_000_000, gap_s=0.1))
        generation = await link.open()
        assert await link.read(generation, 1, 3, 0, 1) == [0]
        reading = asyncio.create_task(link.read(generation, 1, 3, 0, 1))
        await asyncio.sleep(0)
        lines[0].close()
        with pytest.raises(LinkDownError):
            await reading
        generation = await link.open()
        with pytest.raises(NoAnswerError, match="overdue"):
            await link.write(generation, 1, 5, [7], single=True)
        assert await link.read(generation, 1, 3, 0, 1) == [0]
        await link.write(generation, 1, 5, [7], single=True)
        assert link.counters.resyncs == 1
        await link.close()
        server.close()
        for line in lines:
            line.close()
            await line.wait_closed()

    asyncio.run(main())
