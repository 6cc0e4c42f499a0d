"""The one way in which recorded homes forecast: learned every two weeks, judged every day, blind to what comes."""

from dataclasses import replace
from datetime import UTC
from pathlib import Path

import numpy as np
import pytest
from streets import START_AT, write_street

from agent.forecast.forecaster import Forecaster
from agent.forecast.history import History, slot_keys
from agent.forecast.weather import Weather
from agent.simulator.community import load_community
from agent.study.foresight import expectations, outlooks
from agent.study.lives import lives_of
from agent.study.walk import forecaster_of, walk_forward
from coordinator.errors import ConfigError
from coordinator.slots import Slot

DAY = 24
FIRST = Slot.at(START_AT, 3600)


class Watched(Forecaster):
    """A forecaster that notes to which slot it was shown the past."""

    def __init__(self) -> None:
        super().__init__(slot_s=3600, timezone=UTC, pv_limit_w=0.0)
        self.fitted: list[int] = []
        self.judged: list[int] = []

    def fit(self, history: History, weather: Weather | None = None) -> None:
        self.fitted.append(history.end_key)
        super().fit(history, weather)

    def judge(self, history: History, weather: Weather | None = None) -> None:
        self.judged.append(history.end_key)
        super().judge(history, weather)


def history(days: int, *, level_w: float = 400.0) -> History:
    random = np.random.default_rng(5)
    hour = np.arange(days * DAY) % DAY
    load_w = level_w + 300 * (hour > 17) + random.uniform(0, 200, hour.size)
    return History(first=FIRST, load_w=load_w, pv_w=np.zeros(hour.size))


def test_members_are_judged_every_day_between_two_fits_and_see_nothing_later() -> None:
    forecaster, begin = Watched(), FIRST.shifted(16 * DAY)
    issues = slot_keys(begin, 17 * DAY)
    blocks = list(walk_forward(forecaster, history(40), issues, DAY, refit_days=14))
    days = [begin.shifted(day * DAY).key for day in range(17)]
    assert forecaster.fitted == [days[0], days[14]]
    assert forecaster.judged == [*days[1:14], *days[15:]]
    assert np.concatenate([block.issues for block in blocks]).tolist() == issues.tolist()
    assert blocks[0].load_w.shape == (DAY, DAY)


def test_a_home_that_changes_its_habits_is_followed_within_days() -> None:
    # a heat pump moves in: with members judged only when they learn anew, the old mix would speak for two weeks
    before, after = history(30), history(30, level_w=1500.0)
    both = replace(before, load_w=np.r_[before.load_w, after.load_w], pv_w=np.zeros(60 * DAY))
    issues = slot_keys(FIRST.shifted(28 * DAY), 12 * DAY)
    made = list(walk_forward(Watched(), both, issues, DAY, refit_days=100))
    missed = [
        float(np.abs(block.load_w[0] - both.load_w[(28 + day) * DAY :][:DAY]).mean()) for day, block in enumerate(made)
    ]
    assert max(missed[2:4]) > 600
    assert missed[-1] < 100


def test_study_and_backtest_forecast_a_home_alike_up_to_its_limits(tmp_path: Path) -> None:
    folder = write_street(tmp_path / "elm", homes=1, days=18)
    toml = folder / "community.toml"
    toml.write_text(toml.read_text() + "pv_kwp = 3.0\nfuse_a = 1\n")
    community = load_community(folder)
    lives = lives_of(community)
    (home,), (life,) = community.homes, lives.homes
    first, slots = FIRST.shifted(15 * DAY), 2 * DAY
    load_w, pv_w = outlooks(lives, life, "model", first, slots, DAY, 14)
    walked = list(walk_forward(forecaster_of(community, home), life.history, slot_keys(first, slots), DAY))
    np.testing.assert_array_equal(load_w, np.concatenate([block.load_w for block in walked]))
    np.testing.assert_array_equal(pv_w, np.concatenate([block.pv_w for block in walked]))
    assert load_w.max() == 3 * 230
    assert 2000 < pv_w.max() <= 3000
    assembled = expectations(lives, "model", first, slots, DAY)
    np.testing.assert_array_equal([each.load_w[0] for each in assembled], load_w)


def test_a_country_without_known_holidays_is_named(tmp_path: Path) -> None:
    folder = write_street(tmp_path / "elm", homes=1, days=9)
    toml = folder / "community.toml"
    toml.write_text(f'country = "ZZ"\n{toml.read_text()}')
    community = load_community(folder)
    for place, home in ((community, community.homes[0]), (lives_of(community), lives_of(community).homes[0])):
        with pytest.raises(ConfigError, match=r"community\.toml: country: no public holidays are known"):
            forecaster_of(place, home)
