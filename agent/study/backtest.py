"""Walks forward through recorded homes: fits on the past, forecasts the next day, compares with what came."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np

from agent.forecast.evaluation import Scores, naive_forecasts, score
from agent.forecast.history import Floats, History, Ints, LocalTime, slot_keys
from agent.forecast.members import AIMS
from agent.forecast.naive import DAY_S
from agent.forecast.series import Signal
from agent.simulator.community import Community, CommunityHome
from agent.study.homes import history_of
from agent.study.walk import REFIT_DAYS, forecaster_of, walk_forward
from coordinator.errors import ConfigError
from coordinator.slots import Slot

HISTORY_SHARE = 0.6
"""Share of the record that is only learned from, unless --from says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """How to walk.

    Args:
        start_at: First issue; None after HISTORY_SHARE of the record.
        end_at: Issues lie before; None at the end of the record.
        issue: At every local midnight, or at every slot; always a day ahead.
    """

    start_at: datetime | None = None
    end_at: datetime | None = None
    issue: Literal["midnight", "slot"] = "midnight"
    refit_days: int = REFIT_DAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """One quantity of one home: every forecast with what came.

    Args:
        keys: Slot of each column's forecast, shape (issues, n).
        truth_w: Same shape, NaN where unknown.
        band_w: Shape (issues, n, 3).
    """

    scores: Scores
    keys: Ints
    truth_w: Floats
    mean_w: Floats
    band_w: Floats
    mean7_w: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeBacktest:
    name: str
    load: Walked | None
    pv: Walked | None
    members: dict[str, float]
    """Share of each member in the last median of load."""


def backtest(
    community: Community, homes: Sequence[CommunityHome], walk: Walk, jobs: int = 1
) -> Iterator[tuple[int, HomeBacktest]]:
    """Yield (number, result) of every home, in the order in which they finish.

    Raises:
        ConfigError: If the span holds no issue time.
    """
    if jobs == 1:
        yield from ((number, backtest_home(community, home, walk)) for number, home in enumerate(homes))
        return
    with ProcessPoolExecutor(max_workers=jobs) as pool:
        running = {pool.submit(backtest_home, community, home, walk): number for number, home in enumerate(homes)}
        for done in as_completed(running):
            yield running[done], done.result()


def issue_keys(community: Community, walk: Walk) -> Ints:
    """Return the first slots of the forecasts, Unix seconds, each with a whole day of record after it.

    Raises:
        ConfigError: If there is none.
    """
    keys = slot_keys(Slot.at(community.start_at, community.slot_s), community.slots)
    begin = keys[int(HISTORY_SHARE * keys.size)] if walk.start_at is None else walk.start_at.timestamp()
    end = keys[-1] + community.slot_s - DAY_S
    if walk.end_at is not None:
        end = min(end, walk.end_at.timestamp() - 1)
    chosen = (keys >= max(begin, keys[0] + DAY_S)) & (keys <= end)
    if walk.issue == "midnight":
        # The first slot of each local day: zones of half hours never have a slot of an hour begin at midnight.
        chosen &= LocalTime(community.timezone).seconds(keys) % DAY_S < community.slot_s
    if not chosen.any():
        raise ConfigError(
            f"{community.name}: no forecast can be issued in that span: the record runs from {community.start_at:%F} "
            f"for {community.slots * community.slot_s // DAY_S} days, and a forecast needs a day after it"
        )
    issues: Ints = keys[chosen]
    return issues


def backtest_home(community: Community, home: CommunityHome, walk: Walk) -> HomeBacktest:
    """Walk forward through one home's record."""
    history = history_of(home, Slot.at(community.start_at, community.slot_s))
    forecaster = forecaster_of(community, home)
    issues = issue_keys(community, walk)
    count = DAY_S // community.slot_s
    blocks = list(walk_forward(forecaster, history, issues, count, refit_days=walk.refit_days))
    keys = slot_keys(history.first, history.slots)
    verdict = forecaster.verdicts()[0]
    shares = dict(zip(verdict.names, verdict.shares[AIMS.index(0.5)].tolist(), strict=True))
    pv = None
    if home.has_pv:
        pv_w, pv_band_w = np.concatenate([b.pv_w for b in blocks]), np.concatenate([b.pv_band_w for b in blocks])
        pv = _walked(history, home.pv_w, keys, issues, pv_w, pv_band_w)
    load_w, load_band_w = np.concatenate([b.load_w for b in blocks]), np.concatenate([b.load_band_w for b in blocks])
    return HomeBacktest(
        name=home.name,
        load=_walked(history, home.load_w, LocalTime(community.timezone).seconds(keys), issues, load_w, load_band_w),
        pv=pv,
        members={name: round(share, 3) for name, share in shares.items() if share > 0},
    )


def _walked(
    history: History, values_w: Floats, clock: Ints, issues: Ints, mean_w: Floats, band_w: Floats
) -> Walked | None:
    step_s, none = history.first.length_s, np.zeros(values_w.size)
    targets = ((issues - history.first.key) // step_s)[:, None] + np.arange(mean_w.shape[1])[None, :]
    weather = none.reshape(-1, 1)[:, :0]
    s = Signal(
        step_s=step_s,
        first_key=history.first.key,
        values=values_w,
        clock=clock,
        off=none.astype(bool),
        sun_deg=none,
        weather=weather,
    )
    first = int(targets.min())
    naive = naive_forecasts(s, np.arange(first, values_w.size))
    naive = {name: values[targets - first] for name, values in naive.items()}
    flat = {name: values.ravel() for name, values in naive.items()}
    truth = values_w[targets]
    truth[(truth == 0) & (naive["mean7"] == 0)] = np.nan  # the sun at night is no forecast
    scores = score(truth.ravel(), mean_w.ravel(), band_w.reshape(-1, 3), flat)
    if scores is None:
        return None
    return Walked(
        scores=scores,
        keys=history.first.key + targets * step_s,
        truth_w=truth,
        mean_w=mean_w,
        band_w=band_w,
        mean7_w=naive["mean7"],
    )


def means(results: Sequence[HomeBacktest]) -> dict[str, float]:
    """Return the means over homes of the per-home ratios of load."""
    scores = [result.load.scores for result in results if result.load is not None]
    return {
        "skill_mae": round(float(np.mean([s.skill_mae for s in scores])), 4),
        "rmse_ratio_mean7": round(float(np.mean([s.rmse_ratio_mean7 for s in scores])), 4),
        "coverage80": round(float(np.mean([s.coverage80 for s in scores])), 4),
        "worst_against_naive": round(max(s.worse_than_naive for s in scores), 4),
    }
