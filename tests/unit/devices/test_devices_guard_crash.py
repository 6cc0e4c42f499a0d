"""The guard over a real socket that lies, and a guard that dies after each of its writes."""

import asyncio
import random
from datetime import timedelta

import pytest
from fake_modbus import Hybrid
from guard_parts import permitted
from test_devices_guard import RELEASE, Bench, run

from agent.control.envelope import Envelope
from agent.control.guard import Guard
from agent.devices.errors import DeviceError
from coordinator.errors import CommonwattError

PV_MAX_W = 6000.0


def set_powers(bench: Bench) -> list[int]:
    """Return the setpoints that were written, signed [W]."""
    pairs = [values for address, values in bench.written if address == Hybrid.SET_W]
    return [int.from_bytes(high.to_bytes(2) + low.to_bytes(2), signed=True) for high, low in pairs]


@pytest.mark.parametrize("seed", range(4))
def test_s13_answers_with_flipped_bits_never_lead_outside_the_envelope(seed: int) -> None:
    """Every second answer has a bit turned in its registers, so that the frame is right and its values are not."""
    chance = random.Random(seed)
    envelope = Envelope(charge_w=3000, discharge_w=2000)

    def flip(request: bytes, answer: bytes) -> bytes:
        if chance.random() < 0.5 or request[7] not in (3, 4):
            return answer
        at = chance.randrange(9, len(answer))
        return answer[:at] + bytes([answer[at] ^ (1 << chance.randrange(8))]) + answer[at + 1 :]

    async def check(bench: Bench) -> None:
        bench.fake.mangle = flip
        polled = 0
        for second in range(100):
            bench.clock.advance(timedelta(seconds=2))
            try:
                await bench.device.poll()
                polled += 1
            except DeviceError:
                pass
            bench.guard.lease(chance.uniform(-9000, 9000), "as planned")
            await bench.guard.step()
            if second % 10 == 9:
                bench.brakes.resume()  # whatever was given up, begins again
        assert polled > 20, "frames decode, wrong as they are"
        assert set_powers(bench), "and the battery is commanded all the same"
        for power_w in set_powers(bench):
            assert -envelope.charge_w <= power_w <= envelope.discharge_w + PV_MAX_W
        foreign = {address for address, _ in bench.written} - {
            Hybrid.SET_W,
            Hybrid.ENABLE,
            Hybrid.MODE,
            Hybrid.REVERT_S,
            Hybrid.REVERT_ENABLE,
        }
        assert not foreign, "nothing but the setpoint, its switch and its timer is ever written"

    run(check, envelope=envelope, pv_max_w=PV_MAX_W)


@pytest.mark.parametrize("last", range(9))
def test_s14_a_guard_that_dies_after_any_of_its_writes_leaves_a_command_that_ends(last: int) -> None:
    """Writes: release, mode, timer, then timer, setpoint, switch, and again. After the last one the guard is gone."""

    async def check(bench: Bench) -> None:
        left = [last]

        def die(request: bytes, answer: bytes) -> bytes | None:
            if request[7] in (6, 16):
                left[0] -= 1
            return answer if left[0] >= 0 else None

        bench.fake.mangle = die
        for _ in range(12):
            bench.guard.lease(1000, "as planned")
            try:
                await bench.after(5)
            except DeviceError:
                break
        registers = bench.hybrid
        if registers[Hybrid.ENABLE]:
            timer_s = (registers[Hybrid.REVERT_S] << 16) + registers[Hybrid.REVERT_S + 1]
            assert 0 < timer_s <= 60, "no command is ever in force without the timer that ends it"
        bench.fake.mangle = lambda request, answer: answer
        bench.fake.log.clear()
        new = Guard(
            bench.guard._battery,
            Envelope(charge_w=3000, discharge_w=3000),
            bench.clock,
            bench.guard._settings,
            lambda level, text: None,
            permit=permitted,
            brakes=bench.brakes,
        )
        for _ in range(30):
            new.lease(1000, "as planned")
            bench.clock.advance(timedelta(seconds=1))
            try:
                await bench.device.poll()
            except CommonwattError:
                await asyncio.sleep(0.01)
            await new.step()
        assert bench.written[0] == RELEASE, "a new guard begins with a release, whatever the old one left"
        assert new.status.control == "following"

    run(check)


def test_s1_a_command_never_goes_on_over_another_connection_than_the_one_that_was_looked_at() -> None:
    """The device hangs up in the middle of a command; whoever answers then has not shown its commissioning."""

    async def check(bench: Bench) -> None:
        await bench.follow(1000)
        hung_up = []

        def hang_up_once(request: bytes, answer: bytes) -> bytes | None:
            if request[7] in (6, 16) and not hung_up:
                hung_up.append(request)
                return None
            return answer

        bench.fake.mangle = hang_up_once
        before = bench.fake.connections
        assert await reconnecting(bench)
        assert bench.fake.connections > before
        assert len(bench.fake.writes) == 1, "the rest of the command was not written"

    run(check)


async def reconnecting(bench: Bench) -> bool:
    """Command until the link is lost, and let the device be connected anew at once; return whether that failed."""
    link, battery = bench.device.link, bench.guard._battery
    link._failed_connects, link._retry_at_s = 0, 0.0
    try:
        await battery.command(2000, 2000, 60)
    except DeviceError:
        link._retry_at_s = 0.0
        await bench.device.poll()
        return True
    return False


@pytest.mark.parametrize("ends", ["stop", "lease"])
def test_s1_a_release_never_goes_to_a_device_that_was_not_looked_at(ends: str) -> None:
    """The inverter hangs up; under its address another device answers. The inverter's timer ends our command."""
    says: list[str | None] = [None]

    async def permit() -> str | None:
        return says[0]

    async def check(bench: Bench) -> None:
        await bench.follow(1000)
        await bench.device.link.close()
        says[0] = "the record was made for another device"
        if ends == "stop":
            await bench.guard.stop()
        else:
            bench.guard.release("enough")
            await bench.after(6)
        assert bench.written == []
        assert "nothing is written to it: the record was made for another device" in bench.notices[-1][1]

    run(check, permit=permit)


@pytest.mark.parametrize("at", [Hybrid.MODE, Hybrid.SET_W])
def test_s1_a_connection_made_anew_within_a_command_is_looked_at_before_the_next_write(at: int) -> None:
    """The poller reconnects while the guard waits; what it prepares or commands next is not for whoever answers now."""
    looks: list[int] = []

    async def permit() -> str | None:
        looks.append(1)
        return None if len(looks) < 2 else "the record was made for another device"

    async def check(bench: Bench) -> None:
        await bench.after(0)
        battery = bench.guard._battery
        whole = battery.prepare if at == Hybrid.SET_W else battery.overwritten

        async def reconnected(*args: int) -> str | None:
            done = await whole(*args)  # type: ignore[operator]
            await bench.device.link.close()
            bench.device.link._retry_at_s = 0.0
            await bench.device.poll()
            return done

        setattr(battery, whole.__name__, reconnected)
        bench.fake.log.clear()
        bench.guard.lease(1000, "as planned")
        if at == Hybrid.MODE:
            bench.guard._mind.in_force = lambda now_s: True  # type: ignore[method-assign]
        await bench.guard.step()
        assert at not in [address for address, _ in bench.written]
        await bench.guard.step()
        assert len(looks) == 2
        assert bench.guard.status.control == "observe"

    run(check, permit=permit)


def test_s7_a_guard_that_stood_still_in_the_middle_of_a_command_does_not_finish_it() -> None:
    """Frozen between two writes of one command, for longer than its wish or its reading was good for."""

    async def check(bench: Bench) -> None:
        await bench.after(0)
        bench.fake.log.clear()

        def freeze(address: int) -> None:
            if address == Hybrid.SET_W:
                bench.clock.advance(timedelta(seconds=3600))

        bench.fake.on_write = freeze
        bench.guard.lease(1000, "as planned")
        await bench.after(0.1)
        assert Hybrid.SET_W in [address for address, _ in bench.written], "it was in the middle"
        assert (Hybrid.ENABLE, (1,)) not in bench.written, "and its switch stays where it is"
        await bench.guard.step()
        assert bench.written[-1] == RELEASE

    run(check)
