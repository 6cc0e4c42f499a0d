"""What reading four devices costs: three blocks of 50 registers each, once a second, and as fast as it goes.

Next to bare pymodbus, which reads the same blocks and decodes nothing, and to a bare blocking socket, in turns; the
medians count. The devices are served by another process.
"""

import asyncio
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml
from pymodbus.client import AsyncModbusTcpClient

from agent.devices.device import Device
from agent.devices.opening import LinkPool, open_device
from agent.devices.poller import Poller
from agent.devices.profile import read_profile
from agent.devices.settings import DeviceSettings
from agent.simulator.profile_device import ProfileDevice
from agent.simulator.server import ModbusServer, answer_units
from coordinator.clock import WallClock

DEVICES = 4
BLOCKS = ((0, 50), (100, 50), (200, 50))
POINTS = 8
"""Values per block."""
ROUNDS = 5
PACED_S = 5.0
FAST_S = 1.0


def _profile(name: str, kind: str, power: str) -> dict[str, Any]:
    """Return a profile of three blocks, each full of values."""
    points: dict[str, Any] = {
        power: {"block": "b0", "addr": 0, "type": "f32", "unit": "W", "sign": "import", "range": [-1e5, 1e5]}
    }
    for index, counter in enumerate(("import_wh", "export_wh")):
        counts = {"type": "f32", "unit": "Wh", "counter": {"max_w": 1e5}}
        points[counter] = counts | {"block": "b1", "addr": BLOCKS[1][0] + 2 * index}
    for number, (addr, _) in enumerate(BLOCKS):
        for index in range(POINTS - 2):
            place = {"block": f"b{number}", "addr": addr + 6 + 2 * index, "type": "f32"}
            points[f"more{number}{index}_w"] = place | {"unit": "W", "sign": "import", "range": [-1e5, 1e5]}
    return {
        "schema": 1, "profile": name, "title": name, "kind": kind, "evidence": "simulated", "sources": ["made up"],
        "limits": {"functions": [3], "timeout_ms": 5000},
        "identify": [{"fc": 3, "addr": 0, "type": "f32", "within": [-1e5, 1e5]}],
        "blocks": {f"b{number}": {"fc": 3, "addr": at, "count": count} for number, (at, count) in enumerate(BLOCKS)},
        "points": points,
    }  # fmt: skip


def _write_profiles(folder: Path) -> list[Path]:
    """Write one meter and three loads; return their files."""
    kinds = [("meter", "grid_w"), *[("load", "power_w")] * (DEVICES - 1)]
    files = []
    for number, (kind, power) in enumerate(kinds):
        files.append(folder / f"device{number}.yaml")
        files[-1].write_text(yaml.safe_dump(_profile(files[-1].stem, kind, power)))
    return files


async def serve(files: Sequence[Path]) -> None:
    """Serve the devices until the process is ended; print their ports."""
    servers = [
        ModbusServer(answer_units({1: ProfileDevice(read_profile(str(file)), dict)}), "127.0.0.1", 0) for file in files
    ]
    for server in servers:
        await server.start()
    print(*(server.port for server in servers), flush=True)
    await asyncio.Event().wait()


@asynccontextmanager
async def _ours(files: Sequence[Path], ports: Sequence[int]) -> AsyncIterator[list[Device]]:
    clock = WallClock()
    links = LinkPool(clock)
    settings = [
        DeviceSettings(profile=str(file), url=f"tcp://127.0.0.1:{port}")
        for file, port in zip(files, ports, strict=True)
    ]
    devices = [open_device(f"device{number}", each, links, clock) for number, each in enumerate(settings)]
    await asyncio.gather(*(device.poll() for device in devices))
    try:
        yield devices
    finally:
        await links.close()


async def _poller(devices: Sequence[Device]) -> None:
    """Read as the agent does, once a second."""
    poller = Poller(
        devices, WallClock(), interval_s=1.0, stale_after_s=10.0,
        on_reading=lambda reading: None, on_notice=lambda level, text: None,
    )  # fmt: skip
    async with asyncio.timeout(PACED_S):
        await poller.run()


async def _every_second(read: Callable[[], Awaitable[object]]) -> None:
    until_s = due_s = time.monotonic()
    while due_s < until_s + PACED_S:
        await read()
        due_s += 1.0
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))


async def _share(work: Awaitable[None]) -> float:
    """Return the share of a core that some work takes."""
    cpu_s, wall_s = time.process_time(), time.monotonic()
    try:
        await work
    except TimeoutError:
        pass
    return (time.process_time() - cpu_s) / (time.monotonic() - wall_s)


async def _rate(read: Callable[[], Awaitable[object]]) -> float:
    """Return how often all devices are read in a second, one round after the other."""
    rounds, begun_s = 0, time.monotonic()
    while time.monotonic() - begun_s < FAST_S:
        await read()
        rounds += 1
    return DEVICES * rounds / (time.monotonic() - begun_s)


async def _measure_ours(files: Sequence[Path], ports: Sequence[int]) -> dict[str, float]:
    async with _ours(files, ports) as devices:

        async def read() -> None:
            await asyncio.gather(*(device.poll() for device in devices))

        return {"polls_per_s": await _rate(read), "share_1s": await _share(_poller(devices))}


async def _measure_pymodbus(ports: Sequence[int]) -> dict[str, float]:
    clients = [AsyncModbusTcpClient("127.0.0.1", port=port) for port in ports]
    for client in clients:
        await client.connect()

    async def read_one(client: AsyncModbusTcpClient) -> None:
        for addr, count in BLOCKS:
            await client.read_holding_registers(addr, count=count, device_id=1)

    async def read() -> None:
        await asyncio.gather(*map(read_one, clients))

    figures = {"polls_per_s": await _rate(read), "share_1s": await _share(_every_second(read))}
    for client in clients:
        client.close()
    return figures


async def _measure_socket(ports: Sequence[int]) -> dict[str, float]:
    sockets = [socket.create_connection(("127.0.0.1", port)) for port in ports]
    for each in sockets:
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def read() -> None:
        for each in sockets:
            for addr, count in BLOCKS:
                each.sendall(struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, addr, count))
                left = 9 + 2 * count
                while left:
                    left -= len(each.recv(left))

    figures = {"polls_per_s": await _rate(read), "share_1s": await _share(_every_second(read))}
    for each in sockets:
        each.close()
    return figures


def measure() -> dict[str, float]:
    """Return polls per second (one poll is a device's three blocks) and shares of a core in per cent."""
    with tempfile.TemporaryDirectory() as work:
        files = _write_profiles(Path(work))
        command = [sys.executable, __file__, *map(str, files)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            ports = [int(port) for port in server.stdout.readline().split()]
            rounds: list[tuple[dict[str, float], ...]] = []
            try:
                for _ in range(ROUNDS):
                    one_by_one = (_measure_ours(files, ports), _measure_pymodbus(ports), _measure_socket(ports))
                    rounds.append(tuple(asyncio.run(each) for each in one_by_one))
            finally:
                server.terminate()
    ours, theirs, bare = (
        {name: statistics.median(figures[name] for figures in column) for name in column[0]}
        for column in zip(*rounds, strict=True)
    )
    figures = {"cpu_pct_at_1s": 100 * ours["share_1s"], "cpu_us_per_poll": 1e6 * ours["share_1s"] / DEVICES}
    figures |= {"pymodbus_cpu_pct_at_1s": 100 * theirs["share_1s"], "socket_cpu_pct_at_1s": 100 * bare["share_1s"]}
    figures["ratio_to_pymodbus"] = ours["share_1s"] / theirs["share_1s"]
    rates = {"": ours, "pymodbus_": theirs, "socket_": bare}
    return figures | {f"{name}polls_per_s": each["polls_per_s"] for name, each in rates.items()}


if __name__ == "__main__":
    asyncio.run(serve([Path(argument) for argument in sys.argv[1:]]))
