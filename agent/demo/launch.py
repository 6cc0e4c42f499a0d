"""Starts the parts of a demo's homes: in this process, or each as a process of its own."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from agent.config import load_config
from agent.demo.settle_in import HomeFiles
from agent.runtime import Agent
from agent.simulator.home import SimulatedHome
from agent.simulator.settings import SimulatorSettings
from coordinator.broker import Broker
from coordinator.broker_settings import BrokerSettings
from coordinator.errors import CommonwattError
from coordinator.mosquitto import open_broker
from coordinator.toml_file import read_toml

Part = Literal["simulator", "broker", "agent"]
PARTS: tuple[Part, ...] = ("simulator", "broker", "agent")
STOP_S = 10.0


class Launcher(ABC):
    """Starts and stops single parts of single homes."""

    @abstractmethod
    async def start(self, home: HomeFiles, part: Part) -> None:
        """Start one part of a home; harmless when it runs."""

    @abstractmethod
    async def stop(self, home: HomeFiles, part: Part) -> None:
        """Stop one part of a home; harmless when it does not run."""

    @abstractmethod
    def check(self) -> None:
        """Raise when a part ended by itself.

        Raises:
            CommonwattError: With the reason, as far as known.
        """

    def pids(self) -> dict[str, dict[Part, int]]:
        """Return the process of every part, by home; empty when all run in this process."""
        return {}

    async def stop_all(self, homes: Sequence[HomeFiles]) -> None:
        """Stop everything, agents first."""
        for part in reversed(PARTS):
            await asyncio.gather(*(self.stop(home, part) for home in homes))


class InProcess(Launcher):
    """All parts in this event loop; Mosquitto, where it is used, is a process anyway."""

    def __init__(self) -> None:
        self._simulators: dict[str, SimulatedHome] = {}
        self._brokers: dict[str, Broker] = {}
        self._agents: dict[str, asyncio.Task[None]] = {}

    async def start(self, home: HomeFiles, part: Part) -> None:
        match part:
            case "simulator" if home.name not in self._simulators:
                settings = read_toml(home.simulator, SimulatorSettings)
                simulator = SimulatedHome(settings.homes[0], settings.make_clock())
                await simulator.start()
                self._simulators[home.name] = simulator
            case "broker" if home.name not in self._brokers:
                broker_settings = read_toml(home.broker, BrokerSettings)
                broker = open_broker(
                    broker_settings.kind,
                    host=broker_settings.host,
                    port=broker_settings.port,
                    users=broker_settings.users,
                )
                await asyncio.to_thread(broker.start)
                self._brokers[home.name] = broker
            case "agent" if home.name not in self._agents:
                agent = Agent(load_config(home.config))
                self._agents[home.name] = asyncio.create_task(agent.run(), name=f"agent of {home.name}")
            case _:
                pass

    async def stop(self, home: HomeFiles, part: Part) -> None:
        match part:
            case "simulator" if home.name in self._simulators:
                await self._simulators.pop(home.name).stop()
            case "broker" if home.name in self._brokers:
                await asyncio.to_thread(self._brokers.pop(home.name).stop)
            case "agent" if home.name in self._agents:
                task = self._agents.pop(home.name)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            case _:
                pass

    def check(self) -> None:
        for name, task in self._agents.items():
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise CommonwattError(f"the agent of {name} ended: {_first(error)}") from error


def _first(error: BaseException) -> BaseException:
    """Return the first real error inside groups of errors."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class Processes(Launcher):
    """Every part a process, each with its own log file in the home's folder."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, Part], subprocess.Popen[bytes]] = {}

    async def start(self, home: HomeFiles, part: Part) -> None:
        known = self._running.get((home.name, part))
        if known is not None and known.poll() is None:
            return
        command = {"simulator": "simulator", "broker": "broker", "agent": "run"}[part]
        file = {"simulator": home.simulator, "broker": home.broker, "agent": home.config}[part]
        log = home.folder / f"{part}.log"
        self._running[home.name, part] = spawn([command, "--config", str(file)], log)

    async def stop(self, home: HomeFiles, part: Part) -> None:
        process = self._running.pop((home.name, part), None)
        if process is not None:
            await asyncio.to_thread(end, process)

    def check(self) -> None:
        """A part that ended is news for the page, not the end of the demo: others go on without it."""

    def pids(self) -> dict[str, dict[Part, int]]:
        pids: dict[str, dict[Part, int]] = {}
        for (name, part), process in self._running.items():
            pids.setdefault(name, {})[part] = process.pid
        return pids


def spawn(arguments: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    """Start another `commonwatt` with its output in a file; it does not hear the terminal's Ctrl-C."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "agent.cli.main", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )


def end(process: "subprocess.Popen[bytes]") -> None:
    """Ask a process to stop, and kill it when it does not."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
