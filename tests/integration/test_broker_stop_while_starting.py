"""A broker that is told to stop while it still starts ends in order, and leaves no file with passwords."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

PROGRAM = """
import asyncio, os, signal
from coordinator.broker_settings import BrokerSettings, BrokerUser
from coordinator.mosquitto import MosquittoBroker, run_broker

really_start = MosquittoBroker._try_start

def told_to_stop_now(self, command):
    os.kill(os.getpid(), signal.SIGTERM)
    return really_start(self, command)

MosquittoBroker._try_start = told_to_stop_now
settings = BrokerSettings(kind="mosquitto", port=0, users=(BrokerUser(name="owner", password="secret"),))
asyncio.run(run_broker(settings))
"""


@pytest.mark.mosquitto
def test_a_stop_during_the_start_leaves_no_password_file_behind() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o711)  # Mosquitto's own user must get in
        environment = {**os.environ, "TMPDIR": folder}
        done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, timeout=30, check=False)
        assert done.returncode == 0
        assert list(Path(folder).iterdir()) == []
