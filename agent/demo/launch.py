"""Starts the parts of a demo's homes: in this process, or each as a process of its own."""

import asyncio
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, Literal

from agent.config import load_config
from agent.demo.home_files import HomeFiles
from agent.runtime import Agent
from agent.simulator.home import SimulatedHome
from agent.simulator.settings import SimulatorSettings
from coordinator.broker import Broker
from coordinator.broker_settings import BrokerSettings
from coordinator.mosquitto import open_broker
from coordinator.toml_file import read_toml

log = logging.getLogger(__name__)

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
    def ended(self) -> dict[tuple[str, Part], str]:
        """Return the parts that ended by themselves, each with the reason as far as it is known."""

    def pids(self) -> dict[str, dict[Part, int]]:
        """Return the process of every part, by home; empty when all run in this process."""
        return {}

    async def stop_all(self, homes: Sequence[HomeFiles], parts: Sequence[Part] = PARTS) -> None:
        """Stop these parts of all homes, agents first; one that fails keeps no other from being stopped."""
        for part in reversed(parts):
            results = await asyncio.gather(*(self.stop(home, part) for home in homes), return_exceptions=True)
            for home, result in zip(homes, results, strict=True):
                if isinstance(result, Exception):
                    log.error("the %s of %s did not stop in order: %s", part, home.name, result)


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
                given = read_toml(home.broker, BrokerSettings)
                broker = open_broker(given.kind, host=given.host, port=given.port, users=given.users)
                self._brokers[home.name] = broker
                await _to_the_end(asyncio.to_thread(broker.start))
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
                await asyncio.wait([task])
            case _:
                pass

    def ended(self) -> dict[tuple[str, Part], str]:
        return {
            (name, "agent"): str(_first(error))
            for name, task in self._agents.items()
            if task.done() and not task.cancelled() and (error := task.exception()) is not None
        }


async def _to_the_end(started: Coroutine[Any, Any, None]) -> None:
    """Let a start that runs in a thread end even when we are cancelled, so that what it started can be stopped."""
    task = asyncio.ensure_future(started)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _first(error: BaseException) -> BaseException:
    """Return the first real error inside groups of errors."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class Processes(Launcher):
    """Every part a process, each with its own log file in the home's folder."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, Part], subprocess.Popen[bytes]] = {}
        self._logs: dict[tuple[str, Part], Path] = {}

    async def start(self, home: HomeFiles, part: Part) -> None:
        known = self._running.get((home.name, part))
        if known is not None and known.poll() is None:
            return
        command = {"simulator": "simulator", "broker": "broker", "agent": "run"}[part]
        file = {"simulator": home.simulator, "broker": home.broker, "agent": home.config}[part]
        self._logs[home.name, part] = log_file = home.folder / f"{part}.log"
        self._running[home.name, part] = spawn([command, "--config", str(file)], log_file)

    async def stop(self, home: HomeFiles, part: Part) -> None:
        process = self._running.pop((home.name, part), None)
        if process is not None:
            await asyncio.to_thread(end, process)

    def ended(self) -> dict[tuple[str, Part], str]:
        return {
            key: f"{_how(process.returncode)}: {last_line(self._logs[key])}"
            for key, process in self._running.items()
            if process.poll() is not None
        }

    def pids(self) -> dict[str, dict[Part, int]]:
        pids: dict[str, dict[Part, int]] = {}
        for (name, part), process in self._running.items():
            pids.setdefault(name, {})[part] = process.pid
        return pids


def _how(code: int) -> str:
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def last_line(log_file: Path) -> str:
    """Return the last thing a process said."""
    lines = log_file.read_text(encoding="utf-8", errors="replace").split("\n") if log_file.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def spawn(arguments: Sequence[str], log_file: Path) -> "subprocess.Popen[bytes]":
    """Start another `commonwatt` with its output in a file.

    It does not hear the terminal's Ctrl-C: we stop it, agents before brokers. If we are killed, the kernel stops it.
    """
    command = [sys.executable, "-m", "agent.cli.main", *arguments]
    if setpriv := shutil.which("setpriv"):
        command = [setpriv, "--pdeathsig", "TERM", *command]
    with log_file.open("ab") as output:
        return subprocess.Popen(
            command,
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


def allow_open_files() -> None:
    """Ask for as many open files as the system allows: twenty homes hold some four hundred links to each other."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:
            log.debug("the limit of open files stays %d: %s", soft, error)
