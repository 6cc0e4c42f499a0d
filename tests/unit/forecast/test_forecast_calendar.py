from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from agent.forecast.calendar import Calendar, Place
from agent.forecast.history import slot_keys
from coordinator.slots import Slot

BERLIN = ZoneInfo("Europe/Berlin")


def days_off(country: str | None, day: datetime) -> list[bool]:
    calendar = Calendar(Place(timezone=BERLIN, country=country))
    keys = slot_keys(Slot.at(day, 3600), 24)
    off: list[bool] = calendar.days_off(calendar.seconds(keys)).tolist()
    return off


def test_a_holiday_is_a_day_off_only_where_it_is_one_and_by_local_days() -> None:
    unity_day = datetime(2025, 10, 3, tzinfo=UTC)  # a Friday; in Berlin it begins at 22:00 UTC the day before
    assert days_off(None, unity_day) == [False] * 22 + [True] * 2  # Saturday has begun
    assert all(days_off("DE", unity_day))
    assert not any(days_off("GB", unity_day)[:22])


@pytest.mark.parametrize(
    ("at", "height"),
    [
        (datetime(2026, 6, 21, 11, 8, tzinfo=UTC), 60.9),  # 90 - 52.52 + 23.44
        (datetime(2026, 12, 21, 11, 4, tzinfo=UTC), 14.0),
        (datetime(2026, 6, 20, 23, 8, tzinfo=UTC), -14.0),
    ],
)
def test_the_sun_stands_as_high_as_the_globe_says(at: datetime, height: float) -> None:
    calendar = Calendar(Place(timezone=BERLIN, latitude=52.52, longitude=13.4))
    assert calendar.sun_deg(np.array([int(at.timestamp())]))[0] == pytest.approx(height, abs=0.7)


def test_an_unknown_place_has_a_constant_sun() -> None:
    calendar = Calendar(Place(timezone=BERLIN))
    np.testing.assert_array_equal(calendar.sun_deg(np.array([0, 3600])), 0.0)
