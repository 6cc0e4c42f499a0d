"""The owner's log: what a person would ask about is told, refreshes and flutter are not."""

from agent.control.telling import LEAST_S, MATERIAL_W, SetpointNews

PLANNED = "giving 300 Wh to the grid in this slot, as planned: the battery gives {} W"


def test_first_setpoint_is_told_and_refreshes_are_not() -> None:
    news = SetpointNews()
    assert news.is_news(0, 1000, PLANNED.format(1000))
    assert not any(news.is_news(20.0 * n, 1000, PLANNED.format(1000)) for n in range(1, 50))


def test_flutter_is_not_told_and_a_slow_drift_is() -> None:
    news = SetpointNews()
    assert news.is_news(0, 0, "x: the battery rests")
    assert not any(news.is_news(100 * n, 90 * (-1) ** n, f"x: the battery gives {n} W") for n in range(1, 50))
    told = [
        w for n, w in enumerate(range(0, 2000, 40)) if news.is_news(9000 + 100 * n, w, f"x: the battery gives {w} W")
    ]
    assert told == [520, 1040, 1560]


def test_another_reason_is_told_even_for_the_same_power() -> None:
    news = SetpointNews()
    assert news.is_news(0, 1000, PLANNED.format(1000))
    assert news.is_news(LEAST_S, 1000, "taking 200 Wh from the grid in this slot, as planned: the battery gives 1000 W")
    assert news.is_news(2 * LEAST_S, 1000, PLANNED.format(1000) + ", its limit")


def test_change_that_comes_too_soon_is_told_with_the_next_setpoint_that_is_late_enough() -> None:
    news = SetpointNews()
    assert news.is_news(0, 1000, PLANNED.format(1000))
    assert not news.is_news(5, 1000 + 2 * MATERIAL_W, PLANNED.format(2000))
    assert news.is_news(LEAST_S, 1000 + 2 * MATERIAL_W, PLANNED.format(2000))


def test_that_the_battery_stops_is_told_at_once() -> None:
    news = SetpointNews()
    assert news.is_news(0, 1000, PLANNED.format(1000))
    assert news.is_news(5, 0, "x: the battery rests, because its charge is at the reserve of 20 %")
    assert not news.is_news(10, 40, "x: the battery gives 40 W"), "and starting again waits"


def test_setpoint_after_a_release_is_told_anew() -> None:
    news = SetpointNews()
    assert news.is_news(0, 1000, PLANNED.format(1000))
    news.released()
    assert news.is_news(5, 1000, PLANNED.format(1000))
