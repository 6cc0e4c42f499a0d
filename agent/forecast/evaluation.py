"""How good forecasts were, next to four forecasts that need no learning."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from agent.forecast.features import column, usual
from agent.forecast.history import Floats, Ints
from agent.forecast.members import QUANTILES
from agent.forecast.series import Signal

NAIVE = {"day": "day1", "week": "day7", "mean7": "mean7", "meanw4": "weekday4"}
"""Yesterday, last week, mean of the last seven days, mean of the last four same weekdays; each at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Errors in W over all forecast slots whose truth is known.

    Args:
        mae: Mean absolute error of the median forecast.
        rmse: Root mean square error of the mean forecast.
        bias: Mean of (mean forecast minus truth).
        pinball: Mean pinball loss of the 10, 50 and 90 % quantiles.
        coverage80: Share of slots within the 10 to 90 % band.
        mae_day: Mean absolute error of yesterday's value; the other naive ones as NAIVE.
    """

    slots: int
    mean_w: float
    mae: float
    rmse: float
    bias: float
    pinball: float
    coverage80: float
    mae_day: float
    mae_week: float
    mae_mean7: float
    mae_meanw4: float
    rmse_mean7: float

    @property
    def skill_mae(self) -> float:
        """How far the median's MAE lies below the better of yesterday and last week, as a share."""
        return -_above(self.mae, min(self.mae_day, self.mae_week))

    @property
    def rmse_ratio_mean7(self) -> float:
        return 1 + _above(self.rmse, self.rmse_mean7)

    @property
    def worse_than_naive(self) -> float:
        """How far the MAE lies above that of the best naive forecast, as a share; negative is better."""
        return _above(self.mae, min(self.mae_day, self.mae_week, self.mae_mean7, self.mae_meanw4))

    def plain(self) -> dict[str, float]:
        return {name: value if isinstance(value, int) else round(value, 4) for name, value in asdict(self).items()}


def naive_forecasts(s: Signal, targets: Ints) -> dict[str, Floats]:
    """Return what the naive forecasts say for slots (indices), each known a day ahead; gaps take the 28-day mean."""
    rows = usual(s, targets)
    return {name: rows[:, column(source)] for name, source in NAIVE.items()}


def score(truth_w: Floats, mean_w: Floats, band_w: Floats, naive_w: Mapping[str, Floats]) -> Scores | None:
    """Compare; slots whose truth or naive forecast is not known do not count. None if none is left.

    Args:
        truth_w: Shape (m,), NaN where unknown.
        band_w: Shape (m, 3).
        naive_w: By the names of NAIVE, shape (m,) each.
    """
    good = np.isfinite(truth_w) & np.all([np.isfinite(values) for values in naive_w.values()], axis=0)
    if not good.any():
        return None
    truth, mean, band = truth_w[good], mean_w[good], band_w[good]
    naive_error = {name: truth - values[good] for name, values in naive_w.items()}
    missed = truth[:, None] - band
    shares = np.array(QUANTILES)
    return Scores(
        slots=int(good.sum()),
        mean_w=float(truth.mean()),
        mae=float(np.abs(missed[:, 1]).mean()),
        rmse=_rms(truth - mean),
        bias=float((mean - truth).mean()),
        pinball=float(np.maximum(shares * missed, (shares - 1) * missed).mean()),
        coverage80=float(((missed[:, 0] >= 0) & (missed[:, 2] <= 0)).mean()),
        mae_day=float(np.abs(naive_error["day"]).mean()),
        mae_week=float(np.abs(naive_error["week"]).mean()),
        mae_mean7=float(np.abs(naive_error["mean7"]).mean()),
        mae_meanw4=float(np.abs(naive_error["meanw4"]).mean()),
        rmse_mean7=_rms(naive_error["mean7"]),
    )


def _above(error: float, reference: float) -> float:
    """Return how far an error lies above another, as a share; 0 where both are 0."""
    return error / reference - 1 if reference > 0 else float(np.inf) if error > 0 else 0.0


def _rms(errors: Floats) -> float:
    return float(np.sqrt(np.mean(errors**2)))


@dataclass(frozen=True, slots=True, kw_only=True)
class DayAccuracy:
    """How a day's load forecast did that was issued when the day began.

    Args:
        mae_w: Mean absolute error of the median.
        mae_day_w: The same of a guess that repeats the day before; None where that day is not known.
        inside_pct: Share of slots in the 80 % band; None where the forecast had no band.
    """

    mean_w: float
    mae_w: float
    mae_day_w: float | None
    inside_pct: float | None


def day_accuracy(truth_w: Floats, before_w: Floats, band_w: Floats) -> DayAccuracy | None:
    """Compare a day, shape (n,), with its forecast, shape (n, 3), and the day before it; None without a known slot."""
    good = np.isfinite(truth_w)
    if not good.any():
        return None
    truth, band = truth_w[good], band_w[good]
    both = good & np.isfinite(before_w)
    inside = (truth >= band[:, 0]) & (truth <= band[:, 2])
    return DayAccuracy(
        mean_w=float(truth.mean()),
        mae_w=float(np.abs(truth - band[:, 1]).mean()),
        mae_day_w=float(np.abs(truth_w - before_w)[both].mean()) if both.any() else None,
        inside_pct=100 * float(inside.mean()) if (band[:, 2] > band[:, 0]).any() else None,
    )
