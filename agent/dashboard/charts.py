"""Options of the charts of power and charge, and what all charts share, as plain data. Pure.

Times are categories written in the community's zone, because a browser's axis would use the reader's zone and a local
day has 23 or 25 hours twice a year. Colours are CSS variables (the charts are SVG), so dark and light need no second
set. Tooltips are drawn as text, never as HTML.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from agent.dashboard import time_words, words
from agent.dashboard.picture import HomePicture

Options = dict[str, Any]
Series = Sequence[float | None]

_PAST = timedelta(hours=24)
_AHEAD = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The slots a chart shows, oldest first."""

    starts: tuple[datetime, ...]
    now_at: int
    """Index of the running slot."""

    def labels(self, zone: ZoneInfo) -> list[str]:
        return [time_words.clock_time(start, zone) for start in self.starts]


def frame(now: datetime, length: timedelta, known: Iterable[datetime], ahead: timedelta = _AHEAD) -> Frame:
    """Return the slots from the oldest known one, at most a day back, to `ahead` from now."""
    length_s = int(length.total_seconds())
    running_s = int(now.timestamp()) // length_s * length_s
    first_s = min([int(k.timestamp()) for k in known if now - _PAST <= k] + [running_s])
    last_s = running_s + int(ahead.total_seconds())
    starts = tuple(datetime.fromtimestamp(s, now.tzinfo) for s in range(first_s, last_s + 1, length_s))
    return Frame(starts=starts, now_at=(running_s - first_s) // length_s)


def rounded(value: float | Decimal | None, digits: int) -> float | None:
    return None if value is None else round(float(value), digits)


def base(of: Frame, zone: ZoneInfo, units: tuple[str, str | None]) -> Options:
    axis = {
        "type": "value",
        "nameTextStyle": {"color": "var(--muted)", "fontSize": 11},
        "axisLabel": {"color": "var(--muted)", "fontSize": 11},
        "splitLine": {"lineStyle": {"color": "var(--hair)"}},
        "nameGap": 12,
    }
    right = {**axis, "name": units[1] or "", "splitLine": {"show": False}, "show": units[1] is not None}
    return {
        "animation": False,
        "grid": {"left": 44, "right": 44 if units[1] else 14, "top": 66, "bottom": 26},
        "legend": {
            "top": 0,
            "left": 0,
            "itemWidth": 20,
            "itemHeight": 8,
            "itemGap": 12,
            "textStyle": {"color": "var(--muted)", "fontSize": 12},
            "inactiveColor": "var(--hair)",
        },
        "tooltip": {"trigger": "axis", "renderMode": "richText", "confine": True, "axisPointer": {"type": "line"}},
        "textStyle": {"fontFamily": "Roboto, system-ui, sans-serif"},
        "xAxis": {
            "type": "category",
            "data": of.labels(zone),
            "axisLabel": {"color": "var(--muted)", "fontSize": 11, "hideOverlap": True},
            "axisLine": {"lineStyle": {"color": "var(--hair)"}, "onZero": False},
            "axisTick": {"show": False},
        },
        "yAxis": [{**axis, "name": units[0]}, right],
    }


def line(name: str, data: Series, colour: str, **extra: Any) -> Options:
    style = {"width": extra.pop("width", 2), "color": colour, "type": extra.pop("dash", "solid")}
    return {
        "name": name,
        "type": "line",
        "data": list(data),
        "symbol": "none",
        "lineStyle": style,
        "itemStyle": {"color": colour},
        "emphasis": {"disabled": True},
        **extra,
    }


def bars(name: str, data: Series, colour: str, **extra: Any) -> Options:
    return {
        "name": name,
        "type": "bar",
        "data": list(data),
        "itemStyle": {"color": colour, "borderRadius": 2},
        "barCategoryGap": "25%",
        "emphasis": {"disabled": True},
        **extra,
    }


_SWATCHES = {
    "bar": "roundRect",
    "solid": "path://M0 0H20V3H0Z",
    "dashed": "path://M0 0H5V3H0ZM7.5 0H12.5V3H7.5ZM15 0H20V3H15Z",
}


def legend(series: Sequence[Options]) -> list[Options]:
    """Return the legend's entries, each drawn as its series is: a bar, a line, a dashed line."""
    entries = []
    for entry in series:
        kind = "bar" if entry["type"] == "bar" else entry["lineStyle"]["type"]
        flat = {} if kind == "bar" else {"itemStyle": {"borderWidth": 0}}
        entries.append({"name": entry["name"], "icon": _SWATCHES[kind], **flat})
    return entries


def now_line(of: Frame) -> Options:
    return {
        "markLine": {
            "symbol": "none",
            "silent": True,
            "lineStyle": {"color": "var(--muted)", "type": "dotted", "width": 1.2},
            "label": {"formatter": "now", "color": "var(--muted)", "fontSize": 11, "position": "end"},
            "data": [{"xAxis": of.now_at}],
        }
    }


def battery_chart(home: HomePicture, now: datetime, length: timedelta, zone: ZoneInfo) -> Options:
    """Return battery power (up = giving) and its charge on one chart, as it was and as planned."""
    settled = {s.start_at: s for s in home.settled()}
    planned = {s.start_at: s for s in home.plan.slots} if home.plan else {}
    of = frame(now, length, settled)
    was = [_kilowatt(words.mean_power(s.battery_wh, length)) if (s := settled.get(t)) else None for t in of.starts]
    will = [_kilowatt(p.battery_w) if (p := planned.get(t)) and t not in settled else None for t in of.starts]
    soc = [(settled.get(t) or planned.get(t)) for t in of.starts]
    options = base(of, zone, ("kW", "% full"))
    options["yAxis"][1].update({"min": 0, "max": 100})
    options["series"] = [
        bars("Giving (+) or charging (−)", was, "var(--battery)", stack="power"),
        bars("Planned", will, "var(--battery-soft)", stack="power"),
        line(
            "How full",
            [rounded(s.soc_pct, 1) if s else None for s in soc],
            "var(--ink)",
            yAxisIndex=1,
            width=1.8,
            **now_line(of),
        ),
    ]
    options["legend"]["data"] = legend(options["series"])
    return options


def forecast_chart(home: HomePicture, now: datetime, length: timedelta, zone: ZoneInfo) -> Options:
    """Return use and generation, expected (dashed) against measured (solid)."""
    settled = {s.start_at: s for s in home.settled()}
    planned = {s.start_at: s for s in home.plan.slots} if home.plan else {}
    of = frame(now, length, settled)
    used, made, used_expected, made_expected = [], [], [], []
    for start in of.starts:
        past, ahead = settled.get(start), planned.get(start)
        used.append(_kilowatt(words.mean_power(past.load_wh, length)) if past else None)
        made.append(_kilowatt(words.mean_power(past.pv_wh, length)) if past else None)
        expected_load = words.mean_power(past.forecast_load_wh, length) if past else ahead.load_w if ahead else None
        expected_pv = words.mean_power(past.forecast_pv_wh, length) if past else ahead.pv_w if ahead else None
        used_expected.append(_kilowatt(expected_load))
        made_expected.append(_kilowatt(expected_pv))
    options = base(of, zone, ("kW", None))
    options["series"] = [
        line("Used", used, "var(--load)"),
        line("expected use", used_expected, "var(--load)", dash="dashed", width=1.4),
        line("Made", made, "var(--sun)"),
        line("expected sun", made_expected, "var(--sun)", dash="dashed", width=1.4, **now_line(of)),
    ]
    options["legend"]["data"] = legend(options["series"])
    return options


def _kilowatt(watts: float | None) -> float | None:
    return None if watts is None else round(watts / 1000, 3)
