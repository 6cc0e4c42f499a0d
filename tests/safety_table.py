"""Writes the table of docs/safety.md: which tests keep each invariant of the safety case, and their last result.

    python tests/safety_table.py            run the tests, write the table
    python tests/safety_table.py --check    only say whether every test is in the table, and every line a test

A test belongs to an invariant by its name: `test_s7_...` keeps S7.
"""

import argparse
import ast
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs/safety.md"
BEGIN, END = "<!-- table: made by `make safety` -->", "<!-- end of table -->"
INVARIANTS = {
    1: "Observe only: no write function ever leaves before the owner enabled control and the device was commissioned",
    2: "Power: every setpoint lies within battery, fuse, operator's, owner's limits, whatever was read or asked",
    3: "Charge: no discharge at the reserve, no charge at the maximum, with hysteresis; unknown is both",
    4: "Ramp and turn: power grows slowly and shrinks at once; homes change, and return after a power cut, in turn",
    5: "Write budget: registers that wear out are written 24 times a day at most, over restarts and crash loops",
    6: "Reversion: the device's timer is set and read back before the first setpoint; without one, observe only",
    7: "Dead man: whoever dies or freezes, the battery is on its own in time; a start releases and never resumes",
    8: "Stale data: power holds, shrinks and ends as readings grow old; a doubtful value is none",
    9: "Clock: control runs on the clock that never jumps; a jump of the other one ends the plan",
    10: "Grid: protection and grid code are never written; a lost grid ends control, and the return is late",
    11: "Priorities: battery, grid, network operator, owner, contract, price, in this order",
    12: "Effect: a battery that does not do as told is released until a person has looked",
    13: "Decoder: a damaged answer never becomes a setpoint outside the limits",
    14: "Crash anywhere: after any single write, what is left ends by itself",
    15: "Stop: the owner's stop releases at once, without any network, and holds until taken back",
}
_NAME = re.compile(r"test_s(\d+)_")


def safety_tests() -> dict[int, list[tuple[str, str]]]:
    """Return (file, name) of every test that names an invariant, by invariant."""
    found: dict[int, list[tuple[str, str]]] = {number: [] for number in INVARIANTS}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and (match := _NAME.match(node.name)):
                found[int(match[1])].append((str(path.relative_to(ROOT)), node.name))
    return found


def run_tests(tests: Sequence[tuple[str, str]]) -> Mapping[str, str]:
    """Run tests; return by name `passed (3)` or `FAILED`."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        nodes = [f"{file}::{name}" for file, name in tests]
        command = [sys.executable, "-m", "pytest", "-q", "-o", "timeout=300", f"--junitxml={report}", *nodes]
        subprocess.run(command, cwd=ROOT, check=False)
        cases = list(ElementTree.parse(report).iter("testcase"))
    results: dict[str, str] = {}
    for _, name in tests:
        own = [case for case in cases if case.get("name", "").partition("[")[0] == name]
        bad = [case for case in own if any(child.tag in ("failure", "error", "skipped") for child in case)]
        results[name] = "FAILED" if bad or not own else "passed" if len(own) == 1 else f"passed ({len(own)})"
    return results


def table(tests: Mapping[int, Sequence[tuple[str, str]]], results: Mapping[str, str]) -> str:
    """Return the table in Markdown."""
    lines = ["| id | invariant | test | last result |", "|---|---|---|---|"]
    for number, words in INVARIANTS.items():
        for at, (file, name) in enumerate(tests[number]):
            first = (f"S{number}", words) if at == 0 else ("", "")
            lines.append(f"| {first[0]} | {first[1]} | `{file}::{name}` | {results.get(name, 'not run')} |")
    return "\n".join(lines)


def listed(text: str) -> set[tuple[str, str]]:
    """Return the (file, name) in the document's table."""
    return set(re.findall(r"`(tests/\S+)::(test_\w+)`", text.partition(BEGIN)[2].partition(END)[0]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    tests = safety_tests()
    everything = [test for found in tests.values() for test in found]
    if options.check:
        missing = set(everything) ^ listed(DOCUMENT.read_text(encoding="utf-8"))
        print(f"out of date, run `make safety`: {sorted(missing)}" if missing else "up to date")
        return 1 if missing else 0
    results = run_tests(everything)
    head, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    DOCUMENT.write_text(f"{head}{BEGIN}\n{table(tests, results)}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    return 1 if "FAILED" in results.values() else 0


if __name__ == "__main__":
    sys.exit(main())
