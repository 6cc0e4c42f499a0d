"""The simulator as a process of its own: what it says, and what survives its death."""

import json
import signal
import socket
import struct
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.simulator.settings import (
    BatterySettings,
    ClockSettings,
    GeneratorSettings,
    HomeSettings,
    SimulatorSettings,
)
from coordinator.toml_file import toml_text

START = datetime(2025, 6, 10, 16, tzinfo=UTC)
PATIENCE_S = 15.0
PROGRAM = """
import asyncio, sys
from pathlib import Path
from agent.simulator.run import run_simulator
from agent.simulator.settings import SimulatorSettings
from coordinator.toml_file import read_toml
asyncio.run(run_simulator(read_toml(Path(sys.argv[1]), SimulatorSettings), lambda text: print(text, flush=True)))
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def start(config: Path) -> "subprocess.Popen[str]":
    """Start the simulator and wait until it says that it runs."""
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(config)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("Running"):
            return process
    raise AssertionError("the simulator ended without running")


def end(process: "subprocess.Popen[str]", number: int) -> int:
    process.send_signal(number)
    code = process.wait(PATIENCE_S)
    assert process.stdout is not None
    process.stdout.close()
    return code


def import_kwh(port: int) -> float:
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as link:
        link.sendall(struct.pack(">HHHBBHH", 1, 0, 6, 1, 4, 0x48, 2))
        with link.makefile("rb") as stream:
            return float(struct.unpack(">f", stream.read(13)[9:])[0])


@pytest.fixture
def config(tmp_path: Path) -> tuple[Path, HomeSettings]:
    home = HomeSettings(
        name="home",
        meter_port=free_port(),
        state_file=tmp_path / "home.json",
        plant=GeneratorSettings(load_scale=3.0),
        battery=BatterySettings(capacity_kwh=1.0, charge_kw=1.0, discharge_kw=1.0),
    )
    clock = ClockSettings(start_at=START, anchor_at=datetime.now(UTC), speed=3600)
    path = tmp_path / "simulator.toml"
    path.write_text(toml_text(SimulatorSettings(clock=clock, homes=(home,))))
    return path, home


def test_a_killed_simulator_comes_back_with_its_counters_having_lived_on(config: tuple[Path, HomeSettings]) -> None:
    path, home = config
    assert home.state_file is not None
    process = start(path)
    until = time.monotonic() + PATIENCE_S
    while not home.state_file.exists() and time.monotonic() < until:
        time.sleep(0.1)
    end(process, signal.SIGKILL)
    saved = json.loads(home.state_file.read_text())
    assert saved["counters"]["import_wh"] > 1_204_600
    process = start(path)
    try:
        # At 3600x the hours it was dead used at least the standby power.
        assert import_kwh(home.meter_port) > saved["counters"]["import_wh"] / 1000
    finally:
        code = end(process, signal.SIGTERM)
    assert code == 0
    assert json.loads(home.state_file.read_text())["at"] > saved["at"]


def test_control_c_ends_the_simulator_cleanly(config: tuple[Path, HomeSettings]) -> None:
    assert end(start(config[0]), signal.SIGINT) == 0


def test_the_announcement_names_every_address_and_the_next_step(config: tuple[Path, HomeSettings]) -> None:
    path, home = config
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = "".join(iter(process.stdout.readline, "Running 3600 times as fast as real time. Ctrl-C stops.\n"))
    end(process, signal.SIGTERM)
    assert f"meter     tcp://127.0.0.1:{home.meter_port}  unit 1" in said
    assert "hybrid inverter, battery can be commanded" in said
