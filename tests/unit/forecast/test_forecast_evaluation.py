import numpy as np
import pytest

from agent.forecast.evaluation import day_accuracy, score

NAN = float("nan")
TRUTH = np.array([100.0, 200.0, NAN, 400.0])
MEAN = np.array([120.0, 200.0, 300.0, 360.0])
BAND = np.array([[50.0, 90.0, 130.0], [210.0, 220.0, 300.0], [0.0, 1.0, 2.0], [300.0, 410.0, 500.0]])
NAIVE = {
    "day": np.array([110.0, 230.0, 1.0, 400.0]),
    "week": np.array([100.0, 200.0, 1.0, 460.0]),
    "mean7": np.array([130.0, 240.0, 1.0, 450.0]),
    "meanw4": np.array([101.0, 202.0, 1.0, 403.0]),
}


def test_scores_are_what_a_hand_finds() -> None:
    scores = score(TRUTH, MEAN, BAND, NAIVE)
    assert scores is not None
    assert scores.slots == 3
    assert scores.mae == pytest.approx((10 + 20 + 10) / 3)
    assert scores.rmse == pytest.approx(((20**2 + 0 + 40**2) / 3) ** 0.5)
    assert scores.bias == pytest.approx((20 + 0 - 40) / 3)
    assert scores.coverage80 == pytest.approx(2 / 3)
    assert (scores.mae_day, scores.mae_week) == (pytest.approx(40 / 3), pytest.approx(20.0))
    assert scores.skill_mae == pytest.approx(0.0)
    assert scores.rmse_ratio_mean7 == pytest.approx((2000 / (900 + 1600 + 2500)) ** 0.5)
    assert scores.worse_than_naive == pytest.approx(40 / 6 - 1)
    pinball = [0.1 * 50, 0.9 * 10, 0.1 * 100, 0.5 * 10, 0.5 * 20, 0.5 * 10, 0.1 * 30, 0.1 * 100, 0.1 * 100]
    assert scores.pinball == pytest.approx(sum(pinball) / 9)


def test_a_span_without_any_known_slot_has_no_scores() -> None:
    assert score(np.full(4, NAN), MEAN, BAND, NAIVE) is None


def test_a_day_is_compared_with_its_forecast_and_with_the_day_before() -> None:
    found = day_accuracy(TRUTH, np.array([150.0, NAN, 5.0, 450.0]), BAND)
    assert found is not None
    assert found.mae_w == pytest.approx(40 / 3)
    assert found.mae_day_w == pytest.approx(50.0)
    assert found.inside_pct == pytest.approx(200 / 3)
    assert day_accuracy(np.full(4, NAN), TRUTH, BAND) is None
