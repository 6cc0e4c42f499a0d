"""What a release must be: one version, pinned dependencies, and no trace of the machine it was written on."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# Written with gaps ("[/]", "[.]") so that this file does not find itself.
TRACES = re.compile(
    r"(?<![\w.<>})-])[/](root|work|Users|home[/][a-z]\w*)[/]|[/][.]?py[e]nv"
    r"|py[p]i[.]org|python[h]osted[.]|ghcr[.]io|registry[.](npmjs|hub|gitlab)|(extra-)?index[-]url|find[-]links"
)


def release_files() -> list[Path]:
    """Return the files that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for path in release_files()
        for number, line in enumerate(path.read_bytes().decode("utf-8", errors="ignore").splitlines(), start=1)
        if TRACES.search(line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "trace"),
    [
        ("path = '/" + "home/anna/commonwatt'", True),
        ("cd /" + "root/project", True),
        ("see https://py" + "pi.org/project/x", True),
        ("--index" + "-url https://example.org", True),
        ("cw/1/elm-street/home/pub", False),
        ("/etc/commonwatt/commonwatt.toml", False),
    ],
)
def test_planted_trace_is_found(text: str, trace: bool) -> None:
    assert bool(TRACES.search(text)) is trace


def test_changelog_begins_with_the_version_of_the_package() -> None:
    versions = re.findall(r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert versions[:1] == [PROJECT["version"]]


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [
        re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][A-Za-z0-9.]*)", line) for line in lines if not line.startswith("#")
    ]
    assert all(pins), "constraints.txt holds names and versions only"
    return {canonicalize_name(pin[1]): pin[2] for pin in pins if pin}


def test_every_dependency_is_pinned_to_a_version_it_allows() -> None:
    pinned = constraints()
    extras = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    wrong = [
        line
        for line in [*PROJECT["dependencies"], *extras]
        if (wanted := Requirement(line)).name != PROJECT["name"]
        and not wanted.specifier.contains(pinned.get(canonicalize_name(wanted.name), "0"))
    ]
    assert not wrong, f"add or correct in constraints.txt: {wrong}"
