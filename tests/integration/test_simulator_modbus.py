"""The simulated devices over real sockets, read by clients that share no code with them."""

import asyncio
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP

from agent.simulator.home import SimulatedHome
from agent.simulator.server import MAX_CONNECTIONS
from agent.simulator.settings import BatterySettings, GeneratorSettings, HomeSettings
from coordinator.clock import ScaledClock
from coordinator.errors import ConfigError

NOON = datetime(2025, 6, 10, 10, tzinfo=UTC)
BATTERY = BatterySettings(capacity_kwh=10.0, charge_kw=4.0, discharge_kw=4.0)
HYBRID = HomeSettings(name="hybrid", plant=GeneratorSettings(pv_kwp=5.0), battery=BATTERY, battery_lag_s=0.0)
PATIENCE_S = 5.0


class Network:
    """An event loop of its own, as the simulator's process has one; the synchronous clients live in the test."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._homes: list[SimulatedHome] = []
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    def home(self, settings: HomeSettings, speed: float = 1.0) -> SimulatedHome:
        home = SimulatedHome(settings, ScaledClock(NOON, datetime.now(UTC), speed))
        self.run(home.start())
        self._homes.append(home)
        return home

    def close(self) -> None:
        for home in self._homes:
            self.run(home.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def network() -> Iterator[Network]:
    network = Network()
    yield network
    network.close()


def scanned(port: int, unit: int = 1) -> SunSpecModbusClientDeviceTCP:
    device = SunSpecModbusClientDeviceTCP(slave_id=unit, ipaddr="127.0.0.1", ipport=port, timeout=PATIENCE_S)
    device.scan()
    device.connect()
    return device


def inverter_port(home: SimulatedHome) -> int:
    assert home.ports.inverter is not None
    return home.ports.inverter


def eventually(seen: Callable[[], bool]) -> bool:
    until = time.monotonic() + PATIENCE_S
    while not seen() and time.monotonic() < until:
        time.sleep(0.05)
    return seen()


def test_pysunspec2_scans_the_hybrid_and_finds_no_fault_in_any_model(network: Network) -> None:
    device = scanned(inverter_port(network.home(HYBRID)))
    try:
        assert [model.model_id for model in device.model_list] == [1, 103, 802, 704]
        assert [model.error_info for model in device.model_list] == ["", "", "", ""]
        assert (device.common[0].Mn.value, device.common[0].SN.value) == ("Commonwatt", "hybrid")
        storage = device.battery[0]
        assert storage.SoC.cvalue == pytest.approx(50, abs=0.1)
        assert storage.WHRtg.cvalue == 10_000
        # Self-consumption: what the sun gives beyond the load charges the battery, the inverter delivers the load.
        assert storage.W.cvalue < -300
        assert 50 < device.inverter_three_phase[0].W.cvalue < 4000
    finally:
        device.disconnect()


def test_pysunspec2_commands_the_battery_until_the_reversion_timer_runs_out(network: Network) -> None:
    device = scanned(inverter_port(network.home(HYBRID)))
    try:
        control, inverter = device.DERCtlAC[0], device.inverter_three_phase[0]

        def inverter_w() -> float:
            inverter.read()
            return float(inverter.W.cvalue)

        left_to_itself_w = inverter_w()
        control.WSetRvrtTms.value = 1
        control.write()
        control.WSet.cvalue = -1234
        control.WSetEna.value = 1
        control.write()
        assert eventually(lambda: inverter_w() == -1234)
        control.read()
        assert (control.WSetEna.value, control.WSetRvrtRem.value) == (1, 1)
        assert eventually(lambda: inverter_w() == pytest.approx(left_to_itself_w, abs=600))
        control.read()
        assert (control.WSetEna.value, control.WSetRvrtRem.value) == (0, 0)
    finally:
        device.disconnect()


def test_pysunspec2_scans_a_pv_inverter_without_battery_models(network: Network) -> None:
    home = network.home(HomeSettings(name="pv", plant=GeneratorSettings(pv_kwp=3.0)))
    device = scanned(inverter_port(home))
    device.disconnect()
    assert [model.model_id for model in device.model_list] == [1, 103]


def test_a_home_with_neither_sun_nor_battery_has_a_meter_only(network: Network) -> None:
    assert network.home(HomeSettings(name="bare")).ports.inverter is None


def mbpoll(port: int, unit: int, reference: int, *options: str) -> list[float]:
    """Return the values mbpoll prints for two input registers read as one float each."""
    command = [shutil.which("mbpoll") or "mbpoll", "-m", "tcp", "-p", str(port), "-a", str(unit), "-1", "-B"]
    command += ["-t", "3:float", "-r", str(reference), "-c", "1", *options, "127.0.0.1"]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout
    return [float(line.split(":")[1]) for line in printed.splitlines() if line.startswith("[")]


@pytest.mark.mbpoll
def test_mbpoll_reads_the_meter(network: Network) -> None:
    settings = HomeSettings(name="m", meter_unit=7, plant=GeneratorSettings(load_scale=2.0))
    home = network.home(settings)
    assert mbpoll(home.ports.meter, 7, 0x34 + 1) == [pytest.approx(home.plant.flow.grid_w, rel=0.5)]
    assert mbpoll(home.ports.meter, 7, 0x48 + 1) == [pytest.approx(1204.6, abs=0.1)]
    assert 220 < mbpoll(home.ports.meter, 7, 1)[0] < 240


@pytest.mark.mbpoll
def test_mbpoll_is_refused_half_a_float(network: Network) -> None:
    home = network.home(HomeSettings(name="m"))
    command = [
        shutil.which("mbpoll") or "mbpoll",
        "-m",
        "tcp",
        "-p",
        str(home.ports.meter),
        "-t",
        "3",
        "-1",
        "127.0.0.1",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert "Illegal data value" in done.stdout + done.stderr


def request(transaction: int, unit: int, pdu: bytes) -> bytes:
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


READ_TOTAL = struct.pack(">BHH", 4, 0x34, 2)


def received(link: socket.socket, size: int) -> bytes:
    """Return the next `size` bytes, fewer when the server hangs up. (MSG_WAITALL does not wait under a timeout.)"""
    with link.makefile("rb") as stream:
        return stream.read(size)


def ask(port: int, message: bytes, size: int = 13) -> bytes:
    """Send bytes on a connection of their own; return what comes back, b"" when the server hangs up."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as link:
        link.sendall(message)
        return received(link, size)


def test_garbage_ends_its_own_connection_and_nothing_else(network: Network) -> None:
    port = network.home(HomeSettings(name="m")).ports.meter
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as steady:
        for junk in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 40, struct.pack(">HHHB", 1, 0, 0, 1), bytes(7)):
            assert ask(port, junk) == b""
        steady.sendall(request(9, 1, READ_TOTAL))
        assert received(steady, 13)[:9] == struct.pack(">HHHBBB", 9, 0, 7, 1, 4, 4)


def test_wrong_requests_are_answered_with_their_exception_code(network: Network) -> None:
    port = network.home(HomeSettings(name="m")).ports.meter
    for pdu, code in (
        (bytes((0x2B, 0x0E, 1, 0)), 1),
        (struct.pack(">BHH", 4, 0x200, 2), 2),
        (struct.pack(">BHH", 4, 0xFFFE, 4), 2),
        (struct.pack(">BHH", 4, 0, 0), 3),
        (struct.pack(">BHH", 4, 0, 126), 3),
        (struct.pack(">BHHB", 16, 0, 2, 4), 3),
        (struct.pack(">BH", 4, 0), 3),
    ):
        assert ask(port, request(1, 1, pdu), 9) == struct.pack(">HHHBBB", 1, 0, 3, 1, pdu[0] | 0x80, code)


def test_a_request_in_single_bytes_and_two_in_one_packet_are_both_answered_in_order(network: Network) -> None:
    port = network.home(HomeSettings(name="m")).ports.meter
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request(1, 1, READ_TOTAL):
            link.sendall(bytes((byte,)))
        assert received(link, 13)[:2] == b"\x00\x01"
        link.sendall(request(2, 1, READ_TOTAL) + request(3, 1, READ_TOTAL))
        answers = received(link, 26)
        assert (answers[:2], answers[13:15]) == (b"\x00\x02", b"\x00\x03")


def test_an_unknown_unit_stays_silent_and_the_next_request_is_answered(network: Network) -> None:
    port = network.home(HomeSettings(name="m")).ports.meter
    answer = ask(port, request(1, 5, READ_TOTAL) + request(2, 1, READ_TOTAL))
    assert answer[:2] == b"\x00\x02"


def test_inverter_and_meter_can_share_one_port_under_their_units(network: Network) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    shared = {"inverter_port": port, "meter_port": port, "inverter_unit": 1, "meter_unit": 2}
    home = network.home(HYBRID.model_copy(update=shared))
    assert (home.ports.inverter, home.ports.meter) == (port, port)
    assert ask(port, request(1, 2, READ_TOTAL))[7] == 4
    device = scanned(port, unit=1)
    device.disconnect()
    assert device.model_list[0].DA.value == 1


def test_a_client_that_hoards_connections_is_turned_away_and_later_served(network: Network) -> None:
    port = network.home(HomeSettings(name="m")).ports.meter
    hoard = [socket.create_connection(("127.0.0.1", port), PATIENCE_S) for _ in range(MAX_CONNECTIONS)]
    assert ask(port, b"") == b""
    for link in hoard:
        link.close()
    assert eventually(lambda: answers(port))


def answers(port: int) -> bool:
    try:
        return len(ask(port, request(1, 1, READ_TOTAL))) == 13
    except ConnectionError:
        return False


def test_a_taken_port_is_named_with_its_cure_and_nothing_stays_open(network: Network) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        home = SimulatedHome(
            HYBRID.model_copy(update={"meter_port": taken.getsockname()[1]}), ScaledClock(NOON, datetime.now(UTC), 1)
        )
        with pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1:\d+ .*choose another port"):
            network.run(home.start())
    with pytest.raises(RuntimeError, match="not started"):
        _ = home.ports


def test_taken_off_the_network_the_home_lives_on(network: Network) -> None:
    home = network.home(HYBRID, speed=3600)
    network.run(home.stop())
    with pytest.raises(RuntimeError, match="not started"):
        _ = home.ports
    before_wh = home.plant.counters.load_wh
    network.run(home.start())
    assert eventually(lambda: home.plant.counters.load_wh > before_wh)
    assert ask(home.ports.meter, request(1, 1, READ_TOTAL))[7] == 4


def test_at_360x_plant_counters_match_the_profile_to_the_watt_hour(network: Network) -> None:
    profile = GeneratorSettings().profile()
    home = network.home(HomeSettings(name="m", plant=GeneratorSettings()), speed=360)
    time.sleep(0.5)
    plant = home.plant
    minutes = int((plant.at - NOON).total_seconds() // 60)
    lived_wh = sum(profile.load_w(NOON + timedelta(minutes=minute)) for minute in range(minutes)) / 60
    assert minutes >= 2
    # The plant began a moment after NOON and is within its present minute: up to a minute of load at either end.
    assert plant.counters.load_wh == pytest.approx(lived_wh, abs=100)
    assert plant.counters.import_wh - 1_204_600 == pytest.approx(plant.counters.load_wh, abs=1e-3)
