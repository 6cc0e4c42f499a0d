"""How a study looks in a terminal."""

from datetime import date

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agent.dashboard import words
from agent.study.study_words import NAMES, Study, found_words, head_words, money, worse_off

SHOWN_MAX = 24
"""A longer list of homes is shown by its ends: who gains most and who gains least."""
ENDS = 6
_REFERENCES = {"alone": "Alone", "self_consumption": "Own sun only", "no_battery": "No battery"}


def study_view(study: Study, width: int) -> RenderableType:
    """Return the whole answer for a terminal of `width` characters."""
    found = [Text(line) for line in found_words(study)]
    parts: list[RenderableType] = [_head(study), Text(), _bills(study, max(6, min(30, width - 66))), Text(), *found]
    if study.gains():
        parts.append(_homes(study))
    if len(study.figures["monthly"]) > 1:
        parts.append(_months(study))
    return Group(*parts, _effort(study))


def _head(study: Study) -> Text:
    rule = words.PRICE_RULES[study.question.options.rules.price_rule]
    text = Text()
    text.append(study.lives.name, "bold")
    text.append(f": {head_words(study)}\n")
    text.append(f"Forecasts: {study.question.forecast}. Price between neighbours: {rule}.", "dim")
    return text


def _bills(study: Study, bar: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("All homes", no_wrap=True)
    table.add_column("", no_wrap=True)
    for title in ("Bill", "Saved", "Not from\nthe grid", "Battery\ncycles"):
        table.add_column(title, justify="right", no_wrap=True)
    base = None if study.baseline is None else study.bill(study.baseline)
    most = max(1e-9, *(study.bill(name) for name in study.asked))
    for name in study.asked:
        found, bill, ours = study.figures["strategies"][name], study.bill(name), name == "traded"
        table.add_row(
            NAMES[name],
            Text("█" * round(bar * max(bill, 0.0) / most), "green" if ours else "dim"),
            money(study, bill),
            words.UNKNOWN if base is None or name == study.baseline else money(study, base - bill),
            _share(found["self_sufficiency"]),
            f"{found['cycles']:.1f}" if found["cycles"] else words.UNKNOWN,
            style="bold green" if ours else "",
        )
    return table


def _share(share: float | None) -> str:
    return words.UNKNOWN if share is None else f"{100 * share:.1f} %"


def _homes(study: Study) -> RenderableType:
    gains = sorted(study.gains().items(), key=lambda item: -item[1])
    most = max(1e-9, *(gain for _, gain in gains))
    assert study.reference is not None  # where gains are, both lives are
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
    table.add_column("Home", overflow="fold", min_width=8)
    for title in (_REFERENCES[study.reference], "Together", "Saved"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for title in ("Bought", "Sold"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, gain in gains if len(gains) <= SHOWN_MAX else gains[:ENDS]:
        _home_row(table, study, name, gain, most)
    if len(gains) > SHOWN_MAX:
        table.add_row(f"… {len(gains) - 2 * ENDS} more", style="dim")
        for name, gain in gains[-ENDS:]:
            _home_row(table, study, name, gain, most)
    return table


def _home_row(table: Table, study: Study, name: str, gain: float, most: float) -> None:
    assert study.reference is not None
    home = study.figures["strategies"]["traded"]["homes"][name]
    table.add_row(
        Text(name),
        money(study, study.home_bill(study.reference, name)),
        money(study, home["bill"]),
        Text(money(study, gain), "red" if worse_off(study, name) else "green"),
        Text("█" * round(8 * max(gain, 0.0) / most), "green"),
        *(words.energy(1000 * home[key]) if home[key] else words.UNKNOWN for key in ("bought_kwh", "sold_kwh")),
    )


def _months(study: Study) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
    table.add_column("Month", no_wrap=True)
    shown = [name for name in study.asked if name in ("no_battery", "self_consumption", "alone", "traded")]
    for name in shown:
        table.add_column(NAMES[name], justify="right")
    base = study.baseline if "traded" in study.asked else None
    if base is not None:
        table.add_column("Saved", justify="right", no_wrap=True)
    for month, bills in study.figures["monthly"].items():
        cells = [money(study, bills[name]) for name in shown]
        if base is not None:
            cells.append(money(study, bills[base] - bills["traded"]))
        table.add_row(f"{date.fromisoformat(f'{month}-01'):%b %Y}", *cells)
    return table


def _effort(study: Study) -> Text:
    found, said = study.figures["strategies"], []
    if "traded" in found:
        ours = found["traded"]
        said.append(
            f"{words.energy(1000 * ours['traded_kwh'])} traded, {_share(ours['trade_share'])} of all that was bought, "
            f"in {ours['rounds_mean']:.1f} rounds of bids per slot."
        )
    said.append(
        f"Computing took {sum(each['seconds'] for each in found.values()):.0f} s of CPU, forecasts "
        f"{study.answer.forecast_seconds:.0f} s more."
    )
    return Text(" ".join(said), "dim")
