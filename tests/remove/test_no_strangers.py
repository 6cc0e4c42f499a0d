"""A running home asks nobody but the addresses in its settings: no price service, no weather, no maker, no update."""

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1] / "integration"))

from removal import far_ends
from removed_street import children
from running_home import devices, first_home, until

LOOKS = 20


def test_the_kernel_is_asked_about_every_way_out() -> None:
    before = far_ends(os.getpid())
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(type=socket.SOCK_DGRAM) as asker:
        port = server.getsockname()[1]
        asker.connect(("127.0.0.1", 53))
        with socket.create_connection(("127.0.0.1", port)):
            assert far_ends(os.getpid()) - before == {f"127.0.0.1:{port}", "127.0.0.1:53"}


@pytest.mark.timeout(120)
def test_a_running_home_is_connected_to_the_addresses_in_its_settings_and_nobody_else(tmp_path: Path) -> None:
    async def scenario() -> set[str]:
        files, seen = first_home(tmp_path / "home"), set[str]()
        simulated = devices(files)
        await simulated.start()
        log = tmp_path / "run.log"
        with log.open("wb") as output:
            run = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "agent.cli.main",
                "run",
                "--config",
                str(files.config),
                stdout=output,
                stderr=output,
            )
        try:
            await until(lambda: "all devices answer" in log.read_text(), 60)
            for _ in range(LOOKS):
                for pid in (run.pid, *children(run.pid)):
                    seen |= far_ends(pid)
                await asyncio.sleep(0.1)
        finally:
            run.terminate()
            await run.wait()
            await simulated.stop()
        assert seen == {f"127.0.0.1:{files.inverter_port}", f"127.0.0.1:{files.meter_port}"}
        return seen

    asyncio.run(scenario())
