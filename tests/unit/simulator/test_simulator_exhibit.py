"""One simulated device with a fault, as anybody may use it to test something of their own."""

import asyncio
import contextlib
import re
import signal
import struct
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import CliRunner

from agent.cli.main import app
from agent.simulator.exhibit import Exhibit, ExhibitSettings
from agent.simulator.faults import CATALOGUE, find_fault
from agent.simulator.frames import ExceptionCode, ModbusError, RtuFrame, checksum, take_rtu
from agent.simulator.profile_device import ProfileDevice
from coordinator.clock import ManualClock
from coordinator.errors import ConfigError

PROFILE: dict[str, Any] = {
    "profile": "example",
    "title": "Example",
    "link": {"unit": 5},
    "identify": [
        {"fc": 3, "addr": 90, "length": 2, "starts_with": "AB"},
        {"fc": 3, "addr": 95, "type": "u16", "one_of": [7, 8]},
    ],
    "blocks": {"b": {"fc": 3, "addr": 10, "count": 10}},
    "points": {
        "grid_w": {"block": "b", "addr": 10, "type": "i32", "words": "little", "unit": "W", "sign": "export"},
        "pv_w": {"block": "b", "regs": [15, 13], "type": "u32", "scale": 0.1, "unit": "W", "sign": "production"},
        "power": {"block": "b", "addr": 17, "type": "i16"},
        "soc_pct": {"block": "b", "addr": 16, "type": "u16", "scale_from": "power", "unit": "%"},
        "set_w": {"block": "b", "addr": 18, "type": "i32", "unit": "W", "sign": "charge", "access": "rw"},
    },
}


def test_a_device_shows_the_house_s_values_as_its_profile_says() -> None:
    device = ProfileDevice(PROFILE, lambda: {"grid_w": -70_000.0, "pv_w": 6553.7, "power": -1.0, "soc_pct": 44.4})
    device.read(3, 10, 1)
    # Export of 70000 = 0x00011170, low word first; 65537 tenths with the high word at 15; 444 tenths of a per cent.
    assert device.read(3, 10, 8) == [0x1170, 0x0001, 0, 0x0001, 0, 0x0001, 444, 0xFFFF]
    assert device.read(3, 90, 2) == [0x4142, 0]
    assert device.read(3, 95, 1) == [7]


def test_what_the_profile_does_not_name_is_refused() -> None:
    device = ProfileDevice(PROFILE, dict)
    for function, address, count in ((4, 10, 1), (3, 9, 2), (3, 19, 2), (3, 92, 1)):
        with pytest.raises(ModbusError) as caught:
            device.read(function, address, count)
        assert caught.value.code is ExceptionCode.ILLEGAL_ADDRESS
    for address, values in ((10, [1, 2]), (18, [1]), (19, [1]), (18, [1, 2, 3])):
        with pytest.raises(ModbusError):
            device.write(address, values)
    device.write(18, [0xFFFF, 0xFC18])
    assert device.value("set_w") == 1000
    assert device.writes == [(18, (0xFFFF, 0xFC18))]


def test_requests_of_a_serial_line_are_found_in_pieces_noise_and_pairs() -> None:
    one = RtuFrame(unit=5, pdu=struct.pack(">BHH", 3, 10, 2)).encode()
    many = RtuFrame(unit=5, pdu=struct.pack(">BHHBHH", 16, 18, 2, 4, 1, 2)).encode()
    assert checksum(b"\x02\x07") == b"\x41\x12"
    assert take_rtu(one[:5]) == (None, one[:5])
    first, rest = take_rtu(b"\xff\x00" + one + many)
    assert (first, rest) == (RtuFrame(unit=5, pdu=one[1:-2]), many)
    assert take_rtu(many)[0] == RtuFrame(unit=5, pdu=many[1:-2])
    assert take_rtu(one[:-1] + b"\x00")[0] is None


def test_faults_have_an_id_a_name_and_words_and_a_wrong_name_gets_the_list() -> None:
    for fault in CATALOGUE:
        assert re.fullmatch(r"F\d\d", fault.id)
        assert re.fullmatch(r"[a-z_]+", fault.name)
        assert fault.words
    with pytest.raises(ConfigError, match=r"no fault 'late'; there are\n(.*\n)*  F09 late_answer: each third"):
        find_fault("late")


def test_a_fault_of_serial_lines_is_refused_over_modbus_tcp() -> None:
    clock = ManualClock(datetime(2024, 6, 12, 10, tzinfo=UTC))
    with pytest.raises(ConfigError, match="bad_crc needs a serial line: add --wire"):
        Exhibit(ExhibitSettings(profile=PROFILE, fault=find_fault("bad_crc")), clock)


def test_the_fault_can_be_switched_on_and_off_while_a_client_is_connected() -> None:
    async def main() -> None:
        clock = ManualClock(datetime(2024, 6, 12, 10, tzinfo=UTC))
        exhibit = Exhibit(ExhibitSettings(profile=PROFILE, fault=find_fault("exception_zero")), clock)
        exhibit.misbehave(False)
        await exhibit.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", int(exhibit.url.rsplit(":", 1)[1]))
        request = struct.pack(">HHHBBHH", 1, 0, 6, 5, 3, 95, 1)
        answers = []
        for on in (False, True, False):
            exhibit.misbehave(on)
            writer.write(request)
            answers.append((await reader.readexactly(9))[7:])
            if answers[-1][0] == 3:
                await reader.readexactly(2)
        writer.close()
        await exhibit.stop()
        assert answers == [b"\x03\x02", b"\x83\x00", b"\x03\x02"]

    asyncio.run(main())


def test_a_device_that_bears_one_client_refuses_the_second_even_in_order() -> None:
    async def main() -> None:
        clock = ManualClock(datetime(2024, 6, 12, 10, tzinfo=UTC))
        exhibit = Exhibit(ExhibitSettings(profile=PROFILE | {"limits": {"max_connections": 1}}), clock)
        await exhibit.start()
        port = int(exhibit.url.rsplit(":", 1)[1])
        _, first = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.05)
        reader, second = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                assert await reader.read(1) == b"", "it hangs up without a word"
        for writer in (first, second):
            writer.close()
        await exhibit.stop()

    asyncio.run(main())


def simulate(*options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "agent.cli.main", "simulator", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_the_command_serves_a_profile_with_a_fault_until_it_is_told_to_stop() -> None:
    process = simulate("--profile", "sungrow_sh", "--fault", "late_answer", "--port", "0", "--choose", "meter=other")
    assert process.stdout is not None
    try:
        first, second = process.stdout.readline(), process.stdout.readline()
        assert re.fullmatch(r"Sungrow SH hybrid inverter: tcp://127\.0\.0\.1:\d+  unit 1\n", first)
        assert second == "  fault F09 late_answer, from the start: each third answer comes 1.5 s late\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--fault", "list"], "F38 percent"),
        (["--fault", "nonsense"], "there is no fault 'nonsense'"),
        (["--profile", "sungrow"], "did you mean 'sungrow_sh'?"),
        (["--profile", "sungrow_sh", "--config", "x.toml"], "leave one of them out"),
        (["--port", "6001"], "--port is for one device: add --profile NAME"),
        (["--wire", "serial"], "--wire is for one device"),
        (["--choose", "meter=other"], "--choose is for one device"),
        (["--profile", "sungrow_sh", "--fault-after", "3"], "say which with --fault"),
        (["--profile", "sungrow_sh", "--choose", "meter=none"], "parameter meter cannot be 'none'"),
    ],
)
def test_what_cannot_be_simulated_is_said_in_a_line(options: list[str], words: str) -> None:
    result = CliRunner().invoke(app, ["simulator", *options])
    assert words in result.output + str(result.exception)
