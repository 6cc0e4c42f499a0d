"""Pictures of a backtest as SVG text, in the style of the market's."""

from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
from matplotlib.dates import DateFormatter, DayLocator

from agent.forecast.history import LocalTime
from agent.forecast.naive import DAY_S
from agent.study.backtest import Walked
from agent.study.pictures import AMBER, BLUE, FAINT, GREEN, GRID, INK, RED, new_axes, svg

Known = Sequence[tuple[str, Walked]]


def skills(known: Known) -> str:
    """Draw every home's skill in MAE, and that of the 7-day mean."""
    ordered = sorted(known, key=lambda item: item[1].scores.skill_mae)
    figure, (axes,) = new_axes(0.9 + 0.22 * len(ordered))
    at = range(len(ordered))
    scores = [walked.scores for _, walked in ordered]
    ours = [100 * s.skill_mae for s in scores]
    mean7 = [100 * (1 - s.mae_mean7 / min(s.mae_day, s.mae_week)) for s in scores]
    axes.barh(at, ours, color=[GREEN if skill > 0 else RED for skill in ours], height=0.62, label="our median forecast")
    axes.scatter(mean7, at, color=AMBER, marker="|", s=90, linewidths=2, zorder=3, label="mean of seven days")
    axes.set_yticks(at, [name for name, _ in ordered])
    axes.set_xlabel("smaller error than the better of yesterday and last week, %")
    axes.set_ylim(-0.7, len(ordered) - 0.3)
    axes.grid(axis="x", color=GRID)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return svg(figure, "skills")


def week(walked: Walked, zone: ZoneInfo) -> str:
    """Draw a week in the middle of the walk: truth, median, band. Each day as it was issued at its beginning."""
    per_day = walked.keys.shape[1]
    starts = walked.keys[:, 0]
    days = [int(starts[len(starts) // 2])]
    while len(days) < 7 and days[-1] + DAY_S <= starts[-1]:
        days.append(int(starts[np.searchsorted(starts, days[-1] + DAY_S - 3600)]))
    rows = np.unique(np.searchsorted(starts, days))
    times = [datetime.fromtimestamp(key, UTC) for key in walked.keys[rows].ravel().tolist()]
    band = walked.band_w[rows].reshape(-1, 3) / 1000
    figure, (axes,) = new_axes(3.4)
    axes.fill_between(times, band[:, 0], band[:, 2], step="post", color="#dbeafe", label="80 % band")  # type: ignore[arg-type]
    axes.step(times, walked.truth_w[rows].ravel() / 1000, where="post", color=INK, linewidth=1.0, label="what came")  # type: ignore[arg-type]
    axes.step(times, band[:, 1], where="post", color=BLUE, linewidth=1.6, label="median forecast")  # type: ignore[arg-type]
    axes.xaxis.set_major_locator(DayLocator(tz=zone))  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(DateFormatter("%a %-d %b", tz=zone))  # type: ignore[no-untyped-call]
    axes.set_xlim(times[0], times[min(len(times), 7 * per_day) - 1])  # type: ignore[arg-type]
    axes.set_ylim(bottom=0)
    axes.set_ylabel("kW")
    axes.grid(axis="y", color=GRID)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return svg(figure, "week")


def hours(walks: Sequence[Walked], zone: ZoneInfo) -> str:
    """Draw the error by local hour, ours and the 7-day mean's."""
    local = LocalTime(zone)
    ours, naive = np.zeros((len(walks), 24)), np.zeros((len(walks), 24))
    for row, walked in enumerate(walks):
        hour = local.seconds(walked.keys.ravel()) % DAY_S // 3600
        truth = walked.truth_w.ravel()
        for table, said in ((ours, walked.band_w[:, :, 1].ravel()), (naive, walked.mean7_w.ravel())):
            missed = np.abs(truth - said)
            good = np.isfinite(missed)
            total = np.bincount(hour[good], weights=missed[good], minlength=24)
            table[row] = total / np.maximum(np.bincount(hour[good], minlength=24), 1)
    figure, (axes,) = new_axes(2.8)
    edges = np.arange(25)
    for table, name, colour, width in (
        (naive, "mean of seven days", AMBER, 1.6),
        (ours, "median forecast", GREEN, 2.4),
    ):
        mean = table.mean(axis=0)
        axes.step(edges, [*mean, mean[-1]], where="post", color=colour, linewidth=width, label=name)
    axes.set_xticks(range(0, 25, 3))
    axes.set_xlim(0, 24)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("local hour")
    axes.set_ylabel("mean absolute error, W")
    axes.grid(axis="y", color=GRID)
    axes.legend(frameon=False, loc="upper left")
    return svg(figure, "hours")


def coverage(known: Known) -> str:
    """Draw which share of the truth lay in each home's band."""
    shares = sorted(100 * walked.scores.coverage80 for _, walked in known)
    figure, (axes,) = new_axes(2.2)
    axes.axhspan(77, 83, color="#dcfce7")
    axes.axhline(80, color=FAINT, linewidth=0.8)
    axes.plot(range(len(shares)), shares, linestyle="none", marker="o", markersize=4, color=GREEN)
    axes.set_ylim(min(70.0, shares[0] - 1), max(90.0, shares[-1] + 1))
    axes.set_xticks([])
    axes.set_xlabel(f"homes: {len(shares)}, by coverage")
    axes.set_ylabel("within the band, %")
    axes.grid(axis="y", color=GRID)
    return svg(figure, "coverage")
