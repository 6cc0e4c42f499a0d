"""What a simulated home must not forget when its process dies: stored energy and counters."""

import os
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from agent.simulator.plant import Counters, Plant
from coordinator.errors import ConfigError

AHEAD = timedelta(minutes=1)
"""A wall clock may be set back a little between two starts; more than this is the state of another run."""


class SavedCounters(BaseModel):
    """`Counters` in the file."""

    model_config = ConfigDict(extra="forbid")

    import_wh: float
    export_wh: float
    load_wh: float
    pv_wh: float
    inverter_wh: float
    battery_in_wh: float
    battery_out_wh: float


class SavedPlant(BaseModel):
    """The file's content: JSON, one object."""

    model_config = ConfigDict(extra="forbid")

    version: int = Field(ge=1, le=1)
    at: AwareDatetime
    stored_wh: float
    counters: SavedCounters


def save(path: Path, plant: Plant) -> None:
    """Write the plant's state in one step: a killed process leaves the old or the new file, never half of one."""
    state = SavedPlant(
        version=1,
        at=plant.at,
        stored_wh=plant.stored_wh,
        counters=SavedCounters(**asdict(plant.counters)),
    )
    beside = path.with_name(path.name + ".new")
    beside.write_text(state.model_dump_json(), encoding="utf-8")
    os.replace(beside, path)


def restore(path: Path, plant: Plant, now: datetime) -> None:
    """Give the plant the state of the file, at the file's time; without a file it stays as it is.

    Raises:
        ConfigError: If the file is damaged, or is later than `now` (left over from another run).
    """
    try:
        state = SavedPlant.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise ConfigError(f"{path}: not the state of a simulated home: delete it to start afresh") from error
    if state.at > now + AHEAD:
        raise ConfigError(
            f"{path}: saved at {state.at:%Y-%m-%d %H:%M} UTC of the simulated time, which is now {now:%Y-%m-%d %H:%M}: "
            "it belongs to another run; delete it to start afresh"
        )
    capacity_wh = plant.battery.capacity_wh if plant.battery else 0.0
    plant.at = state.at
    plant.stored_wh = min(max(state.stored_wh, 0.0), capacity_wh)
    plant.counters = Counters(**state.counters.model_dump())
