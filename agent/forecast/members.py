"""The single forecasts that a home's forecast is mixed from, all with scikit-learn's contract.

Squared loss finds means, absolute loss medians, quantile loss the edges of the band. Absolute loss alone is biased low
by 14 to 26 percent on real homes, so plans, whose energies must add up, get the mean, and the median is for whom
it is asked. Each member predicts every slot of the horizon directly from what is known at the issue.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from threadpoolctl import ThreadpoolController

from agent.forecast.features import column
from agent.forecast.history import Floats

QUANTILES = (0.1, 0.5, 0.9)
Aim = str | float
AIMS: tuple[Aim, ...] = ("mean", *QUANTILES)

MIXED: Mapping[Aim, tuple[str, ...]] = {
    "mean": ("mean7", "weekday4", "kind_mean", "mean28", "ridge", "boosting", "boosting_log"),
    0.1: ("low", "boosting_low"),
    0.5: ("median7", "day1", "day7", "middle", "kind_median", "boosting_log", "boosting_median", "boosting_habits"),
    0.9: ("high", "boosting_high"),
}
"""What each aim may be mixed from; the first speaks alone until enough is known to compare."""

LEARNED = frozenset(
    {"ridge", "boosting", "boosting_log", "boosting_median", "boosting_habits", "boosting_low", "boosting_high"},
)
RIDGE_DAYS_MIN = 14
BOOSTING_DAYS_MIN = 42
"""Days of history from which a kind of member is tried. Trees need more, and take seconds where ridge takes none."""

THREADS = ThreadpoolController()
"""Learning in one thread: a Pi polls its devices meanwhile, sums come out the same on every machine, and for ridge
further threads would only wait."""

_PENALTY = 300.0
"""Strength of ridge on standardised features. Rows of one day are nearly copies of each other, hence so strong."""

_LINEAR = [
    column(name)
    for name in (
        *("day1", "day2", "day7", "low", "mean7", "mean28", "weekday4", "kind_mean", "kind_median", "peak"),
        *("surprise_1h", "surprise_3h", "surprise_day"),
        *("off", "sin1", "cos1", "sin2", "cos2", "off_sin", "off_cos"),
    )
]
"""What ridge looks at: nothing that drifts with the season, along which a line would run away."""
_SEASON = [column(name) for name in ("season_cos", "season_sin", "sun")]
"""Months never seen before mislead trees that know the season, and those that do not know it miss what it brings. On
recorded homes each is the better one on about half; both are there, and the last weeks decide."""
_LOG_FROM_W = 50.0
"""Squared loss of logarithms cares for shares rather than watts: between a mean and a median, and fast to fit."""


class Column(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A naive forecast: one of the features as it is."""

    def __init__(self, name: str = "mean7") -> None:
        self.name = name

    def fit(self, x: Floats, y: Floats) -> Self:
        """Nothing to learn; `predict` works without."""
        return self

    def predict(self, x: Floats) -> Floats:
        return x[:, column(self.name)]


class Correction(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Ridge regression of what the 7-day mean misses; where there is little to learn from, it corrects little."""

    def __init__(self, penalty: float = _PENALTY) -> None:
        self.penalty = penalty

    def fit(self, x: Floats, y: Floats) -> Self:
        self.pipeline_ = make_pipeline(StandardScaler(), Ridge(alpha=self.penalty))
        self.pipeline_.fit(x[:, _LINEAR], y - x[:, column("mean7")])
        return self

    def predict(self, x: Floats) -> Floats:
        missed: Floats = self.pipeline_.predict(x[:, _LINEAR])
        return x[:, column("mean7")] + missed


def members_for(days: float, pace: int = 1) -> dict[str, Any]:
    """Return unfitted members for a history of so many days: each kind from when it has enough to learn from.

    Naive members need no fit.

    Args:
        pace: Boosting takes so many times fewer trees, each of which counts so many times as much.
    """
    members: dict[str, Any] = {}
    if days >= RIDGE_DAYS_MIN:
        members["ridge"] = Correction()
    if days >= BOOSTING_DAYS_MIN:
        boosting = partial(_boosting, pace=pace)
        log = boosting("squared_error", trees=60, rate=0.1)
        members |= {
            "boosting": boosting("squared_error", trees=60, rate=0.1),
            "boosting_log": _without_season(
                TransformedTargetRegressor(log, func=_to_log, inverse_func=_from_log, check_inverse=False)
            ),
            "boosting_median": boosting("absolute_error", trees=100, rate=0.07),
            "boosting_habits": _without_season(boosting("absolute_error", trees=80, rate=0.085)),
            "boosting_low": boosting("quantile", quantile=QUANTILES[0], trees=30, rate=0.2),
            "boosting_high": boosting("quantile", quantile=QUANTILES[2], trees=30, rate=0.2),
        }
    naive = (name for mixed in MIXED.values() for name in mixed if name not in LEARNED)
    return {name: Column(name) for name in naive} | members


def _without_season(model: Any) -> Any:
    return make_pipeline(FunctionTransformer(_timeless), model)


def _timeless(x: Floats) -> Floats:
    return np.delete(x, _SEASON, axis=1)


def _to_log(power_w: Floats) -> Floats:
    return np.log(power_w + _LOG_FROM_W)


def _from_log(value: Floats) -> Floats:
    return np.exp(value) - _LOG_FROM_W


def _boosting(loss: str, *, trees: int, rate: float, pace: int, **more: Any) -> HistGradientBoostingRegressor:
    return HistGradientBoostingRegressor(
        loss=loss,
        max_iter=trees // pace,
        learning_rate=rate * pace,
        max_leaf_nodes=15,
        min_samples_leaf=60,
        max_bins=63,
        max_features=0.4,  # trees that see different features err differently
        early_stopping=False,
        random_state=1,
        **more,
    )
