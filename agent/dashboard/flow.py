"""One home's power flow: sun, grid, neighbours, battery and the house around one point."""

from dataclasses import dataclass

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from agent.dashboard import icons, words
from agent.dashboard.cells import attributes, box, icon, mark, show, svg, text, variable
from agent.dashboard.figures import HomeFigures

_WIDTH, _HEIGHT = 400.0, 360.0
_PLACES = {"sun": (200, 62), "grid": (62, 118), "neighbours": (62, 262), "load": (338, 190), "battery": (200, 318)}
_DRAWINGS = {
    "sun": (icons.SUN, "Sun"),
    "grid": (icons.GRID, "Grid"),
    "neighbours": (icons.NEIGHBOURS, "Neighbours"),
    "load": (icons.HOME, "House"),
    "battery": (icons.BATTERY, "Battery"),
}
_CENTRE = (200, 190)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    element: ui.element
    words: TextElement
    line: ui.element


class PowerFlow:
    """Lines run the way the power does: from the source to the point, from the point to the user."""

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}
        with box("flow"):
            lines: dict[str, ui.element] = {}
            with svg("svg", "flow-lines", view_box=f"0 0 {_WIDTH:g} {_HEIGHT:g}", aria_hidden="true"):
                for name, (x, y) in _PLACES.items():
                    lines[name] = svg("path", f"flow-line {name}", d=f"M{x} {y} L{_CENTRE[0]} {_CENTRE[1]}")
                svg("circle", "flow-point", cx=_CENTRE[0], cy=_CENTRE[1], r=5)
            for name, (drawing, title) in _DRAWINGS.items():
                with box(f"flow-node {name}") as element:
                    with box("flow-disc"):
                        icon(drawing)
                    text(title, "flow-title", "div")
                    said = text("", "flow-words num", "div")
                variable(element, "--x", f"{_PLACES[name][0] / _WIDTH * 100:.2f}%")
                variable(element, "--y", f"{_PLACES[name][1] / _HEIGHT * 100:.2f}%")
                self._places[name] = _Place(element=element, words=said, line=lines[name])

    def update(self, home: HomeFigures) -> None:
        traded_w = home.trading_w
        utility_w = None if home.grid_w is None else home.grid_w - (traded_w or 0.0)
        level = f", {words.percent(home.soc_pct)}" if home.soc_pct is not None else ""
        self._show("sun", words.generation(home.pv_w), home.pv_w, home.has_pv)
        self._show("grid", words.meter(utility_w), utility_w)
        self._show("neighbours", words.trading(traded_w), traded_w)
        self._show("load", words.power(home.load_w), None if home.load_w is None else -home.load_w)
        self._show("battery", words.battery(home.battery_w) + level, home.battery_w, home.has_battery)

    def _show(self, name: str, said: str, towards_centre_w: float | None, exists: bool = True) -> None:
        place = self._places[name]
        show(place.words, said)
        mark(place.element, "gone", not exists)
        mark(place.line, "gone", not exists)
        flowing_w = towards_centre_w or 0.0
        mark(place.line, "inward", flowing_w > words.IDLE_W)
        mark(place.line, "outward", flowing_w < -words.IDLE_W)
        attributes(place.line, {"stroke-width": f"{2 + min(4.0, abs(flowing_w) / 1000):.1f}"})
