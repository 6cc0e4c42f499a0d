"""Every fault of the catalogue, switched on by name, and what the agent makes of it. The id is in each test's name."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from fault_bench import NOON, TIMEOUT_S, Bench, Controlled, bench, controlled
from guard_parts import MemoryBrakes, permitted

from agent.control.controller import Release, decide
from agent.control.envelope import Envelope
from agent.control.guard import Guard
from agent.control.settings import ControlSettings
from agent.devices.address import Line
from agent.devices.battery import Battery
from agent.devices.bounds import bounds
from agent.devices.device import Device
from agent.devices.errors import (
    BadAnswerError,
    DeviceRefusedError,
    LinkDownError,
    NoAnswerError,
    WrongDeviceError,
)
from agent.devices.link import ModbusLink
from agent.devices.link_limits import LinkLimits
from agent.devices.opening import link_limits
from agent.devices.profile import available_profiles, load_profile
from agent.simulator.exhibit import Wire
from agent.simulator.faults import CATALOGUE, FAULTS
from agent.simulator.frames import Frame
from agent.simulator.server import ModbusServer, Reply, answer_units
from coordinator.clock import ManualClock, WallClock
from coordinator.slots import Slot

Check = Callable[[Bench], Awaitable[None]]
QUICK = LinkLimits(timeout_s=TIMEOUT_S)
RETRY = LinkLimits(timeout_s=TIMEOUT_S, retries=1)
SH = {"grid_w": 1500.0, "meter_w": 1500.0, "pv_w": 4000.0, "battery_w": -2500.0, "soc_pct": 55.0}


def run(fault: str, check: Check, profile: str = "sungrow_sh", **options: object) -> None:
    """Run `check` on a device that had one good poll and then got its fault."""

    async def main() -> None:
        async with bench(fault, profile, **options) as it:  # type: ignore[arg-type]
            await it.device.poll()
            it.misbehave()
            await check(it)

    asyncio.run(main())


def shows(it: Bench, wanted: dict[str, float]) -> bool:
    assert it.device.latest is not None
    return {name: it.device.latest.values[name] for name in wanted} == wanted


def test_every_fault_of_the_catalogue_has_a_test_with_its_id() -> None:
    tested = {found[1].upper() for name in globals() if (found := re.match(r"test_(f\d\d)_", name))}
    assert {fault.id for fault in CATALOGUE} == {f"F{number:02}" for number in range(1, 39)} == tested
    assert len(FAULTS) == len(CATALOGUE), "two faults have one name"


@pytest.mark.parametrize(("fault", "knobs"), [("silent", {}), ("slow_answer", {"delay_s": 0.3})])
def test_f01_silence_makes_values_stale_with_their_age_and_never_zero(fault: str, knobs: dict[str, float]) -> None:
    async def check(it: Bench) -> None:
        assert isinstance(await it.fails(), NoAnswerError)
        assert shows(it, SH)
        reading = it.home(later_s=6)
        assert (reading.quality, reading.grid_w) == ("stale", 1500)
        forgotten = it.home(later_s=60)
        assert (forgotten.quality, forgotten.grid_w) == ("absent", None)

    run(fault, check, knobs=knobs, values=SH.copy, limits=QUICK)


def test_f02_all_our_tasks_share_one_connection_and_a_refused_one_names_the_likely_cause() -> None:
    async def check(it: Bench) -> None:
        await asyncio.gather(*(it.device.read_points(["pv_w"]) for _ in range(5)))
        assert it.link.counters.connects == 1
        stranger = ModbusLink(it.exhibit.url, it.clock, LinkLimits(timeout_s=TIMEOUT_S, max_connections=1))
        with pytest.raises(LinkDownError, match=r"is another program connected to it\? \(it allows one connection"):
            await stranger.read(await stranger.open(), 1, 4, 13022, 1)
        await stranger.close()
        assert await it.polls(3) == (3, 0), "the first one is not disturbed"

    run("one_client", check)


def test_f02_whoever_loses_the_only_connection_backs_off() -> None:
    async def check(it: Bench) -> None:
        thief = ModbusLink(it.exhibit.url, it.clock, LinkLimits(timeout_s=TIMEOUT_S))
        await thief.open()
        assert isinstance(await it.fails(), LinkDownError)
        await it.polls(30)
        assert it.link.counters.connects <= 2
        await thief.close()
        await it.recovers()

    run("newest_client", check)


def test_f03_a_port_in_use_is_tried_again_without_a_storm() -> None:
    async def check(it: Bench) -> None:
        await it.link.close()
        await asyncio.sleep(0.02)
        await it.polls(40)
        assert it.link.counters.connects <= 3
        await it.recovers()

    run("port_in_use", check, knobs={"busy_after_close_s": 0.3})


def test_f03_a_connection_closed_for_idleness_is_made_again_at_the_next_poll() -> None:
    async def check(it: Bench) -> None:
        await it.link.close()
        await it.polls(1)
        await asyncio.sleep(0.25)
        await it.recovers(within_s=1)

    run("idle_close", check, knobs={"idle_close_s": 0.1})


def test_f04_a_swallowed_first_request_is_asked_again() -> None:
    async def check(it: Bench) -> None:
        await it.link.close()
        assert await it.polls(1) == (1, 0)
        assert it.link.counters.silences == 1

    run("first_request_lost", check, limits=RETRY)


def test_f04_a_device_that_is_ready_late_is_waited_for_after_connecting() -> None:
    async def check(it: Bench) -> None:
        await it.link.close()
        assert await it.polls(1) == (1, 0)
        assert it.link.counters.silences == 0

    wait = LinkLimits(timeout_s=TIMEOUT_S, connect_wait_s=0.25)
    run("slow_start", check, limits=wait, knobs={"ready_after_s": 0.2})


def test_f05_requests_keep_the_gap_that_the_profile_asks_for() -> None:
    async def paced(it: Bench) -> None:
        assert await it.polls(2) == (2, 0)

    async def hasty(it: Bench) -> None:
        assert isinstance(await it.fails(), NoAnswerError)

    run("impatient", paced, limits=LinkLimits(timeout_s=5, gap_s=0.03), knobs={"min_gap_s": 0.025})
    run("impatient", hasty, knobs={"min_gap_s": 0.025}, limits=QUICK)


@pytest.mark.parametrize(("wire", "silences"), [("tcp", 2), ("rtu+tcp", 4), ("serial", 10)])
def test_f06_a_half_open_connection_is_given_up_after_some_silences_and_made_again(wire: Wire, silences: int) -> None:
    async def check(it: Bench) -> None:
        assert await it.polls(silences - 1) == (0, silences - 1)
        assert it.link.connected
        assert await it.polls(1) == (0, 1)
        assert not it.link.connected
        it.misbehave(False)
        await it.recovers()

    run("half_open", check, wire=wire, limits=LinkLimits(timeout_s=0.1))


@pytest.mark.parametrize("name", [name for name in available_profiles() if load_profile(name).link.tcp])
def test_f06_a_half_open_connection_of_any_profile_is_noticed_within_ten_seconds(name: str) -> None:
    limits = link_limits(load_profile(name), "tcp://127.0.0.1:502", Line())
    link = ModbusLink("tcp://127.0.0.1:502", ManualClock(NOON), limits)
    assert link.silent_limit * limits.timeout_s <= 10


@pytest.mark.parametrize("fault", ["close_after_answer", "close_mid_frame"])
def test_f07_a_closed_connection_costs_one_poll(fault: str) -> None:
    async def check(it: Bench) -> None:
        history = []
        for _ in range(8):
            history.append((await it.polls(1))[1])
            await asyncio.sleep(0.01)
        assert sum(history) <= 3
        assert "11" not in "".join(map(str, history)), "never two polls in a row"
        assert it.link.counters.connects >= 2

    run(fault, check, "sunspec_hybrid", limits=RETRY)


@pytest.mark.parametrize("wire", ["rtu+tcp", "serial"])
@pytest.mark.parametrize("fault", ["noise", "second_master", "bad_crc"])
def test_f08_noise_and_broken_checksums_are_passed_over_and_asked_again(wire: Wire, fault: str) -> None:
    async def check(it: Bench) -> None:
        assert await it.polls(4) == (4, 0)
        assert shows(it, SH)
        assert (it.link.counters.bad_answers > 0) is (fault == "bad_crc")

    run(fault, check, wire=wire, limits=RETRY, values=SH.copy)


def test_f08_a_local_echo_is_taken_off_where_the_owner_says_so() -> None:
    async def check(it: Bench) -> None:
        assert await it.polls(2) == (2, 0)
        assert shows(it, SH)

    async def main() -> None:
        async with bench("echo", wire="serial", line=Line(echo=True), values=SH.copy) as it:
            it.misbehave()
            await check(it)

    asyncio.run(main())
    run("echo", check, wire="serial", values=SH.copy)  # reads survive an echo that nobody mentioned


@pytest.mark.parametrize("wire", ["rtu+tcp", "serial"])
def test_f09_a_late_answer_is_never_taken_for_the_next_one(wire: Wire) -> None:
    # Sun, battery and meter are three reads of the same function and length: nothing in the bytes tells them apart.
    async def check(it: Bench) -> None:
        good = 0
        for _ in range(9):
            good += (await it.polls(1))[0]
            assert shows(it, SH), "a value of another register"
        assert good >= 1
        assert it.link.counters.silences >= 2
        assert it.link.counters.resyncs >= 1

    run("late_answer", check, wire=wire, values=SH.copy, limits=RETRY, knobs={"delay_s": 0.22, "late_every": 5})


def test_f09_a_task_that_waits_its_turn_is_not_given_the_late_answer_of_the_one_before() -> None:
    async def check(it: Bench) -> None:
        wanted = ["pv_w", "battery_w", "meter_w"] * 4
        read = await asyncio.gather(*(it.device.read_points([name]) for name in wanted), return_exceptions=True)
        answered = [(name, values) for name, values in zip(wanted, read, strict=True) if isinstance(values, dict)]
        assert answered
        assert all(values == {name: SH[name]} for name, values in answered)
        assert it.link.counters.silences >= 1

    late = {"delay_s": 0.22, "late_every": 5}
    run("late_answer", check, wire="rtu+tcp", values=SH.copy, limits=QUICK, knobs=late)


def test_f09_nothing_is_written_while_an_answer_is_overdue() -> None:
    async def check(it: Bench) -> None:
        with pytest.raises(NoAnswerError):
            await it.device.read_points(["pv_w"])
        it.misbehave(False)
        with pytest.raises(NoAnswerError, match="nothing is written until a read settled"):
            await it.device.write_point("heartbeat_s", 60)
        await it.device.read_points(["soc_pct"])
        await it.device.write_point("heartbeat_s", 60)
        assert it.exhibit.device.writes == [(13079, (60,))]

    run("silent", check, wire="rtu+tcp", limits=QUICK)


def test_f10_registers_that_are_refused_are_absent_and_left_alone_while_the_others_go_on() -> None:
    async def check(it: Bench) -> None:
        assert await it.polls(1) == (1, 0)
        assert it.device.latest is not None
        assert it.device.latest.values["meter_w"] is None
        assert shows(it, {"grid_w": 1500.0, "pv_w": 4000.0, "soc_pct": 55.0})
        refusals = it.link.counters.refusals
        await it.polls(5)
        assert it.link.counters.refusals == refusals, "asked again after minutes only"

    run("missing_registers", check, values=SH.copy)


def test_f11_a_busy_device_is_asked_again_after_a_pause() -> None:
    async def check(it: Bench) -> None:
        assert await it.polls(5) == (5, 0)
        assert it.link.counters.refusals > 0

    run("busy", check, "eastron_sdm120", knobs={"refuse_count": 2})


def test_f11_a_device_that_stays_busy_keeps_its_connection_and_its_last_values() -> None:
    async def check(it: Bench) -> None:
        error = await it.fails()
        assert isinstance(error, DeviceRefusedError)
        assert error.code == 6
        assert it.link.counters.connects == 1
        assert shows(it, SH)

    run("always_busy", check, values=SH.copy)


@pytest.mark.parametrize(("fault", "code"), [("no_path", 10), ("unit_away", 11)])
def test_f12_a_unit_that_its_gateway_cannot_reach_is_away_and_the_others_go_on(fault: str, code: int) -> None:
    async def check(it: Bench) -> None:
        honest = answer_units({1: it.exhibit.device})

        async def gateway(request: Frame) -> bytes | Reply | None:
            return await (honest(request) if request.unit == 1 else it.exhibit.line(replace(request, unit=1)))

        server = ModbusServer(gateway, "127.0.0.1", 0)
        await server.start()
        link = ModbusLink(f"tcp://127.0.0.1:{server.port}", it.clock, LinkLimits(timeout_s=TIMEOUT_S))
        profile = load_profile("sungrow_sh")
        there, away = Device("there", profile, link, it.clock, 1), Device("away", profile, link, it.clock, 2)
        with pytest.raises(DeviceRefusedError) as caught:
            await away.poll()
        assert caught.value.code == code
        assert (await there.poll()).values["pv_w"] == 4000
        assert link.counters.connects == 1
        await link.close()
        await server.stop()

    run(fault, check, values=SH.copy, knobs={"answers_as": 2})


@pytest.mark.parametrize(("fault", "code"), [("exception_zero", 0), ("login_needed", 0x80)])
def test_f13_exception_codes_of_no_standard_are_refusals(fault: str, code: int) -> None:
    async def check(it: Bench) -> None:
        error = await it.fails()
        assert isinstance(error, DeviceRefusedError)
        assert error.code == code
        assert f"Modbus exception {code}" in str(error)

    run(fault, check)


@pytest.mark.parametrize("wire", ["tcp", "rtu+tcp"])
def test_f14_answers_of_another_unit_are_not_ours(wire: Wire) -> None:
    async def check(it: Bench) -> None:
        assert isinstance(await it.fails(), NoAnswerError | BadAnswerError)
        assert shows(it, SH)

    run("wrong_unit", check, wire=wire, values=SH.copy, limits=QUICK)


def test_f14_another_device_at_the_address_is_neither_read_nor_written() -> None:
    async def check(it: Bench) -> None:
        await it.link.close()
        assert isinstance(await it.fails(), WrongDeviceError)
        with pytest.raises(WrongDeviceError):
            await it.device.write_point("heartbeat_s", 60)
        assert it.exhibit.device.writes == []

    run("other_device", check)


@pytest.mark.parametrize("profile", ["sungrow_sh", "sunspec_storage", "huawei_sun2000", "janitza_umg"])
def test_f15_what_means_absent_is_absent_and_not_a_number(profile: str) -> None:
    async def check(it: Bench) -> None:
        await it.device.poll()
        assert it.device.latest is not None
        powers = {name: it.device.latest.values.get(name) for name in ("grid_w", "pv_w", "battery_w", "ac_w")}
        spec = it.device.profile.points
        gone = [name for name in powers if name in spec and spec[name].access == "r"]
        assert gone
        # Huawei's word for absent is another one: the type's usual one is out of range there.
        assert [powers[name] for name in gone] == [None] * len(gone)
        assert it.home().quality == "absent"

    run("sentinel", check, profile)


def test_f16_a_torn_value_is_doubtful_until_the_next_poll_confirms_it() -> None:
    grid = iter([1500.0, 1500.0, 1400.0, -300.0, -300.0, -300.0])
    values = SH.copy()

    async def main() -> None:
        async with bench("torn_value", values=lambda: values) as it:
            it.misbehave()
            doubts = []
            for power in grid:
                values["grid_w"] = values["meter_w"] = power
                await it.device.poll()
                assert it.device.latest is not None
                doubts.append("grid_w" in it.device.latest.doubtful)
                right = it.device.latest.values["grid_w"] in (1500, 1400, -300)
                assert right or doubts[-1], "a torn value that was believed"
            assert not doubts[0]
            assert not doubts[-1]

    asyncio.run(main())


def test_f17_a_scale_factor_is_used_with_the_values_of_its_own_frame_only() -> None:
    async def check(it: Bench) -> None:
        for _ in range(4):
            await it.device.poll()
            assert it.device.latest is not None
            assert it.device.latest.values["pv_w"] == pytest.approx(4000, abs=20)
            assert it.device.latest.values["battery_w"] == pytest.approx(-2500, abs=20)

    values = {"ac_w": 1500.0, "pv1_w": 2500.0, "pv2_w": 1500.0, "charging_w": -2500.0, "discharging_w": 0.0}
    run("scale_change", check, "sunspec_storage", values=values.copy)


def test_f18_a_pv_inverter_that_faded_out_sleeps_and_one_that_vanishes_in_the_sun_has_failed() -> None:
    values = {"pv_w": 3000.0, "pv_wh": 5_000_000.0}

    async def check(it: Bench) -> None:
        assert isinstance(await it.fails(), LinkDownError)
        it.misbehave(False)
        values["pv_w"] = 12.0
        await it.recovers()
        it.misbehave()
        await it.device.poll()
        asleep = it.device.latest
        assert asleep is not None
        assert asleep.asleep
        assert (asleep.values["pv_w"], asleep.values["pv_wh"]) == (0, 5_000_000)
        it.misbehave(False)
        values["pv_w"] = 40.0
        await asyncio.sleep(1.1)
        await it.recovers()
        assert it.device.latest is not None
        assert (it.device.latest.asleep, it.device.latest.values["pv_w"]) == (False, 40)

    run("night", check, "sunspec_pv", values=lambda: values)


def test_f18_a_power_that_is_absent_at_night_is_zero_and_in_the_sun_unknown() -> None:
    values = {"pv_w": 30.0, "pv_wh": 5_000_000.0}

    async def check(it: Bench) -> None:
        sample = await it.device.poll()
        assert (sample.asleep, sample.values["pv_w"]) == (True, 0)
        it.misbehave(False)
        values["pv_w"] = 3000.0
        await it.device.poll()
        it.misbehave()
        sample = await it.device.poll()
        assert (sample.asleep, sample.values["pv_w"]) == (False, None)

    run("night_absent", check, "sunspec_pv", values=lambda: values)


def test_f18_a_hybrid_without_sun_still_shows_its_battery() -> None:
    values = {"pv1_w": 20.0, "pv2_w": 0.0, "soc_pct": 60.0, "charging_w": 0.0, "discharging_w": 700.0}

    async def main() -> None:
        async with bench("night_absent", "sma_storage", values=lambda: values) as it:
            await it.device.poll()
            it.misbehave()
            sample = await it.device.poll()
            assert sample.asleep
            known = {name: sample.values[name] for name in ("pv_w", "battery_w", "soc_pct")}
            assert known == {"pv_w": 0, "battery_w": 700, "soc_pct": 60}

    asyncio.run(main())


def test_f18_totals_that_are_zero_for_some_polls_at_dawn_are_never_believed() -> None:
    values = {"pv_w": 12.0, "pv_wh": 5_000_000.0}

    async def check(it: Bench) -> None:
        await it.device.poll()
        it.misbehave(False)
        values.update(pv_w=40.0, pv_wh=0.0)
        await asyncio.sleep(1.1)
        await it.recovers()
        seen = []
        for total in (0.0, 0.0, 5_000_100.0, 5_000_200.0):
            values["pv_wh"] = total
            seen.append((await it.device.poll()).values["pv_wh"])
        assert all(total is None or total >= 5_000_000 for total in seen)
        assert seen[-1] == 5_000_200

    run("night", check, "sunspec_pv", values=lambda: values)


METER = {"grid_w": 800.0, "import_wh": 5_000_000.0, "export_wh": 1_000_000.0}


@pytest.mark.parametrize(
    ("fault", "polls", "doubtful"),
    [("counter_drop", 2, 2), ("counter_jump", 1, 1), ("counter_negative", 0, 0), ("counter_coarse", 0, 0)],
)
def test_f19_a_counter_that_jumps_is_held_and_brings_no_energy(fault: str, polls: int, doubtful: int) -> None:
    values = METER.copy()

    async def main() -> None:
        async with bench(fault, "eastron_sdm120", values=lambda: values) as it:
            await it.device.poll()
            it.misbehave()
            seen, doubts = [], 0
            for _ in range(8):
                values["import_wh"] += 250
                sample = await it.device.poll()
                doubts += "import_wh" in sample.doubtful
                seen.append(sample.values["import_wh"])
            known = [value for value in seen if value is not None]
            assert doubts == doubtful
            assert known == sorted(known), "energy never runs backwards"
            assert all(value <= values["import_wh"] + 1 for value in known)
            assert (None in seen) is (fault == "counter_negative"), "a negative counter is no counter"

    asyncio.run(main())


def test_f19_a_counter_that_begins_again_goes_on_without_a_jump() -> None:
    values = METER.copy()

    async def main() -> None:
        async with bench("counter_reset", "eastron_sdm120", values=lambda: values) as it:
            await it.device.poll()
            it.misbehave()
            seen = []
            for _ in range(12):
                values["import_wh"] += 100
                sample = await it.device.poll()
                seen.append(sample.values["import_wh"] or 0.0)
            steps = [later - earlier for earlier, later in pairwise(seen)]
            assert min(steps) >= 0
            assert max(steps) <= 700
            assert steps[-1] == pytest.approx(100, abs=1)

    asyncio.run(main())


def test_f20_a_device_that_repeats_itself_for_minutes_is_doubtful() -> None:
    values = SH.copy()
    clock = ManualClock(NOON)

    async def check(it: Bench) -> None:
        for minute in range(12):
            values["grid_w"] = values["meter_w"] = 1500.0 + minute
            clock.advance(timedelta(seconds=60))
            await it.device.poll()
        assert it.home().quality == "doubtful"
        assert it.device.latest is not None
        assert it.device.latest.doubtful["grid_w"] == "nothing has changed for 12 min"
        it.misbehave(False)
        await it.device.poll()
        assert it.home().missing == ()

    run("frozen", check, values=lambda: values, clock=clock)


def test_f21_a_power_that_contradicts_its_phases_is_doubtful() -> None:
    phases = {f"grid_l{n}_w": 500.0 for n in (1, 2, 3)}

    async def check(it: Bench) -> None:
        assert it.device.latest is not None
        assert it.device.latest.doubtful == {}
        await it.device.poll()
        assert "it shows 15000 where grid_l1_w and" in it.device.latest.doubtful["grid_w"]
        assert it.home().quality == "doubtful"
        limits = Envelope(charge_w=4000, discharge_w=4000)
        slot = Slot.at(NOON, 900)
        decided = decide(it.home(), now=NOON, slot=slot, target_wh=0, net_so_far_wh=0.0, envelope=limits)
        assert isinstance(decided, Release), "nothing is controlled by a doubtful value"

    run("tenfold", check, "janitza_umg", values=lambda: phases | {"grid_w": 1500.0})


def test_f22_a_device_with_its_words_the_other_way_round_is_refused() -> None:
    async def check(it: Bench) -> None:
        await it.link.close()
        assert isinstance(await it.fails(), WrongDeviceError)

    run("swapped_words", check, "carlo_gavazzi_em340")


def test_f23_a_dongle_that_lacks_registers_gives_the_others() -> None:
    async def check(it: Bench) -> None:
        assert await it.polls(2) == (2, 0)
        reading = it.home()
        assert (reading.battery_w, reading.pv_w, reading.soc_pct) == (None, 4000, 55)
        assert reading.quality == "absent"
        assert "battery_w" in reading.missing

    run("dongle", check, values=SH.copy)


@pytest.mark.parametrize("fault", ["short_answer", "long_answer", "odd_bytes", "undecodable"])
@pytest.mark.parametrize("wire", ["tcp", "rtu+tcp"])
def test_f24_an_answer_of_the_wrong_length_is_dropped_and_the_link_survives(fault: str, wire: Wire) -> None:
    async def check(it: Bench) -> None:
        assert isinstance(await it.fails(), BadAnswerError)
        assert shows(it, SH)
        it.misbehave(False)
        await it.recovers()
        assert it.link.counters.connects == 1

    run(fault, check, wire=wire, values=SH.copy, limits=QUICK)


def test_f24_an_acknowledgement_with_the_payload_counts_for_nothing() -> None:
    async def check(it: Bench) -> None:
        with pytest.raises(BadAnswerError, match="acknowledgement"):
            await it.link.write(it.link.generation, 1, 13050, [0xCC, 1000], single=False)

    run("payload_echo", check, limits=QUICK)


@pytest.mark.parametrize("fault", ["duplicate", "transaction_zero", "single_bytes"])
def test_f25_duplicates_pieces_and_transaction_zero_give_the_right_values(fault: str) -> None:
    async def check(it: Bench) -> None:
        assert await it.polls(3) == (3, 0)
        assert shows(it, SH)

    run(fault, check, values=SH.copy)


def test_f25_an_answer_to_another_transaction_is_none() -> None:
    async def check(it: Bench) -> None:
        assert isinstance(await it.fails(), NoAnswerError)

    run("wrong_transaction", check, limits=QUICK)


def test_f26_a_command_without_effect_ends_control_and_is_told() -> None:
    async def check(it: Controlled) -> None:
        await it.live(40, -3000)
        assert it.given_up is not None
        assert "where" in it.given_up
        assert it.guard.status.control == "released"

    controlled("ack_only", check)


def test_f27_commands_that_somebody_takes_back_end_control_without_a_write_war() -> None:
    async def check(it: Controlled) -> None:
        await it.live(120, -3000)
        assert it.given_up is not None
        writes = len(it.exhibit.device.writes)
        assert writes < 40
        await it.live(60, -3000)
        assert len(it.exhibit.device.writes) <= writes + 2, "given up means given up"

    controlled("undone", check)


def test_f28_a_timer_shorter_than_documented_is_seen_by_its_effect() -> None:
    async def check(it: Controlled) -> None:
        await it.live(60, -3000)
        assert "where -3000 W was commanded" in str(it.given_up)
        assert it.guard.status.control == "released"

    controlled("short_timer", check)


def test_f28_a_timer_longer_than_documented_is_not_waited_for() -> None:
    async def check(it: Controlled) -> None:
        await it.live(30, -3000)
        assert it.battery_w == pytest.approx(-3000, abs=100)
        await it.guard.stop()
        assert it.exhibit.live.control.target_w is None

    controlled("long_timer", check)


def test_f29_a_command_that_stays_for_ever_ends_at_our_next_start() -> None:
    async def check(it: Controlled) -> None:
        await it.live(30, -3000)
        await it.live(200)  # the leases end, and with them the command
        assert it.exhibit.live.control.target_w is None
        it.guard.lease(-3000, "again")
        await it.live(2, -3000)
        # The guard dies here; the device keeps its command, and the next guard begins with a release.
        assert it.exhibit.live.control.target_w is not None
        it.restart()
        await it.guard.step()
        assert it.exhibit.live.control.target_w is None

    controlled("no_reversion", check)


def test_f30_a_device_that_leaves_remote_control_by_itself_is_noticed() -> None:
    async def check(it: Controlled) -> None:
        await it.live(120, -3000)
        assert it.given_up is not None
        assert it.guard.status.control == "released"

    controlled("leaves_remote", check)


def test_f31_a_sluggish_battery_is_not_chased() -> None:
    async def check(it: Controlled) -> None:
        powers = []
        for _ in range(60):
            await it.live(1, -3000)
            powers.append(it.battery_w)
        assert powers == sorted(powers), "it approaches its target and never turns back"
        assert powers[-1] == pytest.approx(-3000, abs=250)
        assert it.guard.status.control == "following"

    controlled("sluggish", check)


def test_f32_no_register_is_written_more_often_than_the_timer_needs() -> None:
    async def check(it: Controlled) -> None:
        it.exhibit.device.writes.clear()
        await it.live(600, -2000)
        counts: dict[int, int] = {}
        for address, _ in it.exhibit.device.writes:
            counts[address] = counts.get(address, 0) + 1
        assert counts
        assert max(counts.values()) <= 600 / 20 + 25, "refreshes, and what the sun's changes need"

    controlled("worn_register", check, target_w=-2000)


def test_f33_a_value_in_two_words_goes_out_in_one_request_and_the_switch_last() -> None:
    async def check(it: Controlled) -> None:
        it.exhibit.device.writes.clear()
        await it.live(40, -3000)
        pairs = [values for _, values in it.exhibit.device.writes if len(values) == 2]
        assert pairs, "32-bit points are never written word by word"
        assert it.exhibit.live.control.target_w is None
        assert "shows its timer at 0" in str(it.given_up), "the timer is read back before the first setpoint"

    controlled("half_write", check)


def test_f34_a_battery_that_counts_the_other_way_ends_control() -> None:
    async def check(it: Controlled) -> None:
        await it.live(60, -3000)
        assert it.given_up is not None
        assert "where" in it.given_up

    controlled("opposite_sign", check)


def test_f35_timers_are_relative_and_a_longer_one_than_asked_for_is_ended_by_release() -> None:
    for name in available_profiles():
        control = load_profile(name).control
        for step in control.battery_w.cycle if control else ():
            assert not re.search(r"clock|hour|start|end_at|date", step.write), f"{name} writes clock times"

    async def check(it: Controlled) -> None:
        await it.live(30, -3000)
        await it.guard.stop()
        assert it.exhibit.live.control.target_w is None

    controlled("minutes", check)


@pytest.mark.parametrize(
    ("soc_pct", "wanted_w", "written_w"), [(9.0, 2000.0, 0), (50.0, 2000.0, 2000), (100.0, -2000.0, 0)]
)
def test_f36_limits_of_the_charge_are_kept_by_us(soc_pct: float, wanted_w: float, written_w: int) -> None:
    """The owner has no reserve; the profile says that the device keeps none either."""

    async def main() -> None:
        shown = {"soc_pct": soc_pct, "battery_w": 0.0, "pv1_w": 0.0, "pv2_w": 0.0}
        async with bench("no_limits", "foxess_h3", values=lambda: shown) as it:
            it.misbehave()
            await it.device.poll()
            bears = bounds(it.device.profile)
            assert bears is not None
            low_pct, high_pct = bears.soc_pct
            limits = Envelope(charge_w=3000, discharge_w=3000, reserve_pct=low_pct, max_pct=high_pct)
            guard = Guard(
                Battery(it.device),
                limits,
                it.clock,
                ControlSettings(enabled=True, ramp_pct_per_s=100),
                lambda level, text: None,
                permit=permitted,
                brakes=MemoryBrakes(),
            )
            await guard.step()
            it.exhibit.device.writes.clear()
            guard.lease(wanted_w, "as planned")
            await guard.step()
            assert [write for write in it.exhibit.device.writes if write[0] == 44002] == [(44002, (0, written_w))]
            assert it.exhibit.device.writes[-1] == (44000, (1,)), "under command, and the switch last"

    asyncio.run(main())


def test_f37_a_spike_is_dropped_and_never_clipped_to_the_limit() -> None:
    async def check(it: Bench) -> None:
        seen = []
        for _ in range(12):
            await it.device.poll()
            assert it.device.latest is not None
            seen.append(it.device.latest.values["soc_pct"])
        assert set(seen) == {55, None}

    run("spike", check, values=SH.copy)


def test_f38_a_setpoint_in_the_wrong_unit_is_seen_by_its_effect() -> None:
    async def check(it: Controlled) -> None:
        await it.live(60, -3000)
        assert it.given_up is not None

    controlled("percent", check)


def test_a_silent_unit_on_a_shared_line_costs_the_others_no_timeout_each_time() -> None:
    async def main() -> None:
        clock = WallClock()
        async with bench(None, values=SH.copy, limits=QUICK) as it:
            link = it.link
            profile = load_profile("sungrow_sh")
            dead = Device("dead", profile, link, clock, 9)
            await it.device.poll()
            started_s = clock.monotonic()
            rounds = 0
            while clock.monotonic() - started_s < 1.5:
                with pytest.raises((NoAnswerError, LinkDownError)):
                    await dead.poll()
                rounds += (await it.polls(1))[0]
            assert rounds >= 10, "without a rest for the silent unit it would be one per timeout"
            assert link.counters.silences <= 5

    asyncio.run(main())
