"""The neighbourhood picture: homes, the grid in the middle, and an arrow for every running trade."""

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from nicegui import ui

from agent.dashboard import icons, words
from agent.dashboard.cells import Rows, attributes, box, icon, mark, show, svg, text, variable
from agent.dashboard.figures import CommunityFigures, Flow, HomeFigures
from agent.dashboard.house import House
from agent.dashboard.scene import Layout, arrow, line, narrow_layout, wide_layout, widths


class _Lines:
    """The drawn lines of one layout, below the homes."""

    def __init__(self, layout: Layout, shape: str, names: Sequence[str]) -> None:
        self._layout = layout
        self._places = dict(zip(names, layout.homes, strict=True))
        self._arrows: list[tuple[ui.element, ui.element]] = []
        view_box = f"0 0 {layout.width:g} {layout.height:g}"
        with svg("svg", f"lines {shape}", view_box=view_box, preserve_aspect_ratio="none", aria_hidden="true"):
            self._services = {
                name: svg("path", "service", d=line(layout, place)) for name, place in self._places.items()
            }
            self._group = svg("g", "arrows")

    def update(self, homes: Sequence[HomeFigures], flows: Sequence[Flow]) -> None:
        for home in homes:
            utility_w = None if home.grid_w is None else home.grid_w - (home.trading_w or 0.0)
            service = self._services[home.name]
            flowing_w = 0.0 if utility_w is None or home.stale else utility_w
            mark(service, "to-home", flowing_w > words.IDLE_W)
            mark(service, "to-grid", flowing_w < -words.IDLE_W)
        self._grow(len(flows))
        for flow, width, (shaft, head) in zip(flows, widths([f.energy_wh for f in flows]), self._arrows, strict=False):
            drawn = arrow(self._layout, self._places[flow.seller], self._places[flow.buyer], width)
            attributes(shaft, {"d": drawn.shaft, "stroke-width": f"{drawn.width:.1f}"})
            attributes(head, {"d": drawn.head})
        for shaft, head in self._arrows[len(flows) :]:
            attributes(shaft, {"d": ""})
            attributes(head, {"d": ""})

    def _grow(self, count: int) -> None:
        while len(self._arrows) < count:
            with self._group:
                self._arrows.append((svg("path", "shaft", d=""), svg("path", "head", d="")))


class _Node:
    """One home in the picture: drawing, name and three facts in words."""

    def __init__(self, name: str) -> None:
        with box("node", tag="a", href=f"/home/{quote(name, safe='')}") as self.element:
            self._house = House()
            with box("node-text"):
                text(name, "node-name", "div")
                self._pv = text("", "fact sun", "div")
                self._battery = text("", "fact battery", "div")
                self._load = text("", "fact load", "div")
                self._trade = text("", "pill", "div")

    def update(self, home: HomeFigures) -> None:
        self._house.update(home)
        show(self._pv, f"making {words.generation(home.pv_w)}")
        mark(self._pv, "gone", not home.has_pv)
        show(self._battery, words.battery(home.battery_w))
        mark(self._battery, "gone", not home.has_battery)
        show(self._load, f"using {words.power(home.load_w)}")
        trading = home.trading_w if home.trading_w is not None and abs(home.trading_w) >= 1 else None
        show(self._trade, words.trading(trading) if trading is not None else "")
        mark(self._trade, "gone", trading is None)
        mark(self.element, "stale", home.stale)


class Neighbourhood:
    """The whole picture, once for wide and once for narrow screens; the style sheet shows the one that fits."""

    def __init__(self, names: Sequence[str]) -> None:
        wide, narrow = wide_layout(len(names)), narrow_layout(len(names))
        with box("stage" + (" compact" if wide.compact else "")) as stage:
            variable(stage, "--wide-ratio", f"{wide.width:g} / {wide.height:g}")
            variable(stage, "--narrow-ratio", f"{narrow.width:g} / {narrow.height:g}")
            self._lines = (_Lines(wide, "wide", names), _Lines(narrow, "narrow", names))
            with box("hub") as hub:
                icon(icons.GRID)
                text("Grid", "hub-name", "div")
                self._hub = text("", "fine", "div")
            _place(hub, wide.percent(wide.hub), narrow.percent(narrow.hub))
            self._nodes = {name: _Node(name) for name in names}
            for node, at, narrow_at in zip(self._nodes.values(), wide.homes, narrow.homes, strict=True):
                _place(node.element, wide.percent(at), narrow.percent(narrow_at))
        with box("unseen"):
            self._flows = Rows("", ("",), "No home sells to another in this period.")
        with box("legend"):
            for kind, meaning in (("trade", "trade between homes"), ("from-grid", "to or from the grid")):
                text(meaning, f"legend-entry {kind}")

    def update(self, homes: Mapping[str, HomeFigures], community: CommunityFigures) -> None:
        for name, node in self._nodes.items():
            node.update(homes[name])
        for lines in self._lines:
            lines.update(list(homes.values()), community.flows)
        self._flows.show([(words.flow(f.seller, f.buyer, f.energy_wh),) for f in community.flows])
        show(self._hub, _grid_words([h.grid_w for h in homes.values() if h.grid_w is not None and not h.stale]))


def _grid_words(net_w: Sequence[float]) -> str:
    if not net_w:
        return words.UNKNOWN
    watts = sum(net_w)
    if abs(watts) < words.IDLE_W:
        return "not needed"
    return f"{'supplies' if watts > 0 else 'takes'} {words.power(watts)}"


def _place(element: ui.element, wide: tuple[str, str], narrow: tuple[str, str]) -> None:
    for name, value in zip(("--wx", "--wy", "--nx", "--ny"), (*wide, *narrow), strict=True):
        variable(element, name, value)
