"""A chart that is computed and sent again only when its data changed."""

from collections.abc import Callable

from nicegui import ui

from agent.dashboard.charts import Options


class Chart:
    """An ECharts drawing as SVG: crisp, and coloured by the style sheet in light and dark alike."""

    def __init__(self) -> None:
        self._key: object = None
        self._chart = ui.echart({}, renderer="svg").classes("chart")

    def show(self, key: object, make: Callable[[], Options]) -> None:
        """Draw `make()` if `key` differs from the last one."""
        if key == self._key:
            return
        self._key = key
        self._chart.options.clear()
        self._chart.options.update(make())
        self._chart.update()
