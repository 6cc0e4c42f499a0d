"""What each home expects, slot after slot: forecasts made only from what was metered before the slot.

They do not depend on the strategy, so they are made once.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from agent.forecast.forecaster import Forecaster
from agent.planning.problem import Floats
from agent.study.lives import Life, Lives
from coordinator.slots import Slot

Kind = Literal["naive", "model", "perfect"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """Of all homes for the horizon that begins with one slot.

    Args:
        load_w: Shape (homes, horizon).
        pv_w: Shape (homes, horizon).
    """

    load_w: Floats
    pv_w: Floats


def expectations(
    lives: Lives, kind: Kind, first: Slot, slots: int, horizon: int, refit_days: int = 14
) -> list[Expectation]:
    """Return what the homes expect at each of `slots` slots from `first` on."""
    if kind == "perfect":
        return [_truth(lives, lives.index(first) + step, horizon) for step in range(slots)]
    parts = [_of_home(life, lives, kind, first, slots, horizon, refit_days) for life in lives.homes]
    return [
        Expectation(
            load_w=np.array([part[0][step] for part in parts]),
            pv_w=np.array([part[1][step] for part in parts]),
        )
        for step in range(slots)
    ]


def _of_home(
    life: Life, lives: Lives, kind: Kind, first: Slot, slots: int, horizon: int, refit_days: int
) -> tuple[Floats, Floats]:
    forecaster = Forecaster(
        slot_s=first.length_s,
        timezone=lives.timezone,
        pv_limit_w=life.pv_limit_w,
        country=lives.country,
        latitude=lives.latitude,
        longitude=lives.longitude,
    )
    load_w, pv_w = [], []
    at_once = refit_days * 86_400 // first.length_s
    for begin in range(0, slots, at_once):
        issues = list(first.shifted(begin).horizon(min(at_once, slots - begin)))
        if kind == "model":
            forecaster.fit(life.history.upto(issues[0].key))
        made = forecaster.predict_many(issues, horizon, life.history)
        load_w.append(made.load_w)
        pv_w.append(made.pv_w)
    return np.concatenate(load_w), np.concatenate(pv_w)


def _truth(lives: Lives, at: int, horizon: int) -> Expectation:
    """Return the truth; beyond the record its last day repeats."""
    index = np.arange(at, at + horizon)
    day = 86_400 // lives.first.length_s
    index = np.where(index < lives.slots, index, lives.slots - day + (index - lives.slots) % day)
    return Expectation(
        load_w=np.array([life.load_w[index] for life in lives.homes]),
        pv_w=np.array([life.pv_w[index] for life in lives.homes]),
    )
