"""A drawn house whose parts show what it has: panels on the roof, a battery at the wall, a lit window."""

from agent.dashboard.cells import attributes, mark, svg
from agent.dashboard.figures import HomeFigures

_BATTERY_TOP = 27.0
_BATTERY_HEIGHT = 22.0


class House:
    """One drawing; updates change attributes of its parts only."""

    def __init__(self) -> None:
        with svg("svg", "house", view_box="0 0 72 56", aria_hidden="true"):
            svg("path", "house-wall", d="M12 26 L32 9 L52 26 V50 H12 Z")
            self._roof = svg("path", "house-roof", d="M7 28.5 L32 7 L57 28.5")
            self._panels = svg(
                "path", "house-panels", d="M12.5 20.2 L29 6 L32.4 10 L15.9 24.2 Z M18 15.5 l3.4 4 M23.5 10.7 l3.4 4"
            )
            self._window = svg("rect", "house-window", x=26, y=32, width=12, height=11, rx=1.6)
            with svg("g", "house-battery") as self._battery:
                svg("rect", "battery-case", x=58, y=_BATTERY_TOP - 1, width=10, height=_BATTERY_HEIGHT + 2, rx=2.2)
                svg("rect", "battery-case", x=61, y=_BATTERY_TOP - 3.6, width=4, height=2.4, rx=0.8)
                self._level = svg("rect", "battery-level", x=59.6, width=6.8, rx=1.2, y=0, height=0)

    def update(self, home: HomeFigures) -> None:
        mark(self._panels, "gone", not home.has_pv)
        mark(self._panels, "shining", (home.pv_w or 0) > 20)
        mark(self._window, "lit", (home.load_w or 0) > 250)
        mark(self._battery, "gone", not home.has_battery)
        share = min(1.0, max(0.0, (home.soc_pct or 0) / 100))
        height = share * (_BATTERY_HEIGHT - 1.6)
        top = _BATTERY_TOP + _BATTERY_HEIGHT - 0.8 - height
        attributes(self._level, {"y": f"{top:.1f}", "height": f"{height:.1f}"})
        mark(self._level, "low", home.soc_pct is not None and home.soc_pct < 15)
