from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from agent.dashboard import time_words, words
from agent.dashboard.charts import frame
from agent.dashboard.plan_words import plan_lines
from agent.dashboard.scene import arrow, narrow_layout, wide_layout, widths
from agent.dashboard.topics import Accuracy, PlannedSlot, Trade

BERLIN = ZoneInfo("Europe/Berlin")
QUARTER = timedelta(minutes=15)
TRADE = Trade(contract_id="c", partner="sunny home", energy_wh=5, price_per_kwh=Decimal("0.2"), status="counted")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (words.power(None), "–"),
        (words.power(-1234.0), "1.2 kW"),
        (words.power(996.0), "1.0 kW"),
        (words.power(343.0), "340 W"),
        (words.power(27.4), "27 W"),
        (words.battery(-1200.0), "charging 1.2 kW"),
        (words.battery(1200.0), "giving 1.2 kW"),
        (words.battery(-3.0), "resting"),
        (words.meter(2000.0), "2.0 kW in"),
        (words.meter(-2000.0), "2.0 kW out"),
        (words.trading(-600.0), "selling 600 W"),
        (words.trading(0.0), "not trading"),
        (words.trade_status(TRADE), "settled"),
        (words.trade_status(TRADE.model_copy(update={"trade": "residual"})), "balanced afterwards"),
        (words.trade_status(TRADE.model_copy(update={"trade": "residual", "status": "void"})), "cancelled"),
        (words.amount(Decimal("-0.455"), "EUR"), "−€0.46"),
        (words.amount(Decimal("1234.5"), "CHF"), "CHF 1,234.50"),
        (words.amount(Decimal("-0.001"), "EUR"), "€0.00"),
        (words.amount(Decimal("-3.4"), ""), "−3.40"),
        (words.price(Decimal("0.2137"), ""), "0.214"),
        (words.bill(Decimal("-0.45"), "GBP"), "earned £0.45"),
        (words.price(Decimal("0.2137"), "EUR"), "21.4 ct"),
        (words.price(Decimal("0.2137"), "JPY"), "JPY 0.214"),
        (words.energy(1250), "1.25 kWh"),
        (words.energy(None), "–"),
        (words.compared(Decimal(10), Decimal("8.2"), "before", "EUR"), "18 % less than before"),
        (words.compared(Decimal(10), Decimal(11), "before", "EUR"), "10 % more than before"),
        (words.compared(Decimal("0.1"), Decimal(-1), "before", "EUR"), "€1.10 less than before"),
        (words.compared(Decimal(-1), Decimal(-2), "before", "EUR"), "€1.00 less than before"),
        (words.compared(Decimal(10), Decimal("8.25"), "before", "EUR", digits=1), "17.5 % less than before"),
        (words.compared(Decimal(2), Decimal("2.001"), "before", "EUR"), "the same as before"),
        (words.compared(Decimal(100), Decimal("100.02"), "before", "EUR"), "€0.02 more than before"),
        (words.compared(None, Decimal(1), "before", "EUR"), ""),
        (time_words.ago(12.2), "12 s ago"),
        (time_words.ago(7300), "2 h ago"),
        (time_words.ago(12.2, fine=False), "less than a minute ago"),
        (time_words.remaining(timedelta(seconds=-3)), "0 s"),
    ],
)
def test_figures_are_said_in_plain_words(said: str, expected: str) -> None:
    assert said == expected


@pytest.mark.parametrize(
    ("homes", "shared_w", "expected"),
    [
        (0, 300.0, "Balancing alone: no neighbour tells how far it is from its plan."),
        (1, 0.0, "Balancing with 1 neighbour."),
        (5, 300.0, "Balancing with 5 neighbours: this battery gives 300 W for them."),
        (5, -1500.0, "Balancing with 5 neighbours: this battery takes 1.5 kW for them."),
    ],
)
def test_shared_balancing_is_said_in_plain_words(homes: int, shared_w: float, expected: str) -> None:
    assert words.balancing(homes, shared_w) == expected


def test_yesterdays_forecast_is_judged_next_to_the_easiest_guess() -> None:
    whole = words.accuracy(Accuracy(mean_w=400, mae_w=100, mae_day_w=140.4, inside_pct=80))
    assert "off by 100 W on average (25 % of the load)" in whole
    assert whole.endswith("repeating the day before would have been off by 140 W.")
    assert words.accuracy(Accuracy(mean_w=0, mae_w=3, mae_day_w=None, inside_pct=None)).endswith("3 W on average.")


def test_a_share_of_a_negative_bill_is_not_given_in_percent() -> None:
    assert words.saving_percent(Decimal("-1"), Decimal("-2")) is None


def test_a_chart_of_the_autumn_night_shows_the_doubled_hour_twice() -> None:
    first = datetime(2026, 10, 24, 22, 0, tzinfo=UTC)
    of = frame(datetime(2026, 10, 25, 3, 0, tzinfo=UTC), timedelta(hours=1), [first], ahead=timedelta(0))
    assert of.labels(BERLIN) == ["00:00", "01:00", "02:00", "02:00", "03:00", "04:00"]
    assert of.now_at == 5


def planned(start_at: datetime, battery_w: float, reason: str) -> PlannedSlot:
    return PlannedSlot(
        start_at=start_at,
        load_w=300,
        pv_w=0,
        battery_w=battery_w,
        trade_w=0,
        grid_w=300 - battery_w,
        soc_pct=50 - battery_w / 100,
        import_price_per_kwh=0.3,
        export_price_per_kwh=0.06,
        price_per_kwh=0.2,
        reason=reason,
    )


def test_a_plan_says_each_reason_once_and_leaves_out_what_is_over() -> None:
    start = datetime(2026, 5, 12, 10, 0, tzinfo=UTC)
    slots = [
        planned(start, 0, "over"),
        planned(start + QUARTER, -1000, "sun"),
        planned(start + 2 * QUARTER, -2000, "sun"),
        planned(start + 3 * QUARTER, 500, "dear"),
    ]
    assert plan_lines(slots, start + QUARTER, QUARTER, BERLIN) == [
        ("12:15–12:45", "charging 1.5 kW", "", "70 % full", "sun"),
        ("12:45–13:00", "giving 500 W", "", "45 % full", "dear"),
    ]


TODAY = datetime(2026, 5, 12, 4, 15, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_figures_that_are_not_of_right_now_say_of_when_they_are() -> None:
    assert time_words.as_of(TODAY, 180.0, TODAY + QUARTER, BERLIN) == "As of 06:15, last heard 3 min ago"
    later = TODAY + 48 * HOUR
    assert time_words.as_of(TODAY, 172_800.0, later, BERLIN) == "As of Tue 12 May, 06:15, last heard 2 days ago"
    assert time_words.as_of(None, None, None, BERLIN) == "Not heard yet"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (time_words.when(TODAY, TODAY, BERLIN), "06:15"),
        (time_words.when(TODAY - 7 * HOUR, TODAY, BERLIN), "yesterday 23:15"),
        (time_words.when(TODAY + 18 * HOUR, TODAY, BERLIN), "tomorrow 00:15"),
        (time_words.when(TODAY - 73 * HOUR, TODAY, BERLIN), "Sat 9 May, 05:15"),
        (time_words.when(TODAY, None, BERLIN), "Tue 12 May, 06:15"),
        (time_words.span(TODAY, TODAY + QUARTER, TODAY, BERLIN), "06:15–06:30"),
        (time_words.span(TODAY - 7 * HOUR, TODAY - 6.25 * HOUR, TODAY, BERLIN), "yesterday 23:15–00:00"),
        (time_words.span(TODAY, TODAY + 24 * HOUR, TODAY, BERLIN), "06:15 until tomorrow 06:15"),
        (time_words.span(TODAY + 24 * HOUR, TODAY + 25 * HOUR, TODAY, BERLIN), "tomorrow 06:15–07:15"),
    ],
)
def test_a_time_that_is_not_todays_names_its_day(said: str, expected: str) -> None:
    assert said == expected


@pytest.mark.parametrize("count", range(1, 26))
def test_homes_stand_apart_from_each_other_and_inside_the_picture(count: int) -> None:
    for layout in (wide_layout(count), narrow_layout(count)):
        assert len(layout.homes) == count
        for i, (x, y) in enumerate(layout.homes):
            assert 0 < x < layout.width
            assert 0 < y < layout.height
            for other_x, other_y in layout.homes[i + 1 :]:
                assert abs(x - other_x) >= 140 or abs(y - other_y) >= 90


def test_arrows_are_as_thick_as_their_energy() -> None:
    thin, thick = widths([100, 400])
    assert (thick - 2) / (thin - 2) == pytest.approx(4)
    layout = wide_layout(6)
    assert (
        arrow(layout, layout.homes[0], layout.homes[3], 5).shaft
        != arrow(layout, layout.homes[3], layout.homes[0], 5).shaft
    )


def test_what_neighbours_see_is_said_by_the_charters_rule_and_the_owners_choice() -> None:
    assert "every few seconds" in words.seen(masked=False, sharing=True)
    assert "every few seconds" not in words.seen(masked=False, sharing=False)
    assert words.seen(masked=True, sharing=True).startswith("the sum of all bids")
