"""The wheel is complete: installed anywhere, it finds its device profiles without the repository."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Records every file that is opened, so a profile read from the repository cannot pass for the wheel's.
PROGRAM = """
import json, os, sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
sys.path.insert(0, sys.argv[1])
import agent, coordinator
from agent.devices.profile import load_profile
profile = load_profile("eastron_sdm630")
print(json.dumps({
    "packages": [agent.__file__, coordinator.__file__],
    "profile": type(profile).__name__,
    "opened": [os.path.realpath(name) for name in opened],
}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that holds the wheel's content and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    target = folder / "elsewhere"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*install, str(wheel)], capture_output=True, check=True)
    return target


def test_installed_wheel_loads_a_profile_without_the_repository(installed: Path, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(installed)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["profile"] == "Profile"
    assert all(Path(file).is_relative_to(installed) for file in seen["packages"])
    assert str(installed / "agent/firmware_config/profiles/eastron_sdm630.yaml") in seen["opened"]
    ours = [ROOT / name for name in ("agent", "coordinator", "firmware-config")]
    assert not [name for name in seen["opened"] if any(Path(name).is_relative_to(folder) for folder in ours)]


def test_wheel_brings_what_a_raspberry_pi_needs_and_no_tests(installed: Path) -> None:
    assert (installed / "agent/firmware_config/raspberry-pi/commonwatt.service").is_file()
    assert list(installed.glob("commonwatt-*.dist-info/licenses/LICENSE"))
    assert not (installed / "tests").exists()
