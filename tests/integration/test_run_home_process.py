"""From `init` to a running home as its owner does it: the real commands, each a process, in a folder of their own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from running_home import Files, move_ports

from agent.dashboard.settings import DashboardSettings
from agent.simulator.settings import SimulatorSettings, default_settings
from coordinator.toml_file import read_toml, toml_text

PATIENCE_S = 20.0


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "agent.cli.main", *arguments]


def call(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(*arguments), cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


@contextlib.contextmanager
def started(folder: Path, log: Path, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command(*arguments), cwd=folder, stdout=output, stderr=output, env={**os.environ, "PYTHONUNBUFFERED": "1"}
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def until(true: Callable[[], object], process: "subprocess.Popen[bytes]", log: Path) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not true():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < give_up, log.read_text()
        time.sleep(0.05)


def simulator_of(files: Files) -> Path:
    """Write the file of what `commonwatt simulator` serves without one, on the ports of the home's file."""
    (home,) = default_settings().homes
    moved = home.model_copy(update={"inverter_port": files.inverter_port, "meter_port": files.meter_port})
    path = files.folder / "simulator.toml"
    path.write_text(toml_text(SimulatorSettings(homes=(moved,))))
    return path


def state_on_the_broker(page: DashboardSettings) -> dict[str, object]:
    """Read the home's state with nothing but the page's settings."""
    (source,) = page.sources
    got: list[bytes] = []
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set(source.username, source.password)
    client.on_message = lambda _client, _data, message: got.append(message.payload)
    client.connect(source.broker_host, source.broker_port)
    client.subscribe([(topic, 1) for topic in source.topic_filters if topic.endswith("/state")])
    give_up = time.monotonic() + PATIENCE_S
    while not got and time.monotonic() < give_up:
        client.loop(0.1)
    client.disconnect()
    state: dict[str, object] = json.loads(got[0])
    return state


@pytest.fixture
def files(tmp_path: Path) -> Files:
    done = call(tmp_path, "init", "my-home", "--timezone", "Europe/Berlin", "--name", "home-1")
    assert done.returncode == 0, done.stderr
    assert "commonwatt check --config my-home/home.toml" in done.stdout
    return move_ports(tmp_path / "my-home")


@pytest.mark.timeout(120)
def test_first_home_works_from_init_over_check_to_run_with_only_the_ports_changed(files: Files) -> None:
    folder, log = files.folder.parent, files.folder / "run.log"
    before = call(folder, "check", "--config", "my-home/home.toml", "--json")
    assert before.returncode == 1
    assert {finding["subject"] for finding in json.loads(before.stdout) if not finding["ok"]} == {
        "inverter",
        "meter",
        "home",
    }
    simulator_log = files.folder / "simulator.log"
    simulated = started(folder, simulator_log, "simulator", "--config", str(simulator_of(files)))
    with simulated as simulator:
        until(lambda: "Running" in simulator_log.read_text(), simulator, simulator_log)
        after = call(folder, "check", "--config", "my-home/home.toml")
        assert after.returncode == 0, after.stdout
        assert "WRONG" not in after.stdout
        assert "All is well. Next: commonwatt run --config my-home/home.toml" in after.stdout
        with started(folder, log, "run", "--config", "my-home/home.toml") as home:
            until(lambda: "all devices answer: using" in log.read_text(), home, log)
            until(lambda: "link to home-1's broker is up" in log.read_text(), home, log)
            state = state_on_the_broker(read_toml(files.folder / "dashboard.toml", DashboardSettings))
            assert state["home"] == "home-1"
            assert state["control"] == "observe"
            assert state["soc_pct"] == pytest.approx(50, abs=2)
            again = call(folder, "run", "--config", "my-home/home.toml")
            assert (again.returncode, again.stdout) == (2, "")
            assert len(again.stderr.splitlines()) == 1, "nothing was begun"
            assert f"commonwatt: this home runs already (process {home.pid}): stop it first" in again.stderr
            during = call(folder, "check", "--config", "my-home/home.toml")
            assert during.returncode == 0, during.stdout
            assert f"this home runs now (process {home.pid})" in during.stdout
            assert "All is well. This home runs." in during.stdout
            home.send_signal(signal.SIGTERM)
            assert home.wait(PATIENCE_S) == 0
    lines = [line.split(maxsplit=3)[3] for line in log.read_text().splitlines()]
    assert lines[0].startswith("home-1: reading inverter (unit 1 at tcp://127.0.0.1:")
    assert lines[1] == "home-1: control: observe only: control.enabled is false"
    assert lines[2].startswith(
        "home-1: page: `commonwatt dashboard --config my-home/dashboard.toml` serves it at http:"
    )
    assert lines[-1] == "home-1: stopped"
    assert len(lines) <= 8


def test_run_explains_a_wrong_file_in_one_line_and_ends(files: Files) -> None:
    files.edit(("[poll]", "[pol]"))
    done = call(files.folder, "run")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].endswith("home.toml: pol: unknown key, did you mean poll?")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command_name", ["run", "guard"])
def test_a_data_folder_that_cannot_be_made_is_one_line_with_its_cure(files: Files, command_name: str) -> None:
    files.edit(('data_dir = "data"', 'data_dir = "key.pem/data"'))
    done = call(files.folder, command_name)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "key.pem/data cannot be written by this user (Not a directory): choose another home.data_dir" in line


def test_sections_in_brackets_survive_into_the_error_an_owner_reads(files: Files) -> None:
    (files.folder / "home.toml").write_text('home = "[broker]"\n')
    done = call(files.folder, "run")
    assert "(it is '[broker]')" in done.stderr
