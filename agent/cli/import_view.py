"""How an import looks in a terminal."""

from typing import Any

import numpy as np
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agent.imports.columns import Column
from agent.imports.job import Imported

_KINDS = {"power": "power", "energy": "interval", "counter": "counter", None: "?"}


def columns_view(offered: list[Column]) -> RenderableType:
    """Return the columns of a source, numbered from 1."""
    table = Table("", box=box.SIMPLE_HEAD)
    table.add_column("column", overflow="fold")
    for title in ("unit", "kind", "seems to be"):
        table.add_column(title)
    for number, column in enumerate(offered, start=1):
        unit = column.unit.name if column.unit else "?"
        role = (column.role or "").replace("_", " ")
        name = Text.assemble(column.name, (f"\n{column.about}", "dim") if column.about else "")
        table.add_row(str(number), name, unit, _KINDS[column.kind], role)
    return table


def plain_columns(offered: list[Column]) -> list[dict[str, Any]]:
    """Return the same for JSON."""
    return [
        {
            "name": column.name,
            "unit": column.unit.name if column.unit else None,
            "kind": column.kind,
            "seems_to_be": column.role,
            "about": column.about,
        }
        for column in offered
    ]


def imported_view(imported: Imported) -> RenderableType:
    """Return what was read, written and found."""
    record, job = imported.record, imported.job
    end_at = record.first.shifted(record.slots).start_at
    head = (
        f"{job.entry.name}: {record.first.start_at:%Y-%m-%d %H:%M} to {end_at:%Y-%m-%d %H:%M} UTC, "
        f"{record.slots} slots of {record.first.length_s // 60} minutes, from {job.source.path.name} "
        f"({job.source.words})"
    )
    load_kwh, pv_kwh = (float(np.nansum(power)) * record.first.hours / 1000 for power in (record.load_w, record.pv_w))
    how = "as measured" if record.measured else "grid + pv + battery"
    lines: list[RenderableType] = [
        Text(head),
        _columns_read(imported),
        Text(f"load {load_kwh:.1f} kWh ({how}), pv {pv_kwh:.1f} kWh"),
        Text(),
    ]
    for each in imported.findings:
        lines.append(Text(("! " if each.serious else "  ") + each.text, style="yellow" if each.serious else ""))
    lines += [Text(f"  {sentence}") for sentence in imported.said]
    if not imported.findings and not imported.said:
        lines.append(Text("  Nothing is missing or implausible."))
    lines.append(Text())
    if not imported.files:
        lines.append(Text("Nothing was written (--dry-run)."))
        return Group(*lines)
    lines.append(Text(f"Wrote {', '.join(str(path) for path in imported.files)}.", overflow="fold"))
    lines.append(Text(f"Next: commonwatt forecast backtest {job.folder}, commonwatt study {job.folder}"))
    return Group(*lines)


def _columns_read(imported: Imported) -> Table:
    table = Table("role", box=box.SIMPLE_HEAD)
    table.add_column("column", overflow="fold")
    for title in ("unit", "kind"):
        table.add_column(title)
    for title in ("values", "kWh"):
        table.add_column(title, justify="right")
    for meter in imported.meters:
        chosen = meter.chosen
        energy = f"{meter.sums.total_wh / 1000:.1f}"
        table.add_row(
            chosen.role.replace("_", " "), Text(chosen.name), chosen.unit.name, chosen.kind, str(meter.rows), energy
        )
    return table
