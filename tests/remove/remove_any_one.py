"""`make remove-any-one`: eight homes, and in turn every part of the control points taken away from them.

    python tests/remove/remove_any_one.py [--row TEXT] [--speed 180] [--json] [--write]

Eight homes, each with broker, agent, guard and simulated devices as processes of their own, trade on a simulated clock.
In turn parts are killed, frozen, cut off or taken over. Each time the others must trade in slots agreed on meanwhile,
every battery must stay in its limits and do what its plan or its own house asks for, nobody may be asked who is not in
the settings, and when the part is given back all homes must trade again. In the end all ledgers are compared, and what
was agreed on before each fault must count on both sides. Ends with 1 if anything did not hold.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from removal import Result, compare_ledgers, remove
from removal_cases import CASES, Case
from removed_street import WALL, held_street
from result_table import one_line, plain_table, write_document
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


async def remove_all(
    folder: Path,
    cases: Sequence[Case],
    speed: float,
    on_case: Callable[[str, int], None],
    on_result: Callable[[Result], None],
) -> tuple[list[Result], dict[str, Any]]:
    """Carry out the cases one after the other in one street; return what became of each, and of the ledgers."""
    results: list[Result] = []
    on_case("eight homes start", 0)
    async with held_street(folder, speed) as street:
        for done, case in enumerate(cases):
            on_case(f"{case.row}: {case.how}, {case.what}", done)
            results.append(await remove(street, case))
            on_result(results[-1])
        on_case("the last slots are settled", len(cases))
        last = street.soon()
        await street.comes(lambda: street.progress.now >= last + 3 * (last - street.progress.now), 60)
        street.demo.finish()
        await street.task
        found = compare_ledgers(street, results)
    return results, found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--row", default="", help="only rows with this text in component, how or what")
    parser.add_argument("--speed", type=float, default=180.0, help="simulated seconds per second, at most")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="write the table into CONTROL_POINTS.md")
    options = parser.parse_args()
    cases = [each for each in CASES if options.row.lower() in f"{each.row} {each.how} {each.what}".lower()]
    if options.write and len(cases) < len(CASES):
        parser.error("--write is for the whole table: leave out --row")
    if not cases:
        parser.error(f"no row has {options.row!r} in it; rows: {', '.join(sorted({each.row for each in CASES}))}")
    began_s = WALL.monotonic()
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    with tempfile.TemporaryDirectory(prefix="cw-") as folder, Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=len(cases))
        results, ledgers = asyncio.run(
            remove_all(
                Path(folder),
                cases,
                options.speed,
                lambda what, done: bar.update(task, description=what, completed=done),
                lambda result: console.print(one_line(result)),
            )
        )
    good = all(each.passed for each in results) and not ledgers["ledger_mismatches"] and not ledgers["wh_sold_twice"]
    took_s = round(WALL.monotonic() - began_s)
    if options.json:
        print(json.dumps({"rows": [r.plain() for r in results], **ledgers, "wall_s": took_s}, indent=2))
    else:
        plain_table(results, ledgers, took_s)
    if options.write:
        write_document(results, ledgers, took_s)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
