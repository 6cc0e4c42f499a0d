"""CONTROL_POINTS.md claims no proof that does not exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
HEADER = [
    "component",
    "who can stop it",
    "who can read it",
    "who can change it",
    "outside parties that can do so alone",
    "what happens then",
    "proof",
]


def rows() -> list[dict[str, str]]:
    """Return the rows of the first table, by column."""
    table: list[list[str]] = []
    for line in (ROOT / "CONTROL_POINTS.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("|"):
            table.append([cell.strip() for cell in line.strip("|").split("|")])
        elif table:
            break
    assert table[0] == HEADER
    return [dict(zip(HEADER, row, strict=True)) for row in table[2:]]


def test_every_control_point_names_a_proof_or_says_that_there_is_none() -> None:
    unproven = [
        row["component"] for row in rows() if not re.search(r"`tests/\S+::\w+`|no test yet: issue \d", row["proof"])
    ]
    assert not unproven


def test_every_proof_of_a_control_point_exists() -> None:
    proofs = [proof for row in rows() for proof in re.findall(r"`(tests/\S+)::(\w+)`", row["proof"])]
    assert proofs
    missing = [
        f"{file}::{name}"
        for file, name in proofs
        if not (ROOT / file).is_file() or f"def {name}(" not in (ROOT / file).read_text(encoding="utf-8")
    ]
    assert not missing
