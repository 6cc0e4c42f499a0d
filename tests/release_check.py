"""`make release-check WHEEL=...`: does a wheel hold what this checkout holds, and nothing else?

    python tests/release_check.py commonwatt-0.1.0-py3-none-any.whl

Builds a wheel from the checkout and compares the two, file by file. Releases are not signed; but git names a version by
the hash of its content, so who got the hash of a version from somebody trusted, and checked that out, needs to trust no
registry. It says nothing of the packages that a wheel depends on. Ends with 1 if anything differs.
"""

import argparse
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILDER = (b"Generator: ", b"Metadata-Version: ")
"""Lines that tell who built a wheel, not what is in it."""


def differences(release: Path, own: Path) -> list[str]:
    """Return one line for each file that is not the same in two wheels."""
    theirs, ours = content(release), content(own)
    found = [f"{name}: only in the release" for name in sorted(theirs.keys() - ours.keys())]
    found += [f"{name}: missing in the release" for name in sorted(ours.keys() - theirs.keys())]
    same = theirs.keys() & ours.keys()
    return found + [f"{name}: not the same" for name in sorted(same) if theirs[name] != ours[name]]


def content(wheel: Path) -> dict[str, bytes]:
    """Return what pip would install from a wheel, by name.

    The list of hashes (RECORD) is left out, because the files themselves are compared.

    Raises:
        ValueError: If it holds two files of one name: which of them is installed is the installer's secret.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{wheel}: {min(twice)} is in it twice")
        files = {name: archive.read(name) for name in names if not name.endswith(".dist-info/RECORD")}
    return {name: _told(name, data) for name, data in files.items()}


def _told(name: str, data: bytes) -> bytes:
    if not name.endswith((".dist-info/METADATA", ".dist-info/WHEEL")):
        return data
    head, end, body = data.partition(b"\n\n")
    return b"\n".join(line for line in head.splitlines() if not line.startswith(BUILDER)) + end + body


def build(folder: Path) -> Path:
    """Build a wheel from this checkout."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = folder.glob("*.whl")
    return wheel


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    release: Path = parser.parse_args().wheel
    with tempfile.TemporaryDirectory() as folder:
        own = build(Path(folder))
        found = differences(release, own)
        files = len(content(own))
    for line in found:
        print(line)
    print(f"{release}: {'differs from' if found else 'is'} this checkout ({files} files compared)")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
