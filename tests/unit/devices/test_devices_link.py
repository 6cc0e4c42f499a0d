import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable

import pytest
from fake_modbus import FakeModbus, serve

from agent.devices.errors import BadAnswerError, DeviceError, DeviceRefusedError, LinkDownError, NoAnswerError
from agent.devices.link import ModbusLink
from agent.devices.link_limits import LinkLimits
from agent.devices.mbap import find_fault
from agent.devices.opening import LinkPool
from coordinator.clock import WallClock

LIMITS = LinkLimits(timeout_s=0.2)
Check = Callable[[FakeModbus, ModbusLink, int], Awaitable[None]]


def run(check: Check, limits: LinkLimits = LIMITS) -> None:
    """Run `check` with a fake device (unit 1, registers 0 to 9 holding 100 to 109) and an open link to it."""

    async def main() -> None:
        async with serve({1: {at: 100 + at for at in range(10)}}) as fake:
            link = ModbusLink(fake.url, WallClock(), limits)
            try:
                await check(fake, link, await link.open())
            finally:
                await link.close()

    asyncio.run(main())


def test_reads_and_writes_arrive_as_asked() -> None:
    async def check(fake: FakeModbus, link: ModbusLink, generation: int) -> None:
        assert await link.read(generation, 1, 3, 2, 3) == [102, 103, 104]
        assert await link.read(generation, 1, 4, 0, 1) == [100]
        await link.write(generation, 1, 5, [7], single=True)
        await link.write(generation, 1, 6, [8, 9], single=False)
        assert [fake.units[1][at] for at in (5, 6, 7)] == [7, 8, 9]
        assert [request.fc for request in fake.log] == [3, 4, 6, 16]
        assert (link.counters.connects, link.counters.requests, link.counters.answers) == (1, 4, 4)

    run(check)


def change_body(change: Callable[[bytes], bytes]) -> Callable[[bytes, bytes], bytes]:
    """Return a mangler that changes what comes after the unit id and keeps the frame's length right."""

    def mangle(request: bytes, answer: bytes) -> bytes:
        body = change(answer[7:])
        return answer[:4] + struct.pack(">HB", len(body) + 1, answer[6]) + body

    return mangle


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda body: bytes([3, 2]) + body[2:4], id="fewer registers than asked"),
        pytest.param(lambda body: bytes([3, 8]) + body[2:] * 2, id="more registers than asked"),
        pytest.param(lambda body: bytes([4]) + body[1:], id="another function code"),
        pytest.param(lambda body: bytes([3, 3]) + body[2:5], id="odd byte count"),
        pytest.param(lambda body: bytes([3, 200]) + body[2:], id="wrong byte count"),
        pytest.param(lambda body: b"\x41\x00\x00", id="unknown function code"),
        pytest.param(lambda body: b"\x83\x02\x00", id="exception with a tail"),
    ],
)
def test_an_answer_that_does_not_fit_the_request_is_dropped_and_the_link_survives(
    change: Callable[[bytes], bytes],
) -> None:
    async def check(fake: FakeModbus, link: ModbusLink, generation: int) -> None:
        fake.mangle = change_body(change)
        with pytest.raises(BadAnswerError, match="dropped"):
            await link.read(generation, 1, 3, 0, 2)
        fake.mangle = lambda request, answer: answer
        assert await link.read(generation, 1, 3, 0, 2) == [100, 101]
        assert (link.counters.bad_answers, fake.connections) == (1, 1)

    run(check)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(struct.pack(">BHH", 16, 7, 2), id="other address"),
        pytest.param(struct.pack(">BHH", 16, 6, 1), id="other count"),
        pytest.param(struct.pack(">BHHBHH", 16, 6, 2, 4, 8, 9), id="echo of the payload"),
    ],
)
def test_an_acknowledgement_of_another_write_counts_for_nothing(body: bytes) -> None:
    async def check(fake: FakeModbus, link: ModbusLink, generation: int) -> None:
        fake.mangle = change_body(lambda _: body)
        with pytest.raises(BadAnswerError, match="acknowledgement"):
            await link.write(generation, 1, 6, [8, 9], single=False)

    run(check)


def test_a_late_answer_is_never_taken_for_the_next_one() -> None:
    async def check(fake: FakeModbus, link: ModbusLink, generation: int) -> None:
        kept: list[bytes] = []

        def keep(request: bytes, answer: bytes) -> bytes:
            kept.append(answer)
            return b""

        fake.mangle = keep
        with pytest.raises(NoAnswerError):
            await link.read(generation, 1, 3, 0, 2)
        fake.mangle = lambda request, answer: kept.pop() + answer
        assert await link.read(generation, 1, 3, 4, 1) == [104]

    run(check)


class Numberless:
    """Mangles the answers of a device that gives them all the number 0, and is late now and then."""

    def __init__(self) -> None:
        self.waiting: list[bytes] = []
        self.behind = 0
        """How many answers it still owes when it has said something."""
        self.refuses = False

    def __call__(self, request: bytes, answer: bytes) -> bytes:
        if self.refuses:
            answer, self.refuses = answer[:4] + bytes((0, 3, answer[6], answer[7] | 0x80, 11)), False
        self.waiting.append(b"\0\0" + answer[2:])
        due = len(self.waiting) - self.behind
        said, self.waiting = self.waiting[:due], self.waiting[due:]
        return b"".join(said)

    async def is_late(self, link: ModbusLink, generation: int, address: int) -> None:
        """Let a read of two registers wait in vain."""
        self.behind = 1
        with pytest.raises(NoAnswerError):
            await link.read(generation, 1, 3, address, 2)


@pytest.mark.parametrize("known", [False, True])
def test_f09_f25_a_late_answer_without_a_number_is_never_taken_for_the_next_one(known: bool) -> None:
    async def check(fake: FakeModbus, link: ModbusLink, generation: int) -> None:
        fake.mangle = device = Numberless()
        if known:
            assert await link.read(generation, 1, 3, 6, 2) == [106, 107]
        await device.is_late(link, generation, 0)
        read: list[list[int]] = []
        for address in (2, 4, 6, 2, 4, 6, 2, 4, 6):
            with contextlib.suppress(DeviceError):
                read.append([address, *await link.read(generation, 1, 3, address, 2)])
            device.behind = 0
        assert read[-3:] == [[2, 102, 103], [4, 104, 105], [6, 106, 107]], "it goes on"
        assert all(values == [100 + address, 101 + address] for address, *values in read)
        assert link.counters.connects == 1

    run(check)


def test_f09_f25_what_a_late_refusal_displaces_is_not_taken_for_the_next_answer_either() -> None:
    async def check(fake: FakeModbus, link: ModbusLink, generation: int) -> None:
        fake.mangle = device = Numberless()
        assert await link.read(generation, 1, 3, 6, 1) == [106]
        device.refuses = True
        await device.is_late(link, generation, 0)
        with pytest.raises(DeviceRefusedError):
            await link.read(generation, 1, 3, 2, 1)
        for address in (4, 6):
            with contextlib.suppress(DeviceError):
                assert await link.read(generation, 1, 3, address, 1) == [100 + address]
            device.behind = 0

    run(check)


def test_f09_f25_nothing_is_written_while_an_answer_without_a_number_is_overdue() -> None:
    async def check(fake: FakeModbus, link: ModbusLink, generation: int) -> None:
        fake.mangle = device = Numberless()
        await link.write(generation, 1, 5, [1], single=True)
        device.behind = 1
        with pytest.raises(NoAnswerError):
            await link.write(generation, 1, 5, [2], single=True)
        device.behind = 0
        with pytest.raises(NoAnswerError, match="nothing is written until a read settled that"):
            await link.write(generation, 1, 5, [2], single=True)
        assert [request.values for request in fake.writes] == [(1,), (2,)]

    run(check)


def test_a_late_answer_with_a_number_holds_up_no_write() -> None:
    async def check(fake: FakeModbus, link: ModbusLink, generation: int) -> None:
        fake.mangle = lambda request, answer: b""
        with pytest.raises(NoAnswerError):
            await link.write(generation, 1, 5, [2], single=True)
        fake.mangle = lambda request, answer: answer
        await link.write(generation, 1, 5, [2], single=True)
        assert await link.read(generation, 1, 3, 5, 1) == [2]

    run(check)


def test_an_exception_answer_is_a_refusal_with_its_code() -> None:
    async def check(fake: FakeModbus, link: ModbusLink, generation: int) -> None:
        with pytest.raises(DeviceRefusedError, match="does not have these registers") as caught:
            await link.read(generation, 1, 3, 9, 2)
        assert caught.value.code == 2
        fake.mangle = change_body(lambda _: b"\x83\x80")
        with pytest.raises(DeviceRefusedError, match="exception 128"):
            await link.read(generation, 1, 3, 0, 1)

    run(check)


def test_a_wrong_unit_id_is_named_as_the_likely_cause() -> None:
    async def check(fake: FakeModbus, link: ModbusLink, generation: int) -> None:
        with pytest.raises(NoAnswerError) as caught:
            await link.read(generation, 5, 3, 0, 1)
        assert str(caught.value) == f"device at {fake.url} answered nothing for unit 5: is the unit id right?"
        with pytest.raises(NoAnswerError):
            await link.read(generation, 5, 3, 0, 1)
        # The half-open connection is closed now; the reason stays the same, so that it is told once.
        with pytest.raises(LinkDownError, match="unit 5: is the unit id right"):
            await link.read(generation, 5, 3, 0, 1)

    run(check)


def test_a_request_never_goes_over_a_connection_whose_device_was_not_identified() -> None:
    async def check(fake: FakeModbus, link: ModbusLink, generation: int) -> None:
        await link.read(generation, 1, 3, 0, 1)
        fake.log.clear()
        await link.close()
        assert await link.open() == generation + 1
        with pytest.raises(LinkDownError):
            await link.write(generation, 1, 0, [1], single=True)
        assert fake.log == []

    run(check)


def test_first_connect_is_retried_with_growing_pauses() -> None:
    async def main() -> None:
        async with serve({1: {0: 1}}) as fake:
            await fake.stop()
            link = ModbusLink(fake.url, WallClock(), LIMITS)
            for _ in range(20):
                with pytest.raises(LinkDownError, match=f"no answer from {fake.url}"):
                    await link.open()
            assert link.counters.connects == 0
            await fake.start()
            async with asyncio.timeout(3):
                while not link.connected:
                    await asyncio.sleep(0.05)
                    try:
                        await link.open()
                    except LinkDownError:
                        continue
            assert await link.read(1, 1, 3, 0, 1) == [1]
            await link.close()

    asyncio.run(main())


def test_a_peer_that_accepts_and_hangs_up_causes_no_storm_of_connections() -> None:
    async def check(fake: FakeModbus, link: ModbusLink, generation: int) -> None:
        fake.mangle = lambda request, answer: None
        for _ in range(50):
            try:
                await link.read(await link.open(), 1, 3, 0, 1)
            except DeviceError as error:
                last = str(error)
            await asyncio.sleep(0.005)
        assert fake.connections <= 2
        assert last == f"{fake.url} closes the connection: is another program connected to it?"

    run(check)


def test_requests_of_several_tasks_go_one_by_one_with_the_gap_between() -> None:
    async def check(fake: FakeModbus, link: ModbusLink, generation: int) -> None:
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        answers = await asyncio.gather(*(link.read(generation, 1, 3, at, 1) for at in range(5)))
        assert answers == [[100 + at] for at in range(5)]
        assert loop.time() - started_s >= 4 * 0.03
        assert fake.connections == 1

    run(check, LinkLimits(timeout_s=0.2, gap_s=0.03))


def test_devices_behind_one_address_share_one_link_at_the_slower_pace() -> None:
    async def main() -> None:
        pool = LinkPool(WallClock())
        one = pool.link("tcp://host:502", LinkLimits(timeout_s=1, gap_s=0.1))
        two = pool.link("tcp://host:502", LinkLimits(timeout_s=3, gap_s=0.0))
        assert one is two
        assert one.limits == LinkLimits(timeout_s=3, gap_s=0.1)
        assert pool.link("tcp://host:503", LIMITS) is not one

    asyncio.run(main())


def test_a_cancellation_that_comes_together_with_the_answer_is_not_lost() -> None:
    async def main() -> None:
        async with serve({1: {0: 1}}) as fake:
            link = ModbusLink(fake.url, WallClock(), LinkLimits(timeout_s=5))
            loop, find = asyncio.get_running_loop(), link._framing.find

            def cancel_with_the_answer(data: bytes, frame: bytes) -> bytes:
                loop.call_soon(reading.cancel)
                return find(data, frame)

            link._framing.find = cancel_with_the_answer  # type: ignore[method-assign]
            generation = await link.open()
            reading = asyncio.create_task(link.read(generation, 1, 3, 0, 1))
            with pytest.raises(asyncio.CancelledError):
                await reading
            await link.close()

    asyncio.run(main())


def test_a_serial_port_that_is_not_there_is_named_and_tried_again() -> None:
    async def main() -> None:
        link = ModbusLink("serial:///dev/no-such-adapter", WallClock(), LIMITS)
        with pytest.raises(LinkDownError, match="no answer from serial:///dev/no-such-adapter"):
            await link.open()
        assert not link.connected
        await link.close()

    asyncio.run(main())


def test_an_answer_that_is_not_complete_yet_is_no_fault() -> None:
    request = struct.pack(">HHHBBHH", 7, 0, 6, 1, 3, 0, 2)
    answer = struct.pack(">HHHBBBHH", 7, 0, 7, 1, 3, 4, 1, 2)
    assert all(find_fault(answer[:end], request) is None for end in range(len(answer) + 1))
    assert find_fault(b"garbage!garbage!", request) == "bytes that are no Modbus frame"
