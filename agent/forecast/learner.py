"""The learned forecast of one quantity of one home: fits the members, keeps their record, mixes them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from agent.forecast.features import column, features, recent, usual
from agent.forecast.history import Floats, Ints
from agent.forecast.members import LEARNED, RIDGE_DAYS_MIN, THREADS, members_for
from agent.forecast.mixing import RECORD_DAYS, Record, judge
from agent.forecast.naive import DAY_S
from agent.forecast.series import Signal

_ROWS_MIN = 300
_ROWS_WANTED, _ISSUES_MAX = 6000, 8
"""Of a short history each slot is learned from several issue times, until there are so many rows."""
_ROWS_MAX = 18_000
"""A year of half hours; of finer slots as many are drawn, so that fitting takes as long."""
_TRIAL_PACE = 3
"""Members that are only judged, when days are held back the first time, need not be the best of their kind."""
_TRAIL_DAYS = 7
_SCORED_EVERY_S = 6 * 3600
"""Members are scored on a forecast issued this often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """What `usual` and `recent` say of a signal, from slot `first` on."""

    signal: Signal
    usual: Floats
    recent: Floats
    first: int

    def features(self, issues: Ints, targets: Ints) -> Floats:
        """Return the features of pairs of slot indices."""
        ahead_h = (targets - issues) * self.signal.step_s / 3600
        weather = self.signal.weather[targets]
        return features(self.usual[targets - self.first], self.recent[issues], ahead_h, weather)


def tables(s: Signal, first: int) -> Tables:
    """Prepare the slots from `first` on, as targets and as issue times."""
    rows = usual(s, np.arange(first, s.clock.size))
    since = max(0, first - _TRAIL_DAYS * DAY_S // s.step_s)
    return Tables(signal=s, usual=rows, recent=recent(s, since), first=first)


class Learner:
    """One quantity of one home.

    Args:
        horizon: Slots ahead that are learned for; at most a day's.
    """

    def __init__(self, horizon: int) -> None:
        self._horizon = horizon
        self.forget()

    def forget(self) -> None:
        """Begin anew, with the first naive member of each aim."""
        self._members = members_for(0)
        self._judged_key = 0
        self._record: Record | None = None
        self.verdict = judge(tuple(self._members), None)

    @property
    def learned(self) -> bool:
        """Whether members that learn have a share in the mean."""
        return any(
            share > 0 for name, share in zip(self.verdict.names, self.verdict.shares[0], strict=True) if name in LEARNED
        )

    def fit(self, s: Signal) -> None:
        """Judge the members by what came since they were last judged, then fit them anew to the whole history.

        The first time, after a long pause, and when new kinds join, the newest days are held back and the members
        judged on these.
        """
        known, day = s.values.size, DAY_S // s.step_s
        days = known / day
        if days < RIDGE_DAYS_MIN:
            self.forget()
            return
        wanted = members_for(days)
        t, held = tables(s, 0), min(RECORD_DAYS * day, known // 3)
        with THREADS.limit(limits=1):
            since = self._judged_to(s)
            if tuple(self._members) != tuple(wanted) or since < known - held:
                since, self._record = known - held, None
                self._members = _fitted(members_for(days, _TRIAL_PACE), t, since, self._horizon, _ROWS_MAX // 2)
            self._judge(t, since)
            self._members = _fitted(wanted, t, known, self._horizon)
        self.verdict = judge(tuple(self._members), self._record)

    def judge(self, s: Signal) -> None:
        """Judge the members by what came since they were last judged, and leave them as they are."""
        since = self._judged_to(s)
        if since < 0:
            return
        with THREADS.limit(limits=1):
            self._judge(tables(s, max(0, since - self._horizon)), since)
        self.verdict = judge(tuple(self._members), self._record)

    def _judged_to(self, s: Signal) -> int:
        """Return the first slot the members were not judged on; -1 if they never were, or on later slots.

        The record may be of fewer members than there are: those that learn are left out where, with the newest days
        held back, there was too little to learn from.
        """
        since = (self._judged_key - s.first_key) // s.step_s
        judged = self._record is not None and self._record.names == tuple(self._members)
        return since if judged and 0 <= since <= s.values.size else -1

    def _judge(self, t: Tables, since: int) -> None:
        """Let the members forecast what came from slot `since` on, each slot from four issues of the day before it."""
        s, stride = t.signal, max(1, _SCORED_EVERY_S // t.signal.step_s)
        issues = np.arange(since - self._horizon + stride, s.values.size, stride)
        ahead = np.arange(self._horizon)
        issue, target = (a.ravel() for a in np.broadcast_arrays(issues[:, None], issues[:, None] + ahead[None, :]))
        good = (issue > 0) & (target >= since) & (target < s.values.size)
        issue, target = _with_past(t, issue[good], target[good])
        names = tuple(self._members)
        said = _say(self._members, names, t.features(issue, target))
        newer = Record(names=names, keys=s.first_key + target * s.step_s, said_w=said, came_w=s.values[target])
        self._record = newer if self._record is None else self._record.followed_by(newer)
        self._judged_key = s.first_key + s.values.size * s.step_s

    def predict(self, s: Signal, issues: Ints, count: int) -> tuple[Floats, Floats]:
        """Forecast from each issue (a slot index) on.

        Returns:
            Mean, shape (issues, count), and band, shape (issues, count, 3); NaN where nothing of the 28 days before is
            known.
        """
        if np.isfinite(s.values).sum() * s.step_s >= DAY_S and not (s.values > 0).any():  # no panels on this roof
            return np.zeros((issues.size, count)), np.zeros((issues.size, count, 3))
        first = int(issues.min())
        t = tables(s, first)
        issue, target = np.broadcast_arrays(issues[:, None], issues[:, None] + np.arange(count)[None, :])
        x = t.features(issue.ravel(), target.ravel())
        known = np.isfinite(x[:, column("mean28")])
        mean, band = np.full(known.size, np.nan), np.full((known.size, 3), np.nan)
        if known.any():
            with THREADS.limit(limits=1):
                said = _say(self._members, self.verdict.used, x[known])
            mean[known], band[known] = self.verdict.mix(said)
        return mean.reshape(target.shape), band.reshape(*target.shape, 3)


def _with_past(t: Tables, issues: Ints, targets: Ints) -> tuple[Ints, Ints]:
    """Keep the pairs whose truth is known and is not usually 0 (the sun at night)."""
    past = t.usual[targets - t.first, column("peak")]
    good = np.isfinite(t.signal.values[targets]) & (past > 0)
    return issues[good], targets[good]


def _fitted(members: dict[str, Any], t: Tables, end: int, horizon: int, rows_max: int = _ROWS_MAX) -> dict[str, Any]:
    """Fit the members to the slots before `end`; without those that learn if there is too little to learn from."""
    targets = np.repeat(np.arange(1, end), int(np.clip(_ROWS_WANTED // max(end, 1), 1, _ISSUES_MAX)))
    random = np.random.default_rng(0)
    issues = np.maximum(targets - random.integers(0, horizon, targets.size), 1)
    issues, targets = _with_past(t, issues, targets)
    if targets.size < _ROWS_MIN:
        return members_for(0)
    if targets.size > rows_max:
        some = np.sort(random.choice(targets.size, rows_max, replace=False))
        issues, targets = issues[some], targets[some]
    x = t.features(issues, targets)
    for member in members.values():
        member.fit(x, t.signal.values[targets])
    return members


def _say(members: dict[str, Any], used: tuple[str, ...], x: Floats) -> Floats:
    """Return what the used members predict, shape (m, members); 0 for the others, which have no share."""
    said = np.zeros((x.shape[0], len(members)))
    for place, (name, member) in enumerate(members.items()):
        if name in used and x.size:
            said[:, place] = member.predict(x)
    return said
