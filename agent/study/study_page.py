"""report.html of a study: what a treasurer prints. One file, pictures inside, readable without a network."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from agent.dashboard import words
from agent.study import study_pictures as pictures
from agent.study.pictures import standing_alone
from agent.study.study_report import record_of, traded_parts
from agent.study.study_words import NAMES, Study, assumptions, found_words, head_words, money, worse_off

_CSS = """
@page { size: A4; margin: 8mm 12mm; }
:root { color-scheme: light; --ink: #1f2937; --faint: #6b7280; --line: #e5e7eb; --green: #15803d; --red: #b91c1c; }
* { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: #fff; max-width: 60rem; margin: 2rem auto;
  padding: 0 1.25rem; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1rem; margin: 0 0 .3rem; }
p { margin: .25rem 0 .5rem; } .faint { color: var(--faint); }
.lead { font-size: 1.1rem; margin: .75rem 0 1rem; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1.25rem 1.75rem; align-items: start; }
section { margin: 0 0 1rem; break-inside: avoid; }
svg { width: 100%; height: auto; max-height: 24rem; }
table { border-collapse: collapse; width: 100%; font-size: .85rem; font-variant-numeric: tabular-nums; }
th { text-align: right; font-weight: 500; color: var(--faint); } th:first-child, td:first-child { text-align: left; }
td, th { padding: .12rem .4rem; border-bottom: 1px solid var(--line); } td { text-align: right; white-space: nowrap; }
tr.all td { font-weight: 600; } .gain { color: var(--green); } .loss { color: var(--red); }
ul { margin: 0; padding-left: 1.1rem; font-size: .85rem; color: var(--faint); }
@media print {
  body { font-size: 10px; margin: 0; padding: 0; max-width: none; } .lead { font-size: 11.5px; margin: .3rem 0 .5rem; }
  h1 { font-size: 17px; } h2 { font-size: 11.5px; margin: 0 0 1px; }
  section { margin-bottom: .35rem; } .pair { gap: .35rem 1rem; }
  svg { max-height: 46mm; } .pair > :first-child svg { max-height: 33mm; } .pair > :last-child svg { max-height: 69mm; }
  table { font-size: 8.5px; line-height: 1.25; } td, th { padding: .4px 3px; }
  ul { font-size: 8px; line-height: 1.3; columns: 2; column-gap: 7mm; }
}
"""
_FILES = (
    "contracts.csv, flows.csv and constants.json beside this page hold all that the bills with trading follow from; "
    "times in them are UTC."
)


def write_study_page(path: Path, study: Study) -> None:
    path.write_text(study_page(study), encoding="utf-8")


def write_study_pictures(folder: Path, study: Study) -> None:
    """Write bills.svg and week.svg, small enough for a telephone: to be shown elsewhere."""
    week = pictures.week(week_of(study), study.lives.timezone, width=pictures.HALF)
    for name, picture in (("bills", _bills(study)), ("week", week)):
        (folder / f"{name}.svg").write_text(standing_alone(picture), encoding="utf-8")


def study_page(study: Study) -> str:
    """Return the page; it needs the life with trading."""
    name, zone = escape(study.lives.name), escape(str(study.lives.timezone))
    left = [("What all homes pay", _bills(study))]
    if len(study.figures["monthly"]) > 1:
        left.append(("Month by month", _months(study)))
    right = [("What each home saves", _savings(study))] if study.gains() else []
    below = [
        ("A week of one home", _week(study)),
        ("Home by home", _table(study)),
        ("What this rests on", _assumptions(study)),
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{name}: what would we have saved?</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_CSS}</style></head><body>'
        f'<h1>{name}: what would we have saved?</h1><p class="faint">{head_words(study)} (local time of {zone}).</p>'
        f'<p class="lead">{escape(" ".join(found_words(study)))}</p>'
        f'<div class="pair"><div>{_sections(left)}</div><div>{_sections(right)}</div></div>{_sections(below)}'
        f'<p class="faint">{_FILES}</p></body></html>\n'
    )


def _sections(sections: Sequence[tuple[str, str]]) -> str:
    return "".join(f"<section><h2>{title}</h2>{body}</section>" for title, body in sections)


def _bills(study: Study) -> str:
    asked = study.asked
    amounts = [study.bill(name) for name in asked]
    said = [money(study, amount) for amount in amounts]
    return pictures.bills([NAMES[name] for name in asked], amounts, said, asked.index("traded"))


def _months(study: Study) -> str:
    monthly = study.figures["monthly"]
    shown = [name for name in study.asked if name in ("no_battery", study.baseline, "traded")]
    series = {NAMES[name]: [bills[name] for bills in monthly.values()] for name in shown}
    return pictures.months(list(monthly), series, f"{study.lives.currency} a month")


def _savings(study: Study) -> str:
    assert study.reference is not None  # where gains are, both lives are
    return pictures.savings(study.gains(), f"{study.lives.currency} saved against: {NAMES[study.reference].lower()}")


def _home_of_the_week(study: Study) -> int:
    """Return a home in the middle of the field that has as much as there is to see: battery, then sun."""
    homes, gains = study.lives.homes, study.gains()
    richness = [(life.battery is not None, bool(life.pv_w.any())) for life in homes]
    richest = [i for i, rich in enumerate(richness) if rich == max(richness)]
    return sorted(richest, key=lambda i: gains.get(homes[i].name, 0.0))[len(richest) // 2]


def week_of(study: Study, days: int = 7) -> pictures.Week:
    """Return up to a week of one home, from the middle of the period on."""
    lives, i, parts = study.lives, _home_of_the_week(study), traded_parts(study)
    part = parts[len(parts) // 2]
    record, booked = record_of(part), part.segment.booked
    count = min(days * 86_400 // booked.length_s, part.segment.slots)
    begin = (part.segment.slots - count) // 2
    while begin and booked.shifted(begin).start_at.astimezone(lives.timezone).hour:
        begin -= 1
    steps, first = slice(begin, begin + count), booked.shifted(begin)
    at, life, per_kw = lives.index(first), lives.homes[i], 1000 * first.hours
    traded_wh = record.traded_wh()[steps, i]
    return pictures.Week(
        home=life.name,
        starts=[slot.start_at for slot in first.horizon(count + 1)],
        load_kw=life.load_w[at : at + count] / 1000,
        pv_kw=life.pv_w[at : at + count] / 1000,
        expected_load_kw=record.expected_load_w[steps, i] / 1000,
        expected_pv_kw=record.expected_pv_w[steps, i] / 1000,
        bought_kw=traded_wh / per_kw,
        grid_kw=(record.net_wh[steps, i] - traded_wh) / per_kw,
        stored_pct=None if life.battery is None else 100 * record.stored_wh[steps, i] / life.battery.capacity_wh,
    )


def _week(study: Study) -> str:
    week = week_of(study)
    return (
        f"<p>{escape(week.home)}, from the middle of the field. Above: what it used and what its sun gave, beside what "
        "was expected at midnight. Below: what it bought (up) and sold (down), and its battery's charge.</p>"
        f"{pictures.week(week, study.lives.timezone)}"
    )


def _table(study: Study) -> str:
    shown = [name for name in study.asked if name in ("no_battery", "self_consumption", "alone", "traded")]
    titles = [
        "Home",
        *(NAMES[name] for name in shown),
        "Saved",
        "Bought",
        "Sold",
        "Not from the grid",
        "Battery cycles",
    ]
    gains, traded = study.gains(), study.figures["strategies"]["traded"]
    rows = [
        _row(
            escape(name),
            [money(study, study.home_bill(way, name)) for way in shown],
            _gain(study, gains.get(name), lost=worse_off(study, name)),
            traded["homes"][name],
        )
        for name in sorted((life.name for life in study.lives.homes), key=lambda name: -gains.get(name, 0.0))
    ]
    total = _row(
        "All",
        [money(study, study.bill(way)) for way in shown],
        _gain(study, study.bill(study.reference) - study.bill("traded") if study.reference else None, lost=False),
        {**traded, "bought_kwh": traded["traded_kwh"], "sold_kwh": traded["traded_kwh"]},
    ).replace("<tr>", '<tr class="all">')
    head = "".join(f"<th>{title}</th>" for title in titles)
    return f"<table><tr>{head}</tr>{''.join(rows)}{total}</table>"


def _row(name: str, bills: Sequence[str], gain: str, found: Mapping[str, Any]) -> str:
    share = found["self_sufficiency"]
    cells = (
        name,
        *bills,
        gain,
        *(words.energy(1000 * found[key]) for key in ("bought_kwh", "sold_kwh")),
        words.percent(None if share is None else 100 * share),
        f"{found['cycles']:.1f}" if found["cycles"] else words.UNKNOWN,
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _gain(study: Study, gain: float | None, *, lost: bool) -> str:
    if gain is None:
        return words.UNKNOWN
    return f'<span class="{"loss" if lost else "gain"}">{money(study, gain)}</span>'


def _assumptions(study: Study) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in assumptions(study))}</ul>"
