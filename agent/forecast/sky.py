"""What the sun of the last hour says of the next ones, for a home whose history is too short to have learned it.

A home that has seen two weeks knows what is usual, and hardly what a cloud means. Until trees have learned that, the
last hour's share of what was usual then is taken to last, and fades within hours. On recorded homes this leaves 0.68 to
0.74 of the next hour's error and 0.84 to 0.87 of that of the two hours after it (docs/forecasts.md).
"""

import numpy as np

from agent.forecast.history import Floats, Ints
from agent.forecast.naive import DAY_S, mean_known
from agent.forecast.series import Signal, lags

USUAL_DAYS = 7
_HOUR_S = 3600
_FADE_H = 2.0
_DOUBT = 0.05
"""Share of a day's highest sun that counts as usual on top: what little comes at dawn says little."""
_SHARE_MAX = 2.0


def follow_sky(mean_w: Floats, band_w: Floats, s: Signal, issues: Ints) -> None:
    """Draw forecasts of the sun towards the share of the usual that came in the hour before each issue, in place.

    Where nothing is known of that hour, or of what was usual then, they stay as they are.

    Args:
        mean_w: Shape (issues, n).
        band_w: Shape (issues, n, 3); keeps its width in proportion to the mean.
        issues: Slot indices.
    """
    per_day, count = DAY_S // s.step_s, mean_w.shape[1]
    window = max(1, _HOUR_S // s.step_s) + 1  # the slot that runs while a forecast is made is not metered yet
    first = max(0, int(issues.min()) - per_day)
    usual_w = mean_known(lags(s, np.arange(first, int(issues.max()) + count)).days[:, :USUAL_DAYS])
    fade = np.exp(-np.arange(count) * s.step_s / _HOUR_S / _FADE_H)
    for row, issue in enumerate(issues):
        since = max(first, issue - window)
        came_w, expected_w = s.values[since:issue], usual_w[since - first : issue - first]
        known = np.isfinite(came_w) & np.isfinite(expected_w)
        highest_w = np.nanmax(usual_w[max(0, issue - first - per_day) : issue - first], initial=0.0)
        if not known.any() or highest_w <= 0:
            continue
        came, expected, doubt = came_w[known].mean(), expected_w[known].mean(), _DOUBT * highest_w
        share = min((came + doubt) / (expected + doubt), _SHARE_MAX)
        ahead_w = usual_w[issue - first : issue - first + count]
        sure = np.where(np.isfinite(ahead_w), fade * expected / (expected + doubt), 0.0)
        drawn_w = (1 - sure) * mean_w[row] + sure * share * np.nan_to_num(ahead_w)
        band_w[row] *= (drawn_w / np.maximum(mean_w[row], 1e-9))[:, None]
        mean_w[row] = drawn_w
