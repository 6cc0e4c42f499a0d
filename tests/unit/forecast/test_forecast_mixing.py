import numpy as np
import pytest

from agent.forecast.history import Floats
from agent.forecast.members import AIMS, members_for
from agent.forecast.mixing import RECORD_DAYS, Record, judge, loss

NAMES = tuple(members_for(400))
DAY_S = 86_400


def record(said: dict[str, Floats], came_w: Floats, first_day: int = 0) -> Record:
    """Members that are not named say nonsense."""
    rows = came_w.size
    table = np.column_stack([said.get(name, np.full(rows, 9e9)) for name in NAMES])
    keys = DAY_S * first_day + np.arange(rows) * 3600
    return Record(names=NAMES, keys=keys, said_w=table, came_w=came_w)


def share(verdict: object, aim: str | float, name: str) -> float:
    return float(verdict.shares[AIMS.index(aim), NAMES.index(name)])  # type: ignore[attr-defined]


def test_without_a_record_the_seven_day_mean_and_median_speak_alone() -> None:
    verdict = judge(NAMES, None)
    assert share(verdict, "mean", "mean7") == 1
    assert share(verdict, 0.5, "median7") == 1
    np.testing.assert_array_equal(verdict.shares.sum(axis=1), 1.0)


def test_a_bad_member_gets_nothing_and_equals_share() -> None:
    r = np.random.default_rng(1)
    came = r.uniform(200, 900, 400)
    near = came + r.normal(0, 50, 400)
    verdict = judge(NAMES, record({"mean7": near, "mean28": near, "kind_mean": came + 400}, came))
    assert share(verdict, "mean", "mean7") == pytest.approx(0.5)
    assert share(verdict, "mean", "mean28") == pytest.approx(0.5)
    assert share(verdict, "mean", "kind_mean") == 0


def test_a_member_that_turned_bad_loses_its_share_within_days() -> None:
    r = np.random.default_rng(2)
    hours = 20 * 24
    came = r.uniform(200, 900, hours)
    steady = came + r.normal(0, 100, hours)
    spoiled = came + r.normal(0, 60, hours)
    before = judge(NAMES, record({"mean7": steady, "ridge": spoiled}, came))
    spoiled[-4 * 24 :] += 400
    after = judge(NAMES, record({"mean7": steady, "ridge": spoiled}, came))
    assert share(before, "mean", "ridge") > 0.95
    assert share(after, "mean", "ridge") < 0.05


def test_the_median_is_mixed_for_absolute_and_the_mean_for_squared_errors() -> None:
    r = np.random.default_rng(3)
    came = r.exponential(500, 2000)
    flat = {name: np.full(2000, w) for name, w in (("mean7", 500.0), ("median7", 347.0), ("mean28", 347.0))}
    verdict = judge(NAMES, record({**flat, "middle": np.full(2000, 500.0)}, came))
    assert share(verdict, "mean", "mean7") > share(verdict, "mean", "mean28")
    assert share(verdict, 0.5, "median7") > share(verdict, 0.5, "middle")


@pytest.mark.parametrize("width", [0.2, 1.0, 3.0])
def test_the_band_is_stretched_until_it_would_have_held_four_fifths(width: float) -> None:
    r = np.random.default_rng(4)
    middle = r.uniform(300, 900, 3000)
    came = np.maximum(middle * (1 + r.normal(0, 0.3, 3000)), 0)
    said = {"median7": middle, "low": middle * (1 - 0.38 * width), "high": middle * (1 + 0.38 * width)}
    past = record(said, came)
    _, band = judge(NAMES, past).mix(past.said_w)
    assert np.mean((came >= band[:, 0]) & (came <= band[:, 2])) == pytest.approx(0.8, abs=0.01)
    assert (band[:, 0] <= band[:, 1]).all()
    assert (band[:, 1] <= band[:, 2]).all()


def test_a_record_forgets_what_is_older_than_four_weeks() -> None:
    old = record({}, np.full(48, 1.0))
    newer = record({}, np.full(48, 2.0), first_day=RECORD_DAYS - 1)
    both = old.followed_by(newer)
    assert 0 < (both.came_w == 1.0).sum() < 48
    assert (both.came_w == 2.0).sum() == 48
    assert both.keys.min() >= both.keys.max() - RECORD_DAYS * DAY_S


def test_pinball_loss_prices_what_was_missed_on_each_side() -> None:
    errors = np.array([100.0, -100.0])
    assert loss(0.9, errors, np.ones(2)) == pytest.approx(50.0)
    assert loss(0.9, errors[:1], np.ones(1)) == pytest.approx(90.0)
    assert loss("mean", errors, np.ones(2)) == pytest.approx(100.0)
