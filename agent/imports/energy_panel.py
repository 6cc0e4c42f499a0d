"""The CSV that Home Assistant's energy dashboard saves: `entity_id,type,unit`, then a column per time.

Source: the frontend's own code (`ha-panel-energy.ts`): each cell is the energy of the time that begins in the header,
times are UTC; the type says what a series is in the energy dashboard.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agent.forecast.history import Floats
from agent.imports.columns import Chosen, Column, Role, unit_of
from agent.imports.meters import Meter
from agent.imports.moments import reader_of
from agent.imports.source import OnProgress, Read
from agent.imports.text_file import form_of, lines_of
from coordinator.errors import ConfigError

HEADER = ("entity_id", "type", "unit")
_HOUR_S = 3600
_TYPES: dict[str, Role] = {
    "grid_consumption": "grid_import",
    "grid_return": "grid_export",
    "solar_production": "pv",
    "battery_in": "battery_charge",
    "battery_out": "battery_discharge",
}


class EnergyPanelSource:
    """An `energy.csv`.

    Raises:
        ConfigError: If it holds days or months instead of hours.
    """

    words = "Home Assistant energy dashboard"
    knows_roles = True
    step_s = _HOUR_S

    def __init__(self, path: Path) -> None:
        self.path = path
        form = form_of(path, delimiter=",", decimal=".", skip=0)
        header, *lines = [cells for _, cells, _ in lines_of(path, form)]
        times = header[len(HEADER) :]
        if not times:
            raise ConfigError(f"{path}: no times in its header: save it again with a period that holds data")
        reader = reader_of(times, None)
        self._start_s: Floats = np.array([reader(text).seconds for text in times])
        if np.diff(self._start_s).min(initial=np.inf) > _HOUR_S and self._start_s.size > 1:
            raise ConfigError(
                f"{path}: its values are longer than an hour: show one day to one week in the energy dashboard before "
                "saving it, or import the recorder's database"
            )
        self._rows = {cells[0]: cells for cells in lines if cells[1] in _TYPES}
        self._values = {
            name: np.array([form.number(cell) for cell in cells[len(HEADER) :]]) for name, cells in self._rows.items()
        }

    def columns(self) -> list[Column]:
        """Return the series that play a role in the energy dashboard; it says which one."""
        return [
            Column(name=name, unit=unit_of(cells[2]), kind="energy", role=_TYPES[cells[1]], about=cells[1])
            for name, cells in self._rows.items()
        ]

    def read(self, chosen: Sequence[Chosen], slot_s: int, on_progress: OnProgress) -> Read:
        meters = [Meter(each, slot_s, step_s=_HOUR_S) for each in chosen]
        for meter in meters:
            meter.intervals(self._start_s, self._start_s + _HOUR_S, self._values[meter.chosen.name])
        on_progress(1.0)
        return Read(meters=meters)
