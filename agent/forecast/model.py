"""The learned forecast: ridge regression of what the 7-day mean misses. Predicts the mean, not the median.

Absolute loss would score better in MAE but is biased low by 14 to 26 percent, and a plan needs energies that add up.
Ridge was chosen over gradient boosting: as good in squared error on real homes, fits in milliseconds on a Pi.
"""

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from agent.forecast.features import Signal, features, pairs
from agent.forecast.history import Floats, Ints

_PENALTY = 300.0
"""Strength of ridge on standardised features. Rows of one day are nearly copies of each other, hence so strong."""

_ROWS_MIN = 200


class ResidualModel:
    """Corrects the 7-day mean of one quantity of one home."""

    def __init__(self, penalty: float = _PENALTY) -> None:
        self.penalty = penalty
        self.pipeline_: Pipeline | None = None

    def fit(self, s: Signal, first: int, end: int, horizon: int) -> bool:
        """Learn from the slots [first, end).

        Returns:
            False when there is too little to learn from; the model then must not predict.
        """
        issues, targets = pairs(s, first, end, horizon)
        if targets.size < _ROWS_MIN:
            return False
        self.pipeline_ = make_pipeline(StandardScaler(), Ridge(alpha=self.penalty))
        self.pipeline_.fit(features(s, issues, targets), s.values[targets] - s.base[targets])
        return True

    def correct(self, s: Signal, issues: Ints, targets: Ints) -> Floats:
        """Return what to add to the 7-day mean, shape (pairs,)."""
        if self.pipeline_ is None:
            raise ValueError("the model is not fitted")
        return np.asarray(self.pipeline_.predict(features(s, issues, targets)), dtype=float)
