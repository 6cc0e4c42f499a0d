"""Whether a model earned its place: it must beat the 7-day mean on the newest days, which it did not learn from."""

from dataclasses import dataclass

import numpy as np

from agent.forecast.features import Signal, pairs
from agent.forecast.history import Floats, Ints
from agent.forecast.model import ResidualModel
from agent.forecast.naive import DAY_S

_DAYS_MIN = 7
"""Days of history before a model is tried."""

_EDGE = 0.995
"""A model must be better by this factor in RMSE; an even race goes to the simpler forecast."""

_BLOCKS = 8
"""Error bands are kept per three-hour block of the day."""

QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How the forecasts did on recent days.

    Args:
        weight: Share of the model's correction to add to the 7-day mean; 0 while the model does not beat it.
        rmse_model: In W; NaN when no model could be tried.
        rmse_naive: In W; NaN when nothing could be compared.
        band_w: 10, 50 and 90 % quantiles of the winner's error (truth minus forecast) per block, shape (8, 3).
    """

    weight: float
    rmse_model: float
    rmse_naive: float
    band_w: Floats

    @property
    def use_model(self) -> bool:
        return self.weight > 0

    def offsets(self, clock_seconds: Ints) -> Floats:
        """Return what to add to the forecast for each quantile, shape (n, 3)."""
        return self.band_w[block_of_day(clock_seconds)]


def block_of_day(
    clock_seconds: Ints,
) -> Ints:
    """Return the three-hour block of the day, 0..7."""
    return (clock_seconds % DAY_S) // (DAY_S // _BLOCKS)


def judge(s: Signal, horizon: int) -> Verdict:
    """Walk forward over the newest days: learn from what lies before them, forecast them, compare.

    The days held back are a third of the history, at least two and at most seven.
    """
    day = DAY_S // s.step_s
    known = s.values.size
    held_days = int(np.clip(known // day // 3, 2, 7))
    split = known - held_days * day
    issues, targets = pairs(s, max(split, 1), known, horizon)
    nothing = np.zeros((_BLOCKS, len(QUANTILES)))
    if not targets.size:
        return Verdict(weight=0.0, rmse_model=float("nan"), rmse_naive=float("nan"), band_w=nothing)
    missed = s.values[targets] - s.base[targets]
    rmse_naive = _rms(missed)
    rmse_model, weight = float("nan"), 0.0
    model = ResidualModel()
    if known >= _DAYS_MIN * day and model.fit(s, 0, split, horizon):
        correction = model.correct(s, issues, targets)
        trust = _trust(missed, correction)
        rmse_model = _rms(missed - trust * correction)
        if rmse_model < _EDGE * rmse_naive:
            weight, missed = trust, missed - trust * correction
    return Verdict(weight=weight, rmse_model=rmse_model, rmse_naive=rmse_naive, band_w=_band(missed, s.clock[targets]))


def _trust(missed: Floats, correction: Floats) -> float:
    """Return the share of the correction, 0..1, that would have been best on the held-out days."""
    power = float(correction @ correction)
    return float(np.clip(correction @ missed / power, 0.0, 1.0)) if power > 0 else 0.0


def _rms(errors: Floats) -> float:
    return float(np.sqrt(np.mean(errors**2)))


def _band(errors: Floats, clock: Ints) -> Floats:
    """Return the quantiles of the errors per block; a block with few errors takes those of the whole day."""
    whole = np.quantile(errors, QUANTILES)
    blocks = block_of_day(clock)
    return np.array(
        [
            np.quantile(errors[blocks == block], QUANTILES) if (blocks == block).sum() >= 10 else whole
            for block in range(_BLOCKS)
        ]
    )
