"""Pictures of a study as SVG text, small enough that four of them fit a printed page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import DateFormatter, DayLocator
from matplotlib.figure import Figure

from agent.planning.problem import Floats
from agent.study.pictures import AMBER, BLUE, FAINT, GREEN, GRID, INK, MAGENTA, NAMED_MAX, RED, new_axes, svg

HALF, WHOLE = 5.2, 10.8
"""Widths of a picture that stands beside another, or on a telephone, and of one that stands alone on a page."""
PALE, MIDDLE = "#cbd5e1", "#94a3b8"


def _axes(width: float, height: float, rows: int = 1) -> tuple[Figure, list[Axes]]:
    return new_axes(height, width=width, rows=rows, pad=5)


def bills(names: Sequence[str], amounts: Sequence[float], said: Sequence[str], ours: int) -> str:
    """Draw the bill of every way to live, first on top.

    Args:
        said: The amounts in words.
        ours: Place of the one to point at.
    """
    figure, (axes,) = _axes(0.8 * HALF, 0.5 + 0.34 * len(names))
    at = np.arange(len(names))[::-1]
    bars = axes.barh(at, amounts, color=[GREEN if i == ours else PALE for i in range(len(names))], height=0.66)
    axes.bar_label(bars, said, padding=4, color=INK)
    axes.set_yticks(at, names)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_xlim(min(0.0, *amounts), 1.25 * max(0.01, *amounts))
    return svg(figure, "bills")


def months(names: Sequence[str], series: Mapping[str, Sequence[float]], unit: str) -> str:
    """Draw the bill of every month, side by side for several ways to live, ours last.

    Args:
        names: Months as "2016-08".
        series: Bills by month under the name of the way.
    """
    figure, (axes,) = _axes(HALF, 2.5)
    at, width = np.arange(len(names)), 0.8 / len(series)
    for number, (name, amounts) in enumerate(series.items()):
        colour = GREEN if number == len(series) - 1 else (PALE, MIDDLE)[number % 2]
        axes.bar(at + (number - (len(series) - 1) / 2) * width, amounts, width=0.92 * width, color=colour, label=name)
    days = [date.fromisoformat(f"{name}-01") for name in names]
    axes.set_xticks(
        at, [f"{day:%b}\n{day:%Y}" if i == 0 or day.month == 1 else f"{day:%b}" for i, day in enumerate(days)]
    )
    axes.axhline(0, color=FAINT, linewidth=0.6)
    axes.set_ylabel(unit)
    axes.grid(axis="y", color=GRID)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return svg(figure, "months")


def savings(gains: Mapping[str, float], unit: str) -> str:
    """Draw what every home saves."""
    ordered = sorted(gains.items(), key=lambda item: item[1])
    named = len(ordered) <= NAMED_MAX
    figure, (axes,) = _axes(HALF, 0.8 + 0.22 * len(ordered) if named else 3.0)
    at, values = range(len(ordered)), [gain for _, gain in ordered]
    colours = [GREEN if gain >= 0 else RED for gain in values]
    if named:
        axes.barh(at, values, color=colours, height=0.66)
        axes.set_yticks(at, [name for name, _ in ordered])
        axes.set_ylim(-0.6, len(ordered) - 0.4)
        axes.grid(axis="x", color=GRID)
        axes.set_xlabel(unit)
    else:
        axes.bar(at, values, color=colours, width=1.0)
        axes.set_xticks([])
        axes.set_xlabel(f"{len(ordered)} homes, by what they save")
        axes.set_ylabel(unit)
        axes.grid(axis="y", color=GRID)
    return svg(figure, "savings")


@dataclass(frozen=True, slots=True, kw_only=True)
class Week:
    """Some days of one home, shape (n,) each; powers in kW.

    Args:
        starts: Begin of every slot, and the end of the last one, shape (n + 1,).
        expected_load_kw: As forecast at the midnight before.
        expected_pv_kw: Likewise.
        bought_kw: From neighbours, minus what was sold to them.
        grid_kw: From the grid, minus what went there; trades not counted.
        stored_pct: Charge of the battery; None without one.
    """

    home: str
    starts: Sequence[datetime]
    load_kw: Floats
    pv_kw: Floats
    expected_load_kw: Floats
    expected_pv_kw: Floats
    bought_kw: Floats
    grid_kw: Floats
    stored_pct: Floats | None


def week(found: Week, zone: tzinfo, width: float = WHOLE) -> str:
    """Draw load and sun beside their forecasts, and below it trades, grid and battery."""
    narrow = width < WHOLE
    figure, (upper, lower) = _axes(width, 6.4 if narrow else 4.4, rows=2)
    times: Any = list(found.starts)
    for values, expected, name, colour in (
        (found.load_kw, found.expected_load_kw, "load", INK),
        (found.pv_kw, found.expected_pv_kw, "sun", AMBER),
    ):
        upper.step(times, _closed(values), where="post", color=colour, linewidth=1.5, label=name)
        dotted, label = (0, (2, 2)), f"{name}, as forecast at midnight"
        upper.step(times, _closed(expected), where="post", color=colour, linewidth=1.0, linestyle=dotted, label=label)
    upper.set_ylim(bottom=0)
    upper.set_ylabel("kW")
    for values, name, colour in ((found.bought_kw, "neighbours", MAGENTA), (found.grid_kw, "grid", MIDDLE)):
        lower.fill_between(times, _closed(values), step="post", color=colour, alpha=0.75, linewidth=0, label=name)
    lower.axhline(0, color=FAINT, linewidth=0.6)
    lower.set_ylabel("kW, + buys")
    if found.stored_pct is not None:
        _charge(lower, times[1:], found.stored_pct)
    for axes in (upper, lower):
        axes.set_xlim(times[0], times[-1])
        axes.grid(axis="both", color=GRID)
        axes.xaxis.set_major_locator(DayLocator(tz=zone))  # type: ignore[no-untyped-call]
        day = "%a\n%-d %b" if narrow else "%a %-d %b"
        axes.xaxis.set_major_formatter(DateFormatter(day, tz=zone))  # type: ignore[no-untyped-call]
        axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 0.98), ncols=2 if narrow else 4)
    figure.subplots_adjust(hspace=0.42)
    return svg(figure, "week")


def _charge(axes: Axes, times: Any, stored_pct: Floats) -> None:
    right = axes.twinx()
    right.plot(times, stored_pct, color=BLUE, linewidth=1.2)
    right.set_ylim(0, 100)
    right.set_ylabel("battery, %", color=BLUE)
    right.tick_params(length=0)
    for spine in right.spines.values():
        spine.set_visible(False)


def _closed(values: Floats) -> Floats:
    """Return the values with the last one repeated, for lines that end where the last slot does."""
    return np.append(values, values[-1])
