"""Learning in a process of its own: a real child process."""

from zoneinfo import ZoneInfo

import numpy as np
import pytest
from made_up_home import START, home

from agent.forecast import training
from agent.forecast.forecaster import Forecaster
from agent.forecast.history import History
from agent.forecast.training import TrainingError, train


def without_sun(days: int) -> History:
    history = home(days)
    return History(first=START, load_w=history.load_w, pv_w=np.zeros(history.slots))


def forecaster() -> Forecaster:
    return Forecaster(slot_s=3600, timezone=ZoneInfo("UTC"), pv_limit_w=0.0)


def test_a_long_history_is_learned_in_another_process_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "BOOSTING_DAYS_MIN", 20)  # quickly learned, yet in another process
    history, mine, here = without_sun(30), forecaster(), forecaster()
    trained = train(mine, history)
    here.fit(history)
    first = START.shifted(30 * 24)
    said = trained.forecaster.predict(first, 24, history)
    np.testing.assert_array_equal(said.load_w, here.predict(first, 24, history).load_w)
    assert said.load_source == "model"
    assert mine.predict(first, 24, history).load_source == "naive"  # in use until the copy takes over
    assert trained.cpu_s > 0
    assert 50 < trained.peak_mb < training.MEMORY_MAX_BYTES / 2**20


def test_a_short_history_is_learned_here_and_leaves_the_one_in_use_alone() -> None:
    history, mine = without_sun(30), forecaster()
    before = mine.verdicts()[0]
    trained = train(mine, history)
    assert trained.cpu_s == 0
    assert mine.verdicts()[0] is before
    assert trained.forecaster.verdicts()[0] is not before


def test_learning_that_fails_says_why_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_TIMEOUT_S", 0.01)
    with pytest.raises(TrainingError, match="timed out"):
        train(forecaster(), without_sun(43))


def test_quick_learning_that_fails_says_why_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("an odd history")

    monkeypatch.setattr(Forecaster, "fit", fail)
    with pytest.raises(TrainingError, match="odd history"):
        train(forecaster(), without_sun(30))
