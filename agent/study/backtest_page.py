"""The report of a backtest: one HTML file with pictures inside, and the forecasts from which to recompute it."""

import csv
import gzip
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from agent.simulator.community import Community
from agent.study import backtest_pictures as pictures
from agent.study.backtest import HomeBacktest, Walk, Walked
from coordinator.errors import ConfigError

PAGE, FORECASTS, FIGURES = "report.html", "forecasts.csv.gz", "backtest.json"
_COLUMNS = ("home", "quantity", "issued", "slot", "truth_w", "mean_w", "q10_w", "q50_w", "q90_w")

_CSS = """
:root { color-scheme: light; --ink: #1f2937; --faint: #6b7280; --line: #e5e7eb; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: #fff; max-width: 52rem; margin: 2.5rem auto;
  padding: 0 1.25rem; }
h1 { font-size: 1.7rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .25rem; }
p { margin: .25rem 0 .75rem; } .faint { color: var(--faint); }
.key { display: grid; grid-template-columns: repeat(auto-fit, minmax(12rem, 1fr)); gap: .75rem; margin: 1.5rem 0; }
.key div { border: 1px solid var(--line); border-radius: .6rem; padding: .8rem .9rem; }
.key b { display: block; font-size: 1.35rem; }
svg { width: 100%; height: auto; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th { text-align: right; font-weight: 500; color: var(--faint); } th:first-child, td:first-child { text-align: left; }
td, th { padding: .25rem .5rem; border-bottom: 1px solid var(--line); white-space: nowrap; } td { text-align: right; }
"""

_SKILL = (
    "How far the mean absolute error of our median forecast lies below that of the better of two easy guesses: the "
    "same time yesterday, and the same time last week. The marks show what the mean of the last seven days achieves."
)
_HOURS = "Mean absolute error by local hour of the day, mean over all homes."
_BAND = (
    "Share of slots in which the truth lay within the 80 % band. Right is 80: less promises too much, more says too "
    "little. The shaded stretch is 77 to 83."
)
_TABLE = "Watts. MAE of the median forecast, RMSE and bias of the mean forecast (+ is too high)."


def write_backtest(
    folder: Path, community: Community, walk: Walk, results: Sequence[HomeBacktest], figures: Mapping[str, Any]
) -> None:
    """Write page, figures and forecasts; older files of the same names are replaced.

    Raises:
        ConfigError: If the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FIGURES).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        (folder / PAGE).write_text(page(community, walk, results, figures), encoding="utf-8")
        with gzip.open(folder / FORECASTS, "wt", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(_COLUMNS)
            for result in results:
                for quantity, walked in (("load", result.load), ("pv", result.pv)):
                    if walked is not None:
                        _write_rows(writer, result.name, quantity, walked)
    except OSError as error:
        raise ConfigError(f"--report {folder}: cannot be written: {error.strerror}; name another folder") from None


def _write_rows(writer: Any, home: str, quantity: str, walked: Walked) -> None:
    times = {key: f"{datetime.fromtimestamp(key, UTC):%Y-%m-%dT%H:%M:%SZ}" for key in set(walked.keys.ravel().tolist())}
    for issue, keys in enumerate(walked.keys.tolist()):
        for step, key in enumerate(keys):
            truth = walked.truth_w[issue, step]
            watts = [walked.mean_w[issue, step], *walked.band_w[issue, step]]
            cells = ["" if np.isnan(truth) else f"{truth:.1f}", *(f"{value:.1f}" for value in watts)]
            writer.writerow([home, quantity, times[keys[0]], times[key], *cells])


def page(community: Community, walk: Walk, results: Sequence[HomeBacktest], figures: Mapping[str, Any]) -> str:
    """Return the page; homes without any known slot are left out."""
    name = escape(community.name)
    known = [(result.name, result.load) for result in results if result.load is not None]
    middle = sorted(known, key=lambda item: item[1].scores.skill_mae)[len(known) // 2]
    zone = community.timezone
    week_words = (
        f"The home in the middle of the field, {escape(middle[0])}: what came, the median forecast issued "
        f"{'at midnight' if walk.issue == 'midnight' else 'a day before each slot'}, and the 80 % band."
    )
    sections = (
        ("Better than a guess", _SKILL, pictures.skills(known)),
        ("A week", week_words, pictures.week(middle[1], zone)),
        ("When it is hard", _HOURS, pictures.hours([walked for _, walked in known], zone)),
        ("Is the band honest?", _BAND, pictures.coverage(known)),
        ("Home by home", _TABLE, _table(known)),
    )
    body = "\n".join(f"<section><h2>{title}</h2><p>{text}</p>{picture}</section>" for title, text, picture in sections)
    homes = f"{len(known)} home{'s' if len(known) > 1 else ''}"
    issued = "at every local midnight" if walk.issue == "midnight" else "at every slot"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{name}: forecasts looked back</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_CSS}</style></head><body>'
        f"<h1>How good are the forecasts for {name}?</h1>"
        f'<p class="faint">Load of {homes}, a day ahead, issued {issued} from {_day(known, 0)} to '
        f"{_day(known, -1)} ({escape(zone.key)}). Every forecast knows only what was metered before it; habits are "
        f"learned anew every {walk.refit_days} days, each home from its own meter alone.</p>"
        f'{_cards(figures["mean"])}{body}<p class="faint">{FORECASTS} and {FIGURES} beside this page hold every '
        "forecast with what came; times in them are UTC.</p></body></html>\n"
    )


def _day(known: Sequence[tuple[str, Walked]], which: int) -> str:
    return f"{datetime.fromtimestamp(int(known[0][1].keys[which, 0]), UTC):%-d %B %Y}"


def _cards(mean: Mapping[str, float]) -> str:
    cards = (
        (f"{100 * mean['skill_mae']:.1f} %", "smaller error than the better of yesterday and last week"),
        (f"{mean['rmse_ratio_mean7']:.3f}", "root mean square error of the mean forecast, where the 7-day mean is 1"),
        (f"{100 * mean['coverage80']:.1f} %", "of what came lay in the 80 % band"),
    )
    return '<div class="key">' + "".join(f"<div><b>{value}</b>{text}</div>" for value, text in cards) + "</div>"


def _table(known: Sequence[tuple[str, Walked]]) -> str:
    titles = ("Home", "Mean", "MAE", "Yesterday", "Last week", "7-day mean", "4 weekdays", "RMSE", "7-day mean", "Bias")
    rows = []
    for name, walked in sorted(known, key=lambda item: -item[1].scores.skill_mae):
        s = walked.scores
        watts = (s.mean_w, s.mae, s.mae_day, s.mae_week, s.mae_mean7, s.mae_meanw4, s.rmse, s.rmse_mean7)
        cells = [escape(name), *(f"{value:.0f}" for value in watts), f"{s.bias:+.0f}"]
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{title}</th>" for title in titles)
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(rows)}</table></div>'
