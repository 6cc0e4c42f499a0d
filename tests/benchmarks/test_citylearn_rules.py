"""The competition's figures and batteries against cases done by hand."""

import numpy as np
import pytest
from citylearn_rules import CAPACITY_WH, NOMINAL_W, PHASES, Batteries, scores, weighted

WITHOUT = np.array([[2000.0, -1000.0, 1000.0], [0.0, 1000.0, 1000.0]])
PRICE, CARBON = np.array([0.1, 0.2, 0.3]), np.array([1.0, 1.0, 0.5])


def test_each_figure_is_as_done_by_hand() -> None:
    found = scores(np.array([[1000.0, 0.0, 0.0], [0.0, 1000.0, 2000.0]]), WITHOUT, PRICE, CARBON)
    assert found.price == pytest.approx((100 + 200 + 600) / (200 + 0 + 600))
    assert found.emission == pytest.approx((1000 + 1000 + 1000) / (2000 + 1000 + 500 + 500))
    assert found.ramping == pytest.approx((0 + 1000) / (2000 + 2000))
    assert found.load_factor == pytest.approx((1 - 4000 / 3 / 2000) / (1 - 4000 / 3 / 2000))
    assert found.grid == pytest.approx((0.25 + 1) / 2)
    assert found.score == pytest.approx((1.125 + 0.75 + 0.625) / 3)


def test_doing_nothing_scores_one() -> None:
    found = scores(WITHOUT, WITHOUT, PRICE, CARBON)
    assert (found.price, found.emission, found.ramping, found.load_factor, found.score) == (1, 1, 1, 1, 1)


def test_the_districts_export_earns_nothing() -> None:
    less = WITHOUT + np.array([[0.0, -5000.0, 0.0], [0.0, 0.0, 0.0]])
    assert scores(less, WITHOUT, PRICE, CARBON).price == 1


def test_the_load_factor_begins_anew_every_730_hours() -> None:
    flat, waves = np.full(730, 1000.0), np.tile([0.0, 2000.0], 365)
    price = carbon = np.ones(1460)
    found = scores(np.array([[*flat, *waves]]), np.array([[*waves, *waves]]), price, carbon)
    assert found.load_factor == pytest.approx((0 + 0.5) / 2 / 0.5)


def test_what_a_battery_takes_and_gives_loses_by_the_power_it_was_asked_for() -> None:
    batteries = Batteries(1)
    assert batteries.run(np.array([-1000.0])) == pytest.approx(-1000)
    assert batteries.stored_wh == pytest.approx(1000 * 0.83**0.5)
    assert batteries.run(np.array([9000.0])) == pytest.approx(1000 * 0.83**0.5 * 0.85**0.5)
    assert batteries.stored_wh == pytest.approx(0)


def test_a_battery_slows_down_when_it_is_nearly_full_and_stops_when_it_is() -> None:
    batteries = Batteries(2)
    batteries.stored_wh = np.array([0.9, 1.0]) * CAPACITY_WH
    done_w = batteries.run(np.array([9000.0, -9000.0]))
    assert done_w == pytest.approx([0.6 * NOMINAL_W, 0.0])


def test_a_battery_wears() -> None:
    batteries = Batteries(1)
    batteries.run(np.array([-1000.0]))
    assert batteries.capacity_wh == pytest.approx(CAPACITY_WH - 1e-5 * 1000 / 2)


def test_the_phases_hold_every_home_once_and_their_weights_sum_to_one() -> None:
    assert [place for homes, _ in PHASES.values() for place in homes] == list(range(17))
    assert weighted([1.0, 1.0, 1.0]) == pytest.approx(1)
    assert weighted([1.0, 2.0, 3.0]) == pytest.approx(0.2 + 0.6 + 1.5)
