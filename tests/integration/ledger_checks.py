"""What homes that traded owe each other is shown, exported, and checked by anybody: by the commands alone."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from demo_helpers import RunningDemo
from typer.testing import CliRunner

from agent.cli.main import app
from coordinator.errors import ConfigError
from coordinator.ledger_export import EvidenceError


def ledger(*words: str | Path, code: int = 0) -> str:
    """Run `commonwatt ledger ...` and return what it printed."""
    result = CliRunner().invoke(app, ["ledger", *map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def shown(config: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ledger("show", "--config", config, "--json"))
    return found


def prove_by_exports(street: RunningDemo, names: Sequence[str], folder: Path) -> None:
    """Export all homes' ledgers, change one, and let everybody's be checked as a stranger would."""
    out = folder / "out"
    exports = []
    for name in names:
        config = street.file(name).config
        found = shown(config)
        assert found["problems"] == found["proofs"] == found["concerns"] == []
        text = ledger("show", "--config", config)
        assert all(line["name"] in text for line in found["partners"])
        ledger("export", out, "--config", config, *(word for path in exports for word in ("--with", path)))
        exports.append(out / f"ledger-{name}.txt")
        rows = list(csv.DictReader((out / f"contracts-{name}-all.csv").read_text().splitlines()))
        counted = [row for row in rows if row["status"] == "counted"]
        assert len(counted) == sum(line["contracts"] for line in found["partners"])
    checked = json.loads(ledger("verify", *exports, "--json"))
    assert [each["problems"] for each in checked["files"]] == [[]] * len(names)
    assert checked["together"]["disagreements"] == checked["together"]["missing"] == []
    page = (out / f"statement-{names[-1]}-all.html").read_text()
    assert "Who pays whom" in page
    assert "<script" not in page
    community = checked["files"][0]["community"]
    assert "right" in ledger("verify", exports[0], "--community", community)
    with pytest.raises(EvidenceError, match="is of community"):
        ledger("verify", exports[0], "--community", "0" * 16)
    changed = exports[0].read_bytes().replace(b'"at_ms":1', b'"at_ms":2', 1)
    (out / "changed.txt").write_bytes(changed)
    with pytest.raises(EvidenceError, match="something in it was changed"):
        ledger("verify", out / "changed.txt")
    assert "right" in ledger("verify", "--config", street.file(names[0]).config, "--community", community)
    with pytest.raises(EvidenceError, match="is of community"):
        ledger("verify", "--config", street.file(names[0]).config, "--community", "0" * 16)
    partner = shown(street.file(names[0]).config)["partners"][0]["name"]
    ledger("export", out, "--config", street.file(names[0]).config, "--about", partner)
    assert "counts: " in ledger("verify", out / f"evidence-{names[0]}-{partner}.txt")
    with pytest.raises(ConfigError, match="no member is called"):
        ledger("export", out, "--config", street.file(names[0]).config, "--about", "nobody")
