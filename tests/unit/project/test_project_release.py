"""A release that was tampered with is seen by whoever has the source (`make release-check`)."""

import sys
import zipfile
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2]))

from release_check import content, differences

METADATA = "commonwatt-0.1.0.dist-info/METADATA"
FILES = {
    "agent/runtime.py": b"honest = True\n",
    METADATA: b"Metadata-Version: 2.4\nName: commonwatt\nRequires-Dist: numpy>=2\n\ntext\n",
    "commonwatt-0.1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: hatchling 1.27\n",
    "commonwatt-0.1.0.dist-info/RECORD": b"agent/runtime.py,sha256=...\n",
}


def wheel(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def compared(folder: Path, changes: dict[str, bytes | None]) -> list[str]:
    """Return what differs when the release has these files otherwise; None leaves one out."""
    release = {name: data for name, data in {**FILES, **changes}.items() if data is not None}
    return differences(wheel(folder / "release.whl", release), wheel(folder / "own.whl", FILES))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"agent/runtime.py": b"honest = False\n"}, ["agent/runtime.py: not the same"]),
        ({"agent/runtime.py": None}, ["agent/runtime.py: missing in the release"]),
        ({"commonwatt.pth": b"import evil\n"}, ["commonwatt.pth: only in the release"]),
        ({METADATA: FILES[METADATA].replace(b"numpy>=2", b"numpyy>=2")}, [f"{METADATA}: not the same"]),
    ],
)
def test_a_tampered_release_is_seen(tmp_path: Path, changes: dict[str, bytes | None], said: list[str]) -> None:
    assert compared(tmp_path, changes) == said


def test_another_version_of_the_builder_makes_no_other_release(tmp_path: Path) -> None:
    built_later = FILES[METADATA].replace(b"Version: 2.4", b"Version: 2.5")
    assert compared(tmp_path, {METADATA: built_later}) == []


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    path = wheel(tmp_path / "twice.whl", FILES)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("agent/runtime.py", b"honest = False\n")
    with pytest.raises(ValueError, match=r"agent/runtime\.py is in it twice"):
        content(path)
