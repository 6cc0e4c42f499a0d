"""Modbus as others understand it: our client at a pymodbus server, and mbpoll at our devices.

The third opinion, pysunspec2 at our inverter, is in test_simulator_modbus.py.
"""

import asyncio
import shutil
from datetime import UTC, datetime, timedelta

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from agent.devices.address import parse_address
from agent.devices.link import ModbusLink
from agent.devices.link_limits import LinkLimits
from agent.devices.opening import LinkPool, open_device
from agent.devices.profile import read_profile
from agent.devices.settings import DeviceSettings
from agent.devices.sunspec import BASES, model_points, scan
from agent.simulator.exhibit import Exhibit, ExhibitSettings
from coordinator.clock import ManualClock, WallClock


def test_our_client_reads_a_server_of_another_maker() -> None:
    def registers(address: int, *words: int) -> SimData:
        return SimData(address, values=list(words), datatype=DataType.REGISTERS)

    solis = [
        registers(33057, 0, 2500, *[0] * 20, 0, 1200),
        registers(33135, 1, 0, 0, 0, 64, *[0] * 9, 0, 1200),
        registers(33263, 0xFFFF, 0xFF38, *[0] * 18, 0, 500, 0, 777),
    ]

    async def main() -> None:
        server = ModbusTcpServer(SimDevice(1, simdata=solis), address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        try:
            port = server.transport.sockets[0].getsockname()[1]
            links = LinkPool(WallClock())
            at = DeviceSettings(profile="solis_hybrid", url=f"tcp://127.0.0.1:{port}")
            values = (await open_device("it", at, links, WallClock()).poll()).values
            await links.close()
        finally:
            await server.shutdown()
        assert values["pv_w"] == 2500
        assert values["battery_w"] == 1200
        assert (values["grid_w"], values["soc_pct"]) == (200, 64)
        assert (values["import_wh"], values["export_wh"]) == (5000, 7770)

    asyncio.run(main())


@pytest.mark.mbpoll
def test_mbpoll_reads_and_is_refused_over_our_serial_line() -> None:
    shown = {"grid_w": 1234.5, "import_wh": 5_000_000.0}

    async def mbpoll(path: str, *options: str) -> str:
        command = [shutil.which("mbpoll") or "mbpoll", "-m", "rtu", "-b", "9600", "-P", "none", "-a", "1", "-1", "-B"]
        process = await asyncio.create_subprocess_exec(
            *command, *options, path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        async with asyncio.timeout(20):
            printed, _ = await process.communicate()
        return printed.decode()

    async def main() -> None:
        clock = ManualClock(datetime(2024, 6, 12, 10, tzinfo=UTC))
        settings = ExhibitSettings(profile=read_profile("eastron_sdm120"), wire="serial")
        exhibit = Exhibit(settings, clock, shown.copy)
        await exhibit.start()
        try:
            path = exhibit.url.removeprefix("serial://")
            assert "1234.5" in await mbpoll(path, "-t", "3:float", "-r", str(0x0C + 1), "-c", "1")
            assert "5000" in await mbpoll(path, "-t", "3:float", "-r", str(0x48 + 1), "-c", "1")
            assert "Illegal data address" in await mbpoll(path, "-t", "3:float", "-r", "1001", "-c", "1")
        finally:
            await exhibit.stop()

    asyncio.run(main())


@pytest.mark.mbpoll
def test_mbpoll_commands_our_inverter_and_reads_the_effect() -> None:
    async def mbpoll(port: int, kind: str, address: int, *values: int) -> str:
        command = [shutil.which("mbpoll") or "mbpoll", "-m", "tcp", "-p", str(port), "-a", "1", "-1", "-0", "-B"]
        process = await asyncio.create_subprocess_exec(
            *command, "-t", kind, "-r", str(address), "127.0.0.1", *map(str, values),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        async with asyncio.timeout(20):
            printed, _ = await process.communicate()
        return printed.decode()

    async def main() -> None:
        clock = ManualClock(datetime(2024, 6, 12, 10, tzinfo=UTC))
        exhibit = Exhibit(ExhibitSettings(profile=read_profile("sunspec_hybrid")), clock)
        await exhibit.start()
        try:
            address = parse_address(exhibit.url)
            link = ModbusLink(exhibit.url, clock, LinkLimits(timeout_s=5))
            generation = await link.open()

            async def read(at: int, count: int) -> list[int]:
                return await link.read(generation, 1, 3, at, count)

            models = {model.model_id: model.address for model in await scan(read, BASES, "it")}
            await link.close()
            control = {name: models[704] + point.offset for name, point in model_points(704).items()}
            power = models[103] + model_points(103)["W"].offset
            for kind, name, value in (("4:int", "WSetRvrtTms", 60), ("4:int", "WSet", 1234), ("4", "WSetEna", 1)):
                assert "Written 1 references." in await mbpoll(address.port, kind, control[name], value)
            assert exhibit.live.control.target_w == 1234
            clock.advance(timedelta(seconds=30))
            assert "1234" in await mbpoll(address.port, "4:int", control["WSet"])
            assert "1234" in await mbpoll(address.port, "4", power), "the inverter's AC power is the one commanded"
            clock.advance(timedelta(seconds=30))
            assert f"[{control['WSetEna']}]: \t0" in await mbpoll(address.port, "4", control["WSetEna"])
            half = await mbpoll(address.port, "4", control["WSet"], 7)
            assert "Illegal data value" in half, "half a setpoint is refused"
        finally:
            await exhibit.stop()

    asyncio.run(main())
