"""Pictures of a market as SVG text: plain arrays in, no global state, the same bytes for the same figures."""

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from io import StringIO
from itertools import cycle
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.dates import DateFormatter, HourLocator
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from agent.planning.problem import Floats

INK, FAINT, GRID = "#1f2937", "#6b7280", "#e5e7eb"
GREEN, MAGENTA, AMBER, BLUE, RED = "#15803d", "#a21caf", "#b45309", "#1d4ed8", "#b91c1c"
WIDTH = 8.0
NAMED_MAX = 40
"""More homes than this are drawn without their names."""

_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.fonttype": "none",
    "text.color": INK,
    "axes.labelcolor": FAINT,
    "axes.edgecolor": GRID,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
}


def svg(figure: Figure, salt: str) -> str:
    """Return a figure as an <svg> element; `salt` keeps its ids apart from those of other figures on the page."""
    text = StringIO()
    with mpl.rc_context({**_STYLE, "svg.hashsalt": salt}):
        figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True, bbox_inches="tight")
    return text.getvalue().partition("<svg")[1] + text.getvalue().partition("<svg")[2]


def standing_alone(picture: str) -> str:
    """Return an <svg> element as a file of its own, on white wherever it is shown."""
    return picture.replace("<svg ", '<svg style="background: #ffffff" ', 1)


def new_axes(height: float, *, width: float = WIDTH, rows: int = 1, pad: float = 6) -> tuple[Figure, list[Axes]]:
    """Return a figure with plain axes below each other; sizes in inches, `pad` between ticks and words in points."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height))
        found = [figure.add_subplot(rows, 1, row + 1) for row in range(rows)]
    for axes in found:
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.tick_params(length=0, which="both", pad=pad)
        axes.set_axisbelow(True)
    return figure, found


def convergence(missing: Sequence[float | None], unmatched_wh: Sequence[int]) -> str:
    """Draw, round by round, which share of the possible gain is still missing, and what the bids leave unmatched.

    Args:
        missing: 1 - captured, by round from 1 on; None where there is nothing to gain.
        unmatched_wh: Sum over the horizon of |sum of all bids|.
    """
    figure, (axes,) = new_axes(3.2)
    rounds = np.arange(1, len(missing) + 1)
    shares = np.array([np.nan if share is None else 100 * max(share, 1e-5) for share in missing])
    axes.semilogy(rounds, shares, color=GREEN, marker="o", markersize=4, linewidth=1.8)
    axes.set_ylabel("gain still missing, %", color=GREEN)
    axes.set_xlabel("round")
    axes.grid(axis="y", color=GRID)
    axes.set_xlim(0.5, len(rounds) + 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
    right = axes.twinx()
    right.semilogy(rounds, np.maximum(unmatched_wh, 1), color=MAGENTA, linewidth=1.4, linestyle=(0, (4, 2)))
    right.set_ylabel("unmatched over the horizon, Wh", color=MAGENTA)
    right.tick_params(length=0, which="both")
    for each in (axes, right):
        each.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    for spine in right.spines.values():
        spine.set_visible(False)
    return svg(figure, "convergence")


def compared(missing: Mapping[str, Sequence[float]]) -> str:
    """Draw, for several negotiations, which share of the possible gain is still missing in every round.

    Args:
        missing: 1 - captured by round from 1 on, under the name of the negotiation.
    """
    figure, (axes,) = new_axes(3.2)
    for (name, shares), colour in zip(missing.items(), cycle((GREEN, BLUE, AMBER, MAGENTA)), strict=False):
        rounds = np.arange(1, len(shares) + 1)
        axes.semilogy(rounds, 100 * np.maximum(shares, 1e-5), color=colour, marker="o", markersize=3.5, label=name)
    axes.set_ylabel("gain still missing, %")
    axes.set_xlabel("round")
    axes.grid(axis="y", color=GRID)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return svg(figure, "compared")


def prices(
    starts: Sequence[datetime],
    zone: tzinfo,
    *,
    grid_sells: Floats,
    grid_buys: Floats,
    contract: Floats,
    unit: str,
) -> str:
    """Draw the price between neighbours slot by slot, between what the grid asks and what it pays.

    Args:
        starts: Begin of every slot, and the end of the last one, shape (n + 1,).
        contract: NaN where nothing was traded.
        unit: Of the vertical axis.
    """
    figure, (axes,) = new_axes(3.2)
    times = [at.astimezone(zone) for at in starts]
    for values, name, colour, width in (
        (grid_sells, "the grid sells", AMBER, 1.6),
        (contract, "neighbours", MAGENTA, 2.6),
        (grid_buys, "the grid buys", BLUE, 1.6),
    ):
        axes.step(times, [*values, values[-1]], where="post", color=colour, linewidth=width, label=name)  # type: ignore[arg-type]
    axes.fill_between(times, [*grid_buys, grid_buys[-1]], [*grid_sells, grid_sells[-1]], step="post", color="#f3f4f6")  # type: ignore[arg-type]
    axes.xaxis.set_major_locator(HourLocator(interval=3, tz=zone))  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M", tz=zone))  # type: ignore[no-untyped-call]
    axes.set_ylabel(unit)
    axes.set_ylim(bottom=min(0.0, float(np.min(grid_buys))))
    axes.set_xlim(times[0], times[-1])  # type: ignore[arg-type]
    axes.grid(axis="y", color=GRID)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return svg(figure, "prices")


def partners(names: Sequence[str], energy_kwh: Floats) -> str:
    """Draw who sells to whom.

    Args:
        names: Of the homes, in the order of rows and columns.
        energy_kwh: Shape (homes, homes): row sells to column.
    """
    figure, (axes,) = new_axes(min(7.0, 1.6 + 0.3 * len(names)))
    shades = LinearSegmentedColormap.from_list("trades", ["#fdf4ff", "#e879f9", "#701a75"])
    shown = np.ma.masked_where(energy_kwh <= 0, energy_kwh)
    edges = np.arange(len(names) + 1) - 0.5
    mesh = axes.pcolormesh(edges, edges, shown, cmap=shades, vmin=0, rasterized=len(names) > NAMED_MAX)
    axes.invert_yaxis()
    axes.set_xlabel("buys")
    axes.set_ylabel("sells")
    if len(names) <= NAMED_MAX:
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
    else:
        axes.set_xticks([])
        axes.set_yticks([])
    axes.spines["bottom"].set_visible(False)
    bar = figure.colorbar(mesh, ax=axes, shrink=0.6, pad=0.02)
    bar.set_label("kWh")
    bar.outline.set_visible(False)
    return svg(figure, "partners")


def gains(names: Sequence[str], traded: Sequence[float], auction: Sequence[float] | None, unit: str) -> str:
    """Draw what every home saves against being alone: by trading, and by the auction, where there is one."""
    order = sorted(range(len(names)), key=lambda i: traded[i])
    named = len(names) <= NAMED_MAX
    figure, (axes,) = new_axes(0.8 + 0.26 * len(names) if named else 3.4)
    at, mine = range(len(order)), [traded[i] for i in order]
    theirs = [] if auction is None else [auction[i] for i in order]
    colours = [GREEN if gain >= -0.005 else RED for gain in mine]
    if named:
        axes.barh(at, mine, color=colours, height=0.62, label="trading")
        if theirs:
            axes.scatter(theirs, at, color=AMBER, marker="|", s=110, linewidths=2, zorder=3, label="auction")
        axes.set_yticks(at, [names[i] for i in order])
        axes.grid(axis="x", color=GRID)
        axes.set_xlabel(unit)
        axes.set_ylim(-0.7, len(order) - 0.3)
    else:
        axes.bar(at, mine, color=colours, width=1.0, label="trading")
        if theirs:
            axes.scatter(at, theirs, color=AMBER, s=4, zorder=3, label="auction")
        axes.set_xticks([])
        axes.set_xlabel(f"{len(names)} homes, by what they save")
        axes.grid(axis="y", color=GRID)
        axes.set_ylabel(unit)
    axes.legend(frameon=False, loc="lower right" if named else "upper left")
    return svg(figure, "gains")
