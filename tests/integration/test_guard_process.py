"""The guard as a process: what it serves, what it obeys, and what becomes of the battery when somebody dies."""

import asyncio
import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from demo_helpers import descendants
from running_home import Files, commission, devices, first_home, until

import agent.guard_keeper
from agent.config import HomeConfig, load_config
from agent.demo.launch import spawn
from agent.guard_link import GuardLink
from agent.guard_messages import LimitRequest
from agent.guard_server import socket_path
from agent.simulator.home import SimulatedHome
from coordinator.clock import WallClock

pytestmark = pytest.mark.timeout(180)

REVERSION_S = 3


def commonwatt(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "agent.cli.main", *arguments]


@dataclass
class Guarded:
    """A simulated home, its guard's process, and a link to it as the agent has one."""

    files: Files
    config: HomeConfig
    plant: SimulatedHome
    link: GuardLink
    notices: list[str] = field(default_factory=list)
    process: "subprocess.Popen[bytes] | None" = None

    def start(self, **environment: str) -> None:
        command, environ = commonwatt("guard", "--config", str(self.files.config)), {**os.environ, **environment}
        with (self.files.folder / "guard.log").open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, env=environ)

    def kill(self) -> None:
        """Kill the guard without a word."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    @property
    def log(self) -> str:
        return (self.files.folder / "guard.log").read_text()

    @property
    def commanded(self) -> bool:
        return self.plant.plant.ac_setpoint_w is not None

    async def follow(self, target_w: float = 2000.0) -> None:
        """Ask for a power until the battery is commanded."""

        def asked() -> bool:
            self.link.guard.lease(target_w, "the test wants it")
            return self.commanded and self.link.guard.status.control == "following"

        await until(asked, within_s=60)

    async def settles(self, target_w: float, power_w: float, abs_w: float = 50.0) -> None:
        """Ask for a power until the battery has got to another."""

        def asked() -> bool:
            self.link.guard.lease(target_w, "the test wants it")
            return self.plant.plant.battery_w == pytest.approx(power_w, abs=abs_w)

        await until(asked, within_s=60)

    @property
    def timer_s(self) -> int:
        """What is left of the inverter's own timer; 0 when none runs."""
        return self.plant._live.remaining_s()

    async def released(self) -> None:
        await until(lambda: not self.commanded, within_s=60)


@contextlib.asynccontextmanager
async def guarded(folder: Path, *edits: tuple[str, str]) -> AsyncIterator[Guarded]:
    files = first_home(folder)
    files.edit(
        ("enabled = false", "enabled = true"),
        ("#reversion_s = 60", f"reversion_s = {REVERSION_S}"),
        ("#min_write_s = 5.0", "min_write_s = 0.2"),
        ("#ramp_pct_per_s = 10.0", "ramp_pct_per_s = 1000.0"),
        ("#lease_s = 15.0", "lease_s = 1.0"),
        ("#tick_s = 0.5", "tick_s = 0.1"),
        *edits,
    )
    commission(files)
    config = load_config(files.config)
    plant = devices(files)
    await plant.start()
    link = GuardLink(config, WallClock())
    home = Guarded(files, config, plant, link)
    linking = asyncio.create_task(link.run(lambda level, text: home.notices.append(text)))
    home.start()
    try:
        yield home
    finally:
        linking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await linking
        home.kill()
        await plant.stop()


def run(folder: Path, check: Callable[[Guarded], Awaitable[None]], *edits: tuple[str, str]) -> None:
    async def main() -> None:
        async with guarded(folder, *edits) as home:
            await check(home)

    asyncio.run(main())


def test_the_agent_reads_and_commands_through_the_guard_alone(tmp_path: Path) -> None:
    async def check(home: Guarded) -> None:
        inverter, meter = home.link.devices
        await until(lambda: inverter.latest and meter.latest, within_s=60)
        sample = await inverter.poll()
        assert sample.values["soc_pct"] == pytest.approx(50, abs=1)
        assert (await meter.poll()).values["grid_w"] is not None
        await home.follow(1500)
        await home.settles(1500, 1500)
        home.link.guard.release("enough")
        await until(lambda: not home.commanded)

    run(tmp_path, check)


def test_nobody_else_may_open_the_socket_and_no_second_guard_runs(tmp_path: Path) -> None:
    async def check(home: Guarded) -> None:
        await until(lambda: home.link.status, within_s=60)
        assert stat.S_IMODE(os.stat(home.link.path).st_mode) == 0o600
        second = await asyncio.to_thread(
            subprocess.run,
            commonwatt("guard", "--config", str(home.files.config)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == 2
        assert f"another guard runs for this home (process {home.process.pid})" in second.stderr

    run(tmp_path, check)


@pytest.mark.parametrize(
    "line",
    [b'{"kind":"lease"}\n', b"x" * 10_000, b'{"kind":"lease","target_w":1e9,"reason":"","until_s":1e9}\n', b"\xff\n"],
    ids=["incomplete", "endless", "out of range", "no text"],
)
def test_a_client_that_talks_nonsense_is_hung_up_on_and_the_guard_goes_on(tmp_path: Path, line: bytes) -> None:
    async def check(home: Guarded) -> None:
        await until(lambda: home.link.status, within_s=60)
        reader, writer = await asyncio.open_unix_connection(str(home.link.path))
        writer.write(line)
        async with asyncio.timeout(30):
            with contextlib.suppress(ConnectionError):
                while await reader.readline():
                    pass
        writer.close()
        await home.follow()

    run(tmp_path, check)


def test_s7_a_killed_guard_leaves_the_battery_to_its_inverter_within_the_reversion_time(tmp_path: Path) -> None:
    async def check(home: Guarded) -> None:
        await home.follow()
        home.kill()
        assert home.timer_s <= REVERSION_S, "the inverter counts, whoever else is dead"
        await home.released()
        await until(lambda: any("the guard does not answer" in text for text in home.notices))
        assert home.link.guard.status.control == "released"
        assert not home.link.guard.status.obeys, "plans count on it no more"
        home.start()
        await home.follow()
        await until(lambda: "the guard answers again" in home.notices)
        lines = [line for line in home.log.splitlines() if "inverter: " in line]
        assert "released, control begins with a release" in lines[-2], "a start is a release, never a resumption"

    run(tmp_path, check)


def test_s7_the_guard_tells_its_service_manager_that_it_is_ready_and_lives(tmp_path: Path) -> None:
    async def check(home: Guarded) -> None:
        home.kill()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(str(home.files.folder / "notify"))
            systemd.settimeout(30)
            home.start(NOTIFY_SOCKET=str(home.files.folder / "notify"))
            heard = {await asyncio.to_thread(systemd.recv, 100) for _ in range(5)}
            assert heard == {b"READY=1", b"WATCHDOG=1"}
            home.signal(signal.SIGTERM)
            while await asyncio.to_thread(systemd.recv, 100) != b"STOPPING=1":
                pass

    run(tmp_path, check)


def test_s7_a_stopped_guard_does_not_go_on_where_it_was(tmp_path: Path) -> None:
    async def check(home: Guarded) -> None:
        await home.follow()
        home.signal(signal.SIGSTOP)
        await home.released()
        for _ in range(20):  # an agent that does not notice at once; what it asks for lies in the socket
            home.link.guard.lease(2500, "old")
            await asyncio.sleep(0.1)
        home.signal(signal.SIGCONT)
        for _ in range(20):
            assert not home.commanded, "what was asked for meanwhile is as old as it is"
            await asyncio.sleep(0.05)
        await home.follow()

    run(tmp_path, check)


def test_s7_a_silent_agent_s_lease_ends_and_sigterm_releases_at_once(tmp_path: Path) -> None:
    async def check(home: Guarded) -> None:
        await home.follow()
        await until(lambda: "released, no fresh wish from the plan" in home.log, within_s=60)
        assert not home.commanded
        await home.follow()
        home.signal(signal.SIGTERM)
        assert home.process is not None
        assert await asyncio.to_thread(home.process.wait, 60) == 0
        assert not home.commanded
        assert "released, the guard stops" in home.log
        assert not socket_path(home.config.home.data_dir).exists()

    run(tmp_path, check)


def stop(home: Guarded, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = commonwatt("stop", "--config", str(home.files.config), *arguments)
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_s15_stop_releases_and_holds_over_a_restart_until_it_is_taken_back(tmp_path: Path) -> None:
    async def check(home: Guarded) -> None:
        await home.follow()
        done = await asyncio.to_thread(stop, home)
        assert not home.commanded
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[0] == "Stopped: the battery is on its own."
        home.kill()
        home.start()
        await until(lambda: "stopped by its owner" in home.link.guard.status.reason, within_s=60)
        assert not home.link.guard.status.obeys, "plans count on it no more"
        for _ in range(20):
            home.link.guard.lease(2000, "the plan goes on")
            await asyncio.sleep(0.05)
            assert not home.commanded
        assert (await asyncio.to_thread(stop, home, "--resume")).returncode == 0
        await home.follow()
        assert home.link.guard.status.obeys

    run(tmp_path, check)


def test_s15_stop_works_with_the_inverter_s_network_dead_and_without_a_guard(tmp_path: Path) -> None:
    async def check(home: Guarded) -> None:
        await home.follow()
        await home.plant.stop()
        done = await asyncio.to_thread(stop, home)
        assert done.returncode == 1
        assert "the guard has not released the battery yet" in done.stderr
        assert f"The inverter's own timer does within {REVERSION_S} s" in done.stderr
        home.kill()
        done = await asyncio.to_thread(stop, home)
        assert done.returncode == 0
        assert "nothing commands the battery: no guard runs" in done.stdout

    run(tmp_path, check)


async def say_again(home: Guarded, request: LimitRequest) -> None:
    while True:
        home.link.send(request)
        await asyncio.sleep(0.2)


def test_s11_the_network_operator_s_limit_is_kept_and_its_failsafe_when_it_is_silent(tmp_path: Path) -> None:
    async def check(home: Guarded) -> None:
        await home.settles(-4000, -300)
        saying = asyncio.create_task(say_again(home, LimitRequest(charge_w=1200)))
        await home.settles(-4000, -1200)
        assert "held back by the network operator's limit" in home.link.guard.status.reason
        saying.cancel()
        await home.settles(-4000, -300)

    section = "[control.external]\nheartbeat_s = 2.0\nfailsafe_charge_w = 300\n\n"
    run(tmp_path, check, ("# Only where your network operator", section + "# Only where your network operator"))


def test_s7_a_service_manager_s_guard_that_stays_away_is_followed_by_one_of_our_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was given up after too many crashes, say: without a guard nobody reads the devices."""
    monkeypatch.setattr(agent.guard_keeper, "GONE_S", 1.0)

    async def check(home: Guarded) -> None:
        await home.follow()
        told: list[str] = []
        keeping = asyncio.create_task(
            agent.guard_keeper.keep_guard(home.files.config, home.link, lambda level, text: told.append(text))
        )
        await until(lambda: told)
        assert "is used" in told[0]
        home.kill()
        await until(lambda: len(told) == 2, within_s=30)
        assert "starting one" in told[1]
        await home.follow()
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping
        assert not home.commanded, "it ends in order, with a release"

    run(tmp_path, check)


def test_run_starts_the_guard_restarts_it_when_it_dies_and_takes_it_along(tmp_path: Path) -> None:
    """Without a service manager: `run` keeps the guard's process, and it ends with `run`, however that ends."""

    async def check(home: Guarded) -> None:
        home.signal(signal.SIGTERM)
        assert home.process is not None
        await asyncio.to_thread(home.process.wait, 60)
        log = home.files.folder / "run.log"
        agent = await asyncio.to_thread(spawn, ["run", "--config", str(home.files.config)], log)
        lock = home.config.home.data_dir / "guard.lock"
        try:
            await until(lambda: home.link.status, within_s=60)
            first = int(lock.read_text())
            os.kill(first, signal.SIGKILL)
            await until(lambda: "the guard ended (-9); starting it again" in log.read_text(), within_s=30)
            await until(lambda: home.link.status and int(lock.read_text()) != first, within_s=60)
            second = int(lock.read_text())
            assert second in descendants(agent.pid)
        finally:
            agent.kill()
            agent.wait()
        await until(lambda: not Path(f"/proc/{second}").exists(), within_s=60)
        assert not home.link.path.exists(), "it ended in order: with a release"

    run(tmp_path, check)
