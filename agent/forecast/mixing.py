"""How a home's members are mixed: by what each of them did on the newest days, which it had not learned from.

A member that misses more than the best one loses its share quickly, so a bad one cannot hurt for long; a naive member
takes over where learning does not pay, on a broken meter for example. The band is stretched until it would have held
four fifths of what came (split conformal prediction, scaled by the band's own width).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from agent.forecast.history import Floats, Ints
from agent.forecast.members import AIMS, LEARNED, MIXED, QUANTILES, Aim
from agent.forecast.naive import DAY_S

RECORD_DAYS = 28
_HALF_LIFE_DAYS = 14.0
_STRICTNESS = 20.0
"""A member whose loss is 5 percent above the best one's counts 1/e as much."""
_LEARNED_COUNTS = 4.0
"""A learned member counts as so many naive ones of the same loss: four weeks are noisy, and on real homes it wins."""
_SHARE_MIN = 0.02
"""Members with a smaller share are left out: they cost time and change nothing."""
_ROWS_MIN = 48
_STRETCH_MAX = 8.0
_THIN = 0.01
"""Share of the mean level below which half a band is not let."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What the members said and what came, row by row.

    Args:
        names: The members.
        keys: Slot of each row, shape (r,).
        said_w: Shape (r, len(names)).
        came_w: Shape (r,).
    """

    names: tuple[str, ...]
    keys: Ints
    said_w: Floats
    came_w: Floats

    def followed_by(self, newer: "Record") -> "Record":
        """Return both, without what is older than RECORD_DAYS."""
        keys = np.concatenate([self.keys, newer.keys])
        keep = keys >= keys.max(initial=0) - RECORD_DAYS * DAY_S
        return Record(
            names=self.names,
            keys=keys[keep],
            said_w=np.concatenate([self.said_w, newer.said_w])[keep],
            came_w=np.concatenate([self.came_w, newer.came_w])[keep],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How the members did lately and what follows.

    Args:
        names: The members, in the order of the shares.
        shares: Per aim of AIMS the share of each member, shape (4, members), each row sums to 1.
        stretch: Factors of the band's lower and upper half.
        thin_w: Least width of each half before it is stretched.
        losses: Per aim the loss of each member: root mean square for the mean, else pinball loss; NaN where untried.
    """

    names: tuple[str, ...]
    shares: Floats
    stretch: tuple[float, float]
    thin_w: float
    losses: Floats

    @property
    def used(self) -> tuple[str, ...]:
        """The members that have a share in anything."""
        return tuple(name for name, share in zip(self.names, self.shares.max(axis=0), strict=True) if share > 0)

    def mix(self, said_w: Floats) -> tuple[Floats, Floats]:
        """Return mean, shape (m,), and band, shape (m, 3), of what the members say, shape (m, members)."""
        mixed = np.maximum(said_w, 0.0) @ self.shares.T
        low, middle, high = mixed[:, 1:].T
        below = self.stretch[0] * np.maximum(middle - low, self.thin_w)
        above = self.stretch[1] * np.maximum(high - middle, self.thin_w)
        band = np.column_stack([np.maximum(middle - below, 0.0), middle, middle + above])
        return mixed[:, 0], band


def loss(aim: Aim, error_w: Floats, weights: Floats) -> float:
    """Return the loss of errors (came minus said): root mean square for the mean, else pinball loss."""
    if isinstance(aim, str):
        return float(np.sqrt(np.average(error_w**2, weights=weights)))
    return float(np.average(np.maximum(aim * error_w, (aim - 1) * error_w), weights=weights))


def judge(names: Sequence[str], record: Record | None) -> Verdict:
    """Return shares and band that follow from a record; without one each aim's first member speaks alone."""
    names = tuple(names)
    allowed = np.array([[name in MIXED[aim] for name in names] for aim in AIMS])
    losses = np.full(allowed.shape, np.nan)
    if record is None or record.names != names or record.came_w.size < _ROWS_MIN:
        shares = np.array([[float(name == MIXED[aim][0]) for name in names] for aim in AIMS])
        return Verdict(names=names, shares=shares, stretch=(1.0, 1.0), thin_w=0.0, losses=losses)
    age_days = (record.keys.max() - record.keys) / DAY_S
    weights = 0.5 ** (age_days / _HALF_LIFE_DAYS)
    for row, aim in enumerate(AIMS):
        for place in np.flatnonzero(allowed[row]):
            losses[row, place] = loss(aim, record.came_w - np.maximum(record.said_w[:, place], 0.0), weights)
    best = np.nanmin(losses, axis=1, keepdims=True)
    worse = np.where(allowed, losses / np.maximum(best, 1e-9) - 1, np.inf)
    shares = np.where([name in LEARNED for name in names], _LEARNED_COUNTS, 1.0) * np.exp(-_STRICTNESS * worse)
    shares /= shares.sum(axis=1, keepdims=True)
    shares[shares < _SHARE_MIN] = 0.0
    shares /= shares.sum(axis=1, keepdims=True)
    thin_w = _THIN * float(np.average(record.came_w, weights=weights))
    plain = Verdict(names=names, shares=shares, stretch=(1.0, 1.0), thin_w=thin_w, losses=losses)
    return replace(plain, stretch=_stretch(plain, record))


def _stretch(plain: Verdict, record: Record) -> tuple[float, float]:
    """Return the factors with which the band would have missed a tenth of what came on each side."""
    _, band = plain.mix(record.said_w)
    low, middle, high = band.T
    above = (record.came_w - middle) / np.maximum(high - middle, 1e-9)
    below = (middle - record.came_w) / np.maximum(middle - low, 1e-9)
    lower, upper = (float(np.quantile(missed, QUANTILES[2])) for missed in (below, above))
    return float(np.clip(lower, 0.0, _STRETCH_MAX)), float(np.clip(upper, 0.0, _STRETCH_MAX))
