from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.planning.planner import Planner
from agent.planning.problem import Battery, Floats
from agent.planning.reasons import part_of_day
from agent.planning.tariff import TariffSettings, open_tariff
from coordinator.slots import Slot

TARIFF = open_tariff(
    TariffSettings.model_validate(
        {
            "time_of_use": [
                {"from": "22:00", "to": "06:00", "import_per_kwh": 0.15},
                {"from": "06:00", "to": "17:00", "import_per_kwh": 0.28},
                {"from": "17:00", "to": "22:00", "import_per_kwh": 0.42},
            ],
            "export_per_kwh": 0.06,
        }
    ),
    "UTC",
    Path(),
)
BATTERY = Battery(capacity_wh=6400, charge_max_w=3000, discharge_max_w=3000)
NINE = Slot.at(datetime(2026, 5, 4, 9, tzinfo=UTC), 3600)


def planner(
    load_w: float | Floats = 500.0,
    pv_w: float | Floats = 0.0,
    battery: Battery | None = BATTERY,
    stored_wh: float = 3000.0,
    first: Slot = NINE,
) -> Planner:
    return Planner(
        first=first, load_w=np.broadcast_to(load_w, 24).astype(float), pv_w=np.broadcast_to(pv_w, 24).astype(float),
        tariff=TARIFF, battery=battery, stored_wh=stored_wh, rho_micro=150, timezone=ZoneInfo("UTC"),
    )  # fmt: skip


def test_opening_prices_are_the_midpoints_of_the_own_tariff() -> None:
    prices = planner().opening_prices()
    assert prices[0] == 170_000
    assert prices[8] == 240_000
    assert len(prices) == 24


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_bids_are_whole_wh_and_never_more_than_physics_allows(seed: int) -> None:
    r = np.random.default_rng(seed)
    battery = BATTERY if seed % 2 else None
    load_w, pv_w = r.uniform(0, 3000, 24), r.uniform(0, 4000, 24) * (seed % 3 > 0)
    bids = planner(load_w, pv_w, battery).bid(
        [int(p) for p in r.integers(0, 600_000, 24)], list(r.uniform(-9000, 9000, 24))
    )
    power_w = 3000 if battery else 0
    assert all(type(e) is int for e in bids)
    assert (np.array(bids) <= load_w + power_w).all()
    assert (-np.array(bids) <= pv_w + power_w).all()


def test_home_with_sun_sells_and_home_without_buys_at_the_midpoint() -> None:
    sunny, dark = planner(pv_w=3000.0, battery=None), planner(battery=None)
    prices = dark.opening_prices()
    assert sunny.bid(prices, [0.0] * 24)[0] < -100
    assert dark.bid(prices, [0.0] * 24)[0] > 100


def test_the_same_question_gets_the_same_answer() -> None:
    prices: Sequence[int] = planner().opening_prices()
    once, twice = planner(pv_w=1500.0), planner(pv_w=1500.0)
    assert once.bid(prices, [0.0] * 24) == twice.bid(prices, [0.0] * 24)


def test_good_trades_are_kept_whole() -> None:
    assert planner(battery=None).keep(400, 170_000) == 400
    assert planner(pv_w=3000.0, battery=None).keep(-2000, 170_000) == -2000


def test_trade_outside_the_own_tariff_is_dropped() -> None:
    assert planner(battery=None).keep(400, 280_001) == 0
    assert planner(pv_w=3000.0, battery=None).keep(-400, 59_999) == 0


def test_sale_that_loses_against_keeping_the_energy_is_dropped() -> None:
    # the battery's energy is worth 0.42 in the evening; nobody sells it for 0.10 now
    assert planner(stored_wh=2500.0).keep(-1000, 100_000) == 0


def test_purchase_of_more_than_the_home_can_use_is_cut_to_what_it_can_use() -> None:
    assert planner(load_w=500.0, battery=None).keep(1000, 100_000) == 500


def test_sale_beyond_own_energy_is_never_kept_whole() -> None:
    assert abs(planner(pv_w=600.0, battery=None).keep(-2400, 270_000)) <= 600


def test_nothing_is_bought_or_stored_beyond_what_the_owner_lets_the_battery_be_filled_to() -> None:
    most = replace(BATTERY, max_wh=0.8 * 6400)
    full = planner(load_w=200.0, battery=most, stored_wh=most.max_wh)
    assert full.keep(2000, 100_000) <= 200
    plan = planner(load_w=200.0, pv_w=4000.0, battery=most, stored_wh=3000.0).schedule([0])
    assert plan.schedule.stored_wh.max() <= most.max_wh + 1
    above = planner(load_w=200.0, battery=most, stored_wh=6300.0).schedule([0])
    assert above.schedule.stored_wh.max() <= 6300.0 + 1, "what is there already may stay"


def test_gain_counts_what_trades_save_against_none() -> None:
    home = planner(battery=None)
    trades, prices = [500] + [0] * 23, [200_000] * 24
    assert home.gain(trades, prices) == pytest.approx(0.5 * (0.28 - 0.20), abs=1e-4)
    assert home.gain([-500] + [0] * 23, prices) == float("-inf")


def test_plan_serves_the_committed_trade_and_balances() -> None:
    home = planner(pv_w=2000.0, stored_wh=1000.0)
    home.bid(home.opening_prices(), [0.0] * 24)
    plan = home.schedule([-700])
    s, p = plan.schedule, plan.problem
    assert s.trade_w[0] == -700
    np.testing.assert_allclose(s.import_w - s.export_w + s.trade_w + p.pv_w + s.battery_w, p.load_w, atol=1e-6)
    assert plan.soc_pct is not None
    assert 0 <= plan.soc_pct.min() <= plan.soc_pct.max() <= 100.01
    assert len(plan.reasons) == 24


def test_plan_without_contracts_before_any_bid_is_the_plan_alone() -> None:
    home = planner(pv_w=2000.0)
    np.testing.assert_allclose(home.schedule([]).schedule.battery_w, home.alone.battery_w, atol=1.0)


def test_home_without_battery_has_a_plan_without_state_of_charge() -> None:
    assert planner(battery=None).schedule([]).soc_pct is None


def test_reasons_say_where_the_energy_comes_from_and_what_it_is_for() -> None:
    pv = np.array([2500.0] * 7 + [0.0] * 17)
    plan = planner(600.0, pv, stored_wh=0.0).schedule([])
    charging = [plan.reasons[t] for t in range(7) if plan.schedule.charge_w[t] > 100]
    assert charging
    assert all(text == "charging from the sun for the afternoon" for text in charging)
    assert "using the battery: cheaper than the grid" in plan.reasons[8:13]


def test_reason_of_a_purchase_names_the_neighbours() -> None:
    home = planner(battery=None)
    assert home.schedule([400]).reasons[0] == "buying from neighbours: cheaper than the grid"


def test_reason_of_a_waiting_battery_names_the_dearer_time() -> None:
    plan = planner(2000.0, stored_wh=3000.0).schedule([])
    assert plan.reasons[0] == "keeping the battery for the evening, when the grid is dearer"


def test_reason_of_night_charging_names_the_cheap_grid() -> None:
    late = Slot.at(datetime(2026, 5, 4, 22, tzinfo=UTC), 3600)
    plan = planner(600.0, stored_wh=0.0, first=late).schedule([])
    assert any(text.startswith("charging from the grid while it is cheap") for text in plan.reasons[:8])


@pytest.mark.parametrize(
    ("hour", "words"),
    [(3, "the night"), (8, "the morning"), (14, "the afternoon"), (19, "the evening"), (23, "the night")],
)
def test_parts_of_the_day_read_as_people_say_them(hour: int, words: str) -> None:
    assert part_of_day(hour) == words


# With a feeder limit, prices and bids are twice as long


def feeder_home(**more: object) -> Planner:
    return planner(np.full(24, 1500.0), battery=BATTERY, stored_wh=3000.0, **more)  # type: ignore[arg-type]


def test_second_half_of_a_bid_is_what_is_exchanged_with_the_grid() -> None:
    home = feeder_home()
    prices = home.opening_prices()
    bids = home.bid([*prices, *[0] * 24], [0.0] * 48)
    assert len(bids) == 48
    assert all(type(e) is int for e in bids)
    plan = home.schedule(bids[:24]).schedule
    np.testing.assert_allclose(plan.grid_w, bids[24:], atol=30)


def test_feeder_price_keeps_imports_out_of_the_slots_it_is_asked_for() -> None:
    home = feeder_home()
    prices = home.opening_prices()
    free = home.bid([*prices, *[0] * 24], [0.0] * 48)[24:]
    dear = home.bid([*prices, *[400_000] * 3, *[0] * 21], [0.0] * 48)[24:]
    assert sum(dear[:3]) < sum(free[:3]) - 1000
    plan = home.schedule([]).schedule
    assert plan.import_w[:3].sum() < 100


def test_feeder_price_counts_as_part_of_the_tariff_when_a_trade_is_judged() -> None:
    home = planner(battery=None)  # imports at 0.28
    assert home.keep(400, 300_000) == 0
    home.bid([*home.opening_prices(), 50_000, *[0] * 23], [0.0] * 48)
    assert home.keep(400, 300_000) == 400
    assert home.keep(400, 330_001) == 0
    sunny = planner(pv_w=3000.0, battery=None)  # exports at 0.06
    sunny.bid([*sunny.opening_prices(), -50_000, *[0] * 23], [0.0] * 48)
    assert sunny.keep(-400, 20_000) == -400


def test_gain_takes_the_feeder_prices_behind_the_prices_or_those_of_the_last_bid() -> None:
    home = planner(battery=None)
    trades, prices, feeder = [500] + [0] * 23, [200_000] * 24, [100_000] + [0] * 23
    assert home.gain(trades, [*prices, *feeder]) == pytest.approx(0.5 * (0.28 + 0.10 - 0.20), abs=1e-4)
    assert home.gain(trades, prices) == pytest.approx(0.5 * (0.28 - 0.20), abs=1e-4)
    home.bid([*prices, *feeder], [0.0] * 48)
    assert home.gain(trades, prices) == pytest.approx(0.5 * (0.28 + 0.10 - 0.20), abs=1e-4)


def test_vectors_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="30 prices and 30 anchors for a horizon of 24"):
        planner().bid([0] * 30, [0.0] * 30)
