"""What each home expects, slot after slot: forecasts made only from what was metered before the slot.

They do not depend on the strategy, so they are made once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from agent.forecast.history import slot_keys
from agent.planning.problem import Floats
from agent.study.lives import Life, Lives
from agent.study.walk import REFIT_DAYS, forecaster_of, walk_forward
from coordinator.slots import Slot

Kind = Literal["naive", "model", "perfect"]
Outlooks = tuple[Floats, Floats]
"""Load and PV that one home expects at each slot, shape (slots, horizon) each."""


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
    lives: Lives, kind: Kind, first: Slot, slots: int, horizon: int, refit_days: int = REFIT_DAYS
) -> list[Expectation]:
    """Return what the homes expect at each of `slots` slots from `first` on."""
    if kind == "perfect":
        return [_truth(lives, lives.index(first) + step, horizon) for step in range(slots)]
    return together([outlooks(lives, life, kind, first, slots, horizon, refit_days) for life in lives.homes])


def outlooks(
    lives: Lives, life: Life, kind: Literal["naive", "model"], first: Slot, slots: int, horizon: int, refit_days: int
) -> Outlooks:
    """Return what one home expects at each of `slots` slots from `first` on; it needs no other home for that."""
    forecaster, issues = forecaster_of(lives, life), list(first.horizon(slots))
    if kind == "naive":
        made = [forecaster.predict_many(issues, horizon, life.history)]
    else:
        keys = slot_keys(first, slots)
        made = list(walk_forward(forecaster, life.history, keys, horizon, refit_days=refit_days))
    return np.concatenate([each.load_w for each in made]), np.concatenate([each.pv_w for each in made])


def together(homes: Sequence[Outlooks]) -> list[Expectation]:
    """Return slot by slot what was made home by home."""
    load_w, pv_w = (np.stack(part, axis=1) for part in zip(*homes, strict=True))
    return [Expectation(load_w=load, pv_w=pv) for load, pv in zip(load_w, pv_w, strict=True)]


def _truth(lives: Lives, at: int, horizon: int) -> Expectation:
    """Return the truth; beyond the record its last day repeats."""
    index = np.arange(at, at + horizon)
    day = 86_400 // lives.first.length_s
    index = np.where(index < lives.slots, index, lives.slots - day + (index - lives.slots) % day)
    return Expectation(
        load_w=np.array([life.load_w[index] for life in lives.homes]),
        pv_w=np.array([life.pv_w[index] for life in lives.homes]),
    )
