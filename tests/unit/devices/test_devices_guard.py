"""The guard over a real socket: what goes onto the wire, in which order, and when nothing must."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from fake_modbus import FakeModbus, Hybrid, serve
from guard_parts import MemoryBrakes, permitted

import agent.control.pulse
from agent.control.envelope import Envelope
from agent.control.guard import Guard
from agent.control.ports import Permit
from agent.control.settings import ControlSettings
from agent.devices.battery import Battery
from agent.devices.budget import DayCounts, WriteBudget
from agent.devices.device import Device
from agent.devices.errors import LinkDownError, TooLateError
from agent.devices.opening import LinkPool, open_device
from agent.devices.settings import DeviceSettings
from coordinator.clock import ManualClock
from coordinator.errors import ConfigError

LIVE = ControlSettings(enabled=True)
RELEASE = (Hybrid.ENABLE, (0,))


@dataclass
class Bench:
    """A guard, stepped by hand on a clock moved by hand, in front of a fake hybrid inverter that obeys."""

    fake: FakeModbus
    device: Device
    guard: Guard
    clock: ManualClock
    notices: list[tuple[str, str]] = field(default_factory=list)
    brakes: MemoryBrakes = field(default_factory=MemoryBrakes)

    @property
    def hybrid(self) -> Hybrid:
        registers = self.fake.units[1]
        assert isinstance(registers, Hybrid)
        return registers

    @property
    def written(self) -> list[tuple[int, tuple[int, ...]]]:
        return [(request.address, request.values) for request in self.fake.writes]

    async def after(self, seconds: float) -> None:
        """Let time pass, poll, and let the guard look once."""
        self.clock.advance(timedelta(seconds=seconds))
        await self.device.poll()
        await self.guard.step()

    async def follow(self, target_w: float) -> None:
        """Bring the guard to following, and forget what was written for that."""
        await self.after(0)
        self.guard.lease(target_w, "as planned")
        await self.after(0.1)
        assert self.guard.status.control == "following"
        self.fake.log.clear()


Check = Callable[[Bench], Awaitable[None]]


def run(
    check: Check,
    settings: ControlSettings = LIVE,
    hybrid: Hybrid | None = None,
    envelope: Envelope | None = None,
    permit: Permit | None = None,
    pv_max_w: float = float("inf"),
) -> None:
    async def main() -> None:
        registers = hybrid or Hybrid()
        async with serve({1: registers}) as fake:
            fake.on_write = lambda address: registers.obey()
            clock = ManualClock(datetime(2024, 6, 12, 10, tzinfo=UTC))
            links = LinkPool(clock)
            device = open_device("battery", DeviceSettings(profile="sunspec_hybrid", url=fake.url), links, clock)
            notices: list[tuple[str, str]] = []

            def note(level: str, text: str) -> None:
                notices.append((level, text))

            limits = envelope or Envelope(charge_w=3000, discharge_w=3000)
            brakes = MemoryBrakes()

            async def known() -> str | None:
                await device.read_identity()
                return None

            guard = Guard(
                Battery(device),
                limits,
                clock,
                settings,
                note,
                permit=permit or known,
                brakes=brakes,
                pv_max_w=pv_max_w,
            )
            try:
                await check(Bench(fake, device, guard, clock, notices, brakes))
            finally:
                await links.close()

    asyncio.run(main())


async def forbidden() -> str | None:
    return "it is not commissioned"


async def unreachable() -> str | None:
    raise LinkDownError("no answer")


@pytest.mark.parametrize(
    ("settings", "permit"),
    [(ControlSettings(), permitted), (LIVE, forbidden), (LIVE, unreachable), (ControlSettings(), forbidden)],
)
def test_s1_without_commissioning_no_write_function_ever_leaves(settings: ControlSettings, permit: Permit) -> None:
    async def check(bench: Bench) -> None:
        running = asyncio.create_task(bench.guard.run())
        for second in range(20):
            bench.guard.lease(1000.0 * (-1) ** second, "as planned")
            await bench.after(1)
        bench.guard.release("enough")
        await bench.guard.stop()
        await running
        assert len(bench.fake.log) > 20
        assert bench.fake.writes == []
        assert bench.guard.status.control == "observe"
        assert not bench.guard.status.obeys

    run(check, settings, permit=permit)


def test_s1_a_week_of_wishes_to_a_device_that_is_not_commissioned_writes_nothing() -> None:
    async def check(bench: Bench) -> None:
        running = asyncio.create_task(bench.guard.run())
        for step in range(7 * 48):
            bench.guard.lease(3000.0 * (-1) ** step, "as planned")
            if step % 48 == 20:  # the network has its daily fault
                await bench.device.link.close()
            await bench.after(1800)
        await bench.guard.stop()
        await running
        assert len(bench.fake.log) > 7 * 48
        assert {request.fc for request in bench.fake.log} == {3}, "nothing but reading ever left"

    run(check, permit=forbidden)


def test_s6_timer_comes_before_the_first_setpoint_and_the_switch_comes_last() -> None:
    async def check(bench: Bench) -> None:
        await bench.after(0)
        assert bench.written == [RELEASE], "whatever was commanded before ends first"
        bench.fake.log.clear()
        bench.guard.lease(-500, "as planned")
        await bench.after(0.1)
        # 2000 W of sun and 500 W of charging: the whole inverter gives 1500 W.
        assert bench.written == [
            (Hybrid.MODE, (1,)),
            (Hybrid.REVERT_S, (0, 60)),
            (Hybrid.REVERT_S, (0, 60)),
            (Hybrid.SET_W, (0, 1500)),
            (Hybrid.ENABLE, (1,)),
        ]
        assert bench.guard.status.target_w == -500
        await bench.after(0.1)
        assert bench.device.latest is not None
        assert bench.device.latest.values["battery_w"] == -500

    run(check)


@pytest.mark.parametrize(
    ("registers", "kept"),
    [
        pytest.param({Hybrid.REVERT_S: 0xFFFF, Hybrid.REVERT_S + 1: 0xFFFF}, set(), id="no timer"),
        pytest.param({}, {Hybrid.REVERT_S, Hybrid.REVERT_S + 1}, id="timer that stays 0"),
    ],
)
def test_s6_device_without_a_working_timer_is_never_commanded(registers: dict[int, int], kept: set[int]) -> None:
    hybrid = Hybrid()
    hybrid.update(registers)

    async def check(bench: Bench) -> None:
        bench.fake.keeps = kept
        await bench.after(0)
        bench.guard.lease(1000, "as planned")
        for _ in range(5):
            await bench.after(1)
        assert not any(address in (Hybrid.SET_W,) for address, _ in bench.written)
        assert (Hybrid.ENABLE, (1,)) not in bench.written
        assert bench.guard.status.control == "released"
        assert [level for level, _ in bench.notices] == ["error"]
        assert "timer" in bench.notices[0][1]

    run(check, hybrid=hybrid)


def test_s6_timer_is_refreshed_at_a_third_and_nothing_is_written_between() -> None:
    async def check(bench: Bench) -> None:
        await bench.follow(1000)
        bench.guard.lease(1010, "as planned")
        for second in range(1, 21):
            bench.guard.lease(1010, "as planned")
            await bench.after(1)
            assert bool(bench.written) == (second >= 20), f"at {second} s"
        assert bench.written == [(Hybrid.REVERT_S, (0, 60)), (Hybrid.SET_W, (0, 3010)), (Hybrid.ENABLE, (1,))]

    run(check)


def test_s5_setpoints_keep_their_distance() -> None:
    async def check(bench: Bench) -> None:
        await bench.follow(1000)
        for tick in range(1, 50):
            bench.guard.lease(1000 + 40.0 * tick, "as planned")
            await bench.after(0.2)
        assert sum(address == Hybrid.SET_W for address, _ in bench.written) == 1

    run(check)


def odd(request: bytes, answer: bytes) -> bytes:
    """Acknowledge the setpoint with all it carried; the device took it."""
    if request[7] != 16 or int.from_bytes(request[8:10]) != Hybrid.SET_W:
        return answer
    return request[:4] + (len(request) - 6).to_bytes(2) + request[6:]


def bounded(bench: Bench, writes_per_day: int, written: int = 0) -> WriteBudget:
    """Give the battery registers that bear so many writes a day, of which some are gone; return what counts them."""
    profile = bench.device.profile
    assert profile.control is not None
    control = profile.control.battery_w.model_copy(update={"write_budget_per_day": writes_per_day})
    profile = profile.model_copy(update={"control": profile.control.model_copy(update={"battery_w": control})})
    gone = DayCounts(day=bench.clock.now().date(), writes={step.write: written for step in control.cycle})
    budget = WriteBudget(profile, gone)
    bench.guard._battery = Battery(bench.device, budget)
    return budget


def test_s5_setpoints_that_are_acknowledged_oddly_keep_their_distance_and_are_counted() -> None:
    async def check(bench: Bench) -> None:
        budget = bounded(bench, 100_000)
        await bench.after(0)
        bench.fake.mangle = odd
        for _ in range(22):
            bench.guard.lease(1000, "as planned")
            await bench.after(0.5)
        setpoints = sum(address == Hybrid.SET_W for address, _ in bench.written)
        assert setpoints == 3, "five seconds between two"
        assert budget._used("set_w") == setpoints, "nothing says that they were not carried out"

    run(check)


def test_s5_what_was_not_sent_is_not_counted() -> None:
    async def check(bench: Bench) -> None:
        budget = bounded(bench, 100_000)
        await bench.follow(1000)
        before = budget._used("set_w")
        with pytest.raises(TooLateError):
            await bench.guard._battery.command(500, 2000, 60, bench.clock.monotonic() - 1)
        assert before > 0
        assert budget._used("set_w") == before

    run(check)


def test_s5_a_release_that_is_never_acknowledged_is_tried_again_ever_later() -> None:
    async def check(bench: Bench) -> None:
        await bench.follow(1000)
        bench.fake.mangle = lambda request, answer: answer if request[7] != 6 else answer[:-1] + b"x"
        bench.guard.release("enough")
        for _ in range(600):
            bench.clock.advance(timedelta(seconds=0.5))
            await bench.guard.step()
        assert bench.written == [RELEASE] * 10, "then after 1, 2, 4, 8, 16, 32, 60, 60 and 60 s"
        assert [level for level, _ in bench.notices] == ["warning"]

    run(check)


def test_s5_a_spent_budget_leaves_the_battery_on_its_own_until_the_day_ends() -> None:
    async def check(bench: Bench) -> None:
        bounded(bench, 1000, written=997)
        await bench.follow(1000)
        for _ in range(60):
            bench.guard.lease(1000, "as planned")
            await bench.after(1)
        assert sum(address == Hybrid.SET_W for address, _ in bench.written) == 1, "there was one refresh left"
        assert bench.written[-1] == RELEASE
        assert "was written as often today (UTC) as its memory bears" in bench.guard.status.reason
        assert bench.brakes.given_up() is None, "and no person is needed"
        bench.clock.advance(timedelta(hours=14))
        for _ in range(60):
            bench.guard.lease(1000, "as planned")
            await bench.after(1)
        assert bench.guard.status.control == "following"
        assert [level for level, _ in bench.notices] == ["warning", "info"]

    run(check)


def test_setpoint_follows_the_sun_so_that_the_battery_keeps_its_power() -> None:
    async def check(bench: Bench) -> None:
        await bench.follow(-500)
        bench.hybrid.set_powers(ac_w=1500, battery_w=-300)  # the sun fell by 200 W
        await bench.after(6)
        assert (Hybrid.SET_W, (0, 1300)) in bench.written
        await bench.after(0.1)
        assert bench.device.latest is not None
        assert bench.device.latest.values["battery_w"] == -500

    run(check)


def test_s7_battery_is_released_when_the_lease_ends() -> None:
    async def check(bench: Bench) -> None:
        await bench.follow(1000)
        await bench.after(14.5)
        assert bench.guard.status.control == "following"
        await bench.after(0.6)
        assert bench.written == [RELEASE]
        assert bench.guard.status.reason == "no fresh wish from the plan"
        await bench.after(1)
        assert bench.written == [RELEASE], "released once"

    run(check)


def test_s8_battery_is_released_when_its_readings_are_old_or_unknown() -> None:
    async def check(bench: Bench) -> None:
        await bench.follow(1000)
        for _ in range(4):
            bench.guard.lease(1000, "as planned")
            bench.clock.advance(timedelta(seconds=5))
            await bench.guard.step()
        assert bench.written[-1] == RELEASE
        assert bench.guard.status.reason == "no fresh reading of the battery"
        bench.fake.log.clear()
        bench.hybrid[Hybrid.SOC] = 0xFFFF
        bench.guard.lease(1000, "as planned")
        await bench.after(1)
        assert bench.written == []
        assert bench.guard.status.control == "released"

    run(check)


def test_s7_a_slow_device_is_no_dead_guard_and_a_look_that_never_ends_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent.control.pulse, "BEAT_S", 0.005)
    beats: list[float] = []

    async def check(bench: Bench) -> None:
        answers = asyncio.Event()

        async def slow() -> str | None:
            await answers.wait()
            return None

        battery = bench.guard._battery
        guard = Guard(
            battery,
            Envelope(charge_w=3000, discharge_w=3000),
            bench.clock,
            LIVE,
            lambda level, text: None,
            permit=slow,
            brakes=bench.brakes,
            alive=lambda: beats.append(bench.clock.monotonic()),
        )
        running = asyncio.create_task(guard.run())

        async def beating() -> bool:
            await asyncio.sleep(0.02)
            before = len(beats)
            await asyncio.sleep(0.05)
            return len(beats) > before

        assert await beating()
        bench.clock.advance(timedelta(seconds=battery.look_s - 1))
        assert await beating(), "as long as the link's own limits explain it"
        bench.clock.advance(timedelta(seconds=2))
        assert not await beating()
        answers.set()
        assert await beating()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        assert not await beating()

    run(check)


def test_s3_discharge_stops_at_the_reserve_at_once() -> None:
    async def check(bench: Bench) -> None:
        await bench.follow(1000)
        bench.hybrid[Hybrid.SOC] = 2000
        await bench.after(0.2)
        assert (Hybrid.SET_W, (0, 2000)) in bench.written, "the sun's 2000 W, nothing of the battery"
        assert bench.guard.status.target_w == 0

    run(check)


@pytest.mark.parametrize("target_w", [float("nan"), float("inf"), float("-inf")])
def test_s2_wish_that_is_no_number_releases(target_w: float) -> None:
    async def check(bench: Bench) -> None:
        await bench.follow(1000)
        bench.guard.lease(target_w, "nonsense")
        await bench.after(0.1)
        assert bench.written == [RELEASE]

    run(check)


@pytest.mark.parametrize(
    ("register", "word", "says"),
    [
        (Hybrid.SET_W + 1, 4500, "shows set_w 4500"),
        (Hybrid.ENABLE, 0, "shows set_enable 0"),
        (Hybrid.REVERT_S + 1, 3600, "shows revert_s 3600"),
    ],
)
def test_s12_somebody_else_who_writes_to_the_device_is_told_and_at_the_second_time_control_ends(
    register: int, word: int, says: str
) -> None:
    async def check(bench: Bench) -> None:
        await bench.follow(800)
        for time in (1, 2):
            for second in range(25):  # commanded anew, and then until the refresh looks
                if second == 2:
                    bench.hybrid[register] = word
                bench.guard.lease(800, "as planned")
                await bench.after(1)
            assert len(bench.notices) == time
            assert says in bench.notices[-1][1]
            assert "somebody else writes to it" in bench.notices[-1][1]
        assert [level for level, _ in bench.notices] == ["warning", "error"]
        assert bench.written[-1] == RELEASE
        assert "somebody else" in str(bench.brakes.given_up())

    run(check)


def test_s12_a_timer_that_counts_down_is_no_foreign_writer() -> None:
    async def check(bench: Bench) -> None:
        await bench.follow(800)
        for second in range(60):
            bench.hybrid[Hybrid.REVERT_S + 1] = 60 - second % 20
            bench.guard.lease(800, "as planned")
            await bench.after(1)
        assert bench.notices == []
        assert bench.guard.status.control == "following"

    run(check)


def test_s12_what_the_timer_ended_while_the_guard_stood_still_is_no_foreign_writer() -> None:
    async def check(bench: Bench) -> None:
        await bench.follow(800)
        for _ in range(3):
            bench.hybrid[Hybrid.ENABLE] = 0  # its timer ran out
            bench.clock.advance(timedelta(seconds=59))  # no outage yet
            for _ in range(5):
                bench.guard.lease(800, "as planned")
                await bench.after(1)
        assert bench.notices == []
        assert bench.guard.status.control == "following"
        assert bench.hybrid[Hybrid.ENABLE] == 1

    run(check)


def test_s12_what_was_given_up_stays_so_when_another_device_answered_meanwhile() -> None:
    answers = ["", "it is another device", ""]

    async def permit() -> str | None:
        return (answers.pop(0) if len(answers) > 1 else answers[0]) or None

    async def check(bench: Bench) -> None:
        await bench.follow(500)
        bench.brakes.give_up("the battery shows 0 W where 500 W was commanded")
        for _ in range(2):  # who answers now is looked at: first the other one, then the right one again
            await bench.device.link.close()
            await bench.after(6)
        await bench.after(6)
        assert bench.guard.status.control == "released", "not observed only: it may be written to again"
        bench.fake.log.clear()
        bench.guard.lease(500, "as planned")
        await bench.after(1)
        assert bench.written == []
        assert "control was given up: the battery shows 0 W" in bench.guard.status.reason

    run(check, permit=permit)


def test_s12_battery_that_goes_the_wrong_way_is_released_for_good() -> None:
    async def check(bench: Bench) -> None:
        bench.fake.on_write = lambda address: bench.hybrid.set_powers(ac_w=1000, battery_w=-1000)
        await bench.after(0)
        for _ in range(14):
            bench.guard.lease(1000, "as planned")
            await bench.after(1)
        assert bench.guard.status.control == "released"
        assert not bench.guard.status.obeys, "plans count on it no more"
        ((level, text),) = bench.notices
        assert level == "error"
        assert (
            "until you reset it with `commonwatt stop --resume`: the battery shows -1000 W where 1000 W was commanded"
            in text
        )
        assert bench.written[-1] == RELEASE
        bench.fake.on_write = lambda address: bench.hybrid.obey()
        bench.fake.log.clear()
        bench.guard.lease(1000, "as planned")
        await bench.after(1)
        assert bench.written == [], "the latch holds"
        bench.brakes.resume()
        await bench.after(1)
        await bench.after(1)
        assert bench.written[0] == RELEASE
        assert bench.guard.status.control == "following"

    run(check)


def test_s12_what_was_given_up_holds_on_a_full_disk_too_and_is_kept_as_soon_as_there_is_room() -> None:
    async def check(bench: Bench) -> None:
        await bench.follow(1000)
        bench.brakes.full = True
        bench.fake.on_write = lambda address: bench.hybrid.set_powers(ac_w=1000, battery_w=-1000)
        for _ in range(30):
            bench.guard.lease(1000, "as planned")
            await bench.after(1)
        ((level, text),) = bench.notices
        assert level == "error"
        assert "the battery shows -1000 W where 1000 W was commanded. That is not on the disk yet" in text
        assert "No space left on device" in text
        assert bench.written[-1] == RELEASE
        assert bench.brakes.given_up() is None
        bench.brakes.full = False
        await bench.after(1)
        assert "the battery shows -1000 W" in str(bench.brakes.given_up())
        bench.fake.on_write = lambda address: bench.hybrid.obey()
        bench.brakes.resume()
        for _ in range(6):
            bench.guard.lease(1000, "as planned")
            await bench.after(1)
        assert bench.guard.status.control == "following", "a person's word counts again"

    run(check)


def test_s12_a_device_whose_timer_cannot_be_set_is_given_up_on_a_full_disk_too() -> None:
    async def check(bench: Bench) -> None:
        bench.fake.keeps = {Hybrid.REVERT_S, Hybrid.REVERT_S + 1}
        bench.fake.on_write = lambda address: setattr(bench.brakes, "full", address == Hybrid.REVERT_S)
        await bench.after(0)
        bench.guard.lease(1000, "as planned")
        await bench.after(1)
        assert "That is not on the disk yet" in bench.notices[0][1]
        bench.fake.log.clear()
        for _ in range(10):
            bench.guard.lease(1000, "as planned")
            await bench.after(1)
        assert bench.written == [], "it was written to once and is left alone"
        assert [level for level, _ in bench.notices] == ["error"]

    run(check)


def test_s12_control_does_not_begin_where_it_could_not_be_kept_that_it_was_given_up() -> None:
    """A guard that starts anew does not know whether the one before it gave up without being able to say so."""

    async def check(bench: Bench) -> None:
        bench.brakes.full = True
        await bench.after(0)
        for _ in range(20):
            bench.guard.lease(1000, "as planned")
            await bench.after(1)
        assert set(bench.written) == {RELEASE}
        assert [level for level, _ in bench.notices] == ["warning"]
        assert "No space left on device" in bench.guard.status.reason
        bench.brakes.full = False
        for _ in range(6):
            bench.guard.lease(1000, "as planned")
            await bench.after(1)
        assert bench.guard.status.control == "following"

    run(check)


def test_write_that_is_acknowledged_and_not_carried_out_ends_control() -> None:
    async def check(bench: Bench) -> None:
        bench.fake.keeps = {Hybrid.SET_W + 1}
        await bench.after(0)
        for _ in range(15):
            bench.guard.lease(1000, "as planned")
            await bench.after(1)
        assert bench.guard.status.control == "released"
        ((level, text),) = bench.notices
        assert level == "error"
        assert "shows set_w 0.0 after 3000 was written" in text
        assert bench.written[-1] == RELEASE

    run(check)


def test_battery_is_followed_anew_after_the_link_was_lost() -> None:
    async def check(bench: Bench) -> None:
        await bench.follow(1000)
        await bench.fake.stop()
        bench.guard.lease(2000, "as planned")
        bench.clock.advance(timedelta(seconds=6))
        await asyncio.sleep(0.05)
        await bench.guard.step()
        ((level, text),) = bench.notices
        assert level == "warning"
        assert "its own timer releases it within 60 s" in text
        assert bench.guard.status.control == "released"
        await bench.fake.start()
        bench.fake.log.clear()
        for _ in range(20):
            bench.guard.lease(2000, "as planned")
            with contextlib.suppress(LinkDownError):
                await bench.after(1)
        assert bench.guard.status.control == "following"
        assert bench.fake.writes[0].address in (Hybrid.REVERT_S, Hybrid.SET_W)
        assert bench.notices[1:] == [("info", "battery: the battery can be commanded again")]

    run(check)


def test_s15_stop_releases_and_nothing_follows_it() -> None:
    async def check(bench: Bench) -> None:
        running = asyncio.create_task(bench.guard.run())
        await bench.device.poll()
        await asyncio.sleep(0.05)
        bench.guard.lease(1000, "as planned")
        async with asyncio.timeout(2):
            while bench.guard.status.control != "following":
                await asyncio.sleep(0.01)
            await bench.guard.stop()
            await running
        assert bench.written[-1] == RELEASE
        before = len(bench.fake.writes)
        bench.guard.lease(1000, "too late")
        await bench.after(1)
        assert all(write == RELEASE for write in bench.written[before:])

    run(check)


def test_guard_that_is_cancelled_releases_on_its_way_out() -> None:
    async def check(bench: Bench) -> None:
        await bench.follow(1000)
        running = asyncio.create_task(bench.guard.run())
        await asyncio.sleep(0.05)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        assert bench.written[-1] == RELEASE

    run(check)


def test_device_without_control_cannot_be_guarded() -> None:
    async def main() -> None:
        clock = ManualClock(datetime(2024, 6, 12, tzinfo=UTC))
        at = DeviceSettings(profile="sunspec_pv", url="tcp://127.0.0.1:1")
        with pytest.raises(ConfigError, match="roof: profile sunspec_pv controls no battery"):
            Battery(open_device("roof", at, LinkPool(clock), clock))

    asyncio.run(main())
