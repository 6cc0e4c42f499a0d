"""The study's quick home answers, keeps and plans what the product's planner does, slot after slot."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from agent.planning.home_model import HomeModel
from agent.planning.planner import Planner
from agent.planning.problem import Battery
from agent.planning.tariff import Tariff
from agent.study.quick_home import Outlook, QuickHome
from coordinator.slots import Slot

FIRST = Slot.at(datetime(2026, 6, 1, tzinfo=UTC), 3600)
HORIZON = 24
BATTERY = Battery(capacity_wh=6000.0, charge_max_w=3000.0, discharge_max_w=2500.0, reserve_wh=300.0)


class Rates:
    """Import dear in the evening, export cheap; micro-units per kWh."""

    step_s = 3600

    def at(self, second: int) -> tuple[int, int]:
        hour = second // 3600 % 24
        return (480_000 if 16 <= hour < 21 else 210_000 + 1_000 * hour), 60_000


class Pair:
    """The same home twice."""

    def __init__(self, battery: Battery | None, seed: int) -> None:
        self.random, self.battery = np.random.default_rng(seed), battery
        self.tariff = Tariff(Rates())
        self.quick = QuickHome(battery, horizon=HORIZON, slot_h=1.0, wear_per_kwh=0.01, rho_micro=150)
        self.stored_wh = 0.0

    def begin(self, slot: Slot) -> None:
        hours = (np.arange(HORIZON) + slot.key // 3600) % 24
        load_w = 1200 * self.random.random(HORIZON)
        pv_w = 4000 * np.maximum(np.sin((hours - 6) / 12 * np.pi), 0.0) * self.random.random()
        self.stored_wh = float(self.random.random()) * 6000
        imports, exports = self.tariff.prices(slot, HORIZON)
        self.planner = Planner(
            first=slot,
            load_w=load_w,
            pv_w=pv_w,
            tariff=self.tariff,
            battery=self.battery,
            stored_wh=self.stored_wh,
            rho_micro=150,
            timezone=UTC,
            terminal_per_kwh=0.2,
        )
        self.quick.begin(
            Outlook(
                load_w=load_w,
                pv_w=pv_w,
                import_per_kwh=imports,
                export_per_kwh=exports,
                stored_wh=self.stored_wh,
                terminal_per_kwh=0.2,
            )
        )

    def prices(self) -> list[int]:
        return [int(p) for p in self.random.integers(60_000, 480_000, HORIZON)]


@pytest.mark.parametrize("battery", [BATTERY, None])
def test_bids_keeps_and_plans_are_the_planners(battery: Battery | None) -> None:
    pair = Pair(battery, 7)
    kept = 0
    for step in range(6):
        pair.begin(FIRST.shifted(step))
        anchor = [0.0] * HORIZON
        for _ in range(3):
            prices = pair.prices()
            mine, theirs = pair.quick.bid(prices, anchor), pair.planner.bid(prices, anchor)
            # the solvers' accuracy on a flat optimum
            assert np.abs(np.array(mine) - np.array(theirs)).max() <= 5
            anchor = [0.9 * wh for wh in theirs]
        for trade_wh, price in ((theirs[0], prices[0]), (400, 150_000), (-400, 100_000), (-300, 300_000)):
            pair.quick.expect(theirs)
            mine_wh = pair.quick.keep(trade_wh, price)
            assert mine_wh == pair.planner.keep(trade_wh, price)
            kept += mine_wh != 0
            plan = pair.planner.schedule([mine_wh])
            quick = pair.quick.step(mine_wh)
            assert quick.battery_w == pytest.approx(float(plan.schedule.battery_w[0]), abs=5)
            grid_w = float(plan.schedule.import_w[0] - plan.schedule.export_w[0])
            assert quick.grid_w == pytest.approx(grid_w, abs=5)
    assert kept >= 4


def test_a_home_whose_grid_price_rises_with_the_power_draws_evenly() -> None:
    lossless = Battery(
        capacity_wh=9000.0, charge_max_w=9000.0, discharge_max_w=9000.0, efficiency_charge=1.0, efficiency_discharge=1.0
    )
    home = QuickHome(lossless, horizon=2, slot_h=1.0, wear_per_kwh=0.0, rho_micro=150, rise_per_kwh_kw=0.1)
    load_w, price = np.array([0.0, 4000.0]), np.full(2, 0.2)
    home.begin(
        Outlook(
            load_w=load_w,
            pv_w=np.zeros(2),
            import_per_kwh=price,
            export_per_kwh=0 * price,
            stored_wh=0.0,
            terminal_per_kwh=0.0,
        )
    )
    step = home.step(0, alone=True)
    assert step.battery_w == pytest.approx(-2000, abs=5)
    assert step.stored_value_per_kwh == pytest.approx(0.2 + 0.1 * 2, abs=0.002)


def test_the_value_of_stored_energy_is_what_a_little_more_of_it_saves_from_the_next_slot_on() -> None:
    pair = Pair(BATTERY, 3)
    for step in range(4):
        pair.begin(FIRST.shifted(5 * step))
        value = pair.quick.step(0, alone=True).stored_value_per_kwh
        after_wh = float(pair.planner.alone.stored_wh[0])

        def cost(stored_wh: float) -> float:
            p = pair.planner.problem
            later = replace(
                p,
                load_w=p.load_w[1:],
                pv_w=p.pv_w[1:],
                import_per_kwh=p.import_per_kwh[1:],
                export_per_kwh=p.export_per_kwh[1:],
                stored_wh=stored_wh,
            )
            return HomeModel(later).alone().cost

        # where the cost has a kink, any value between its slopes will do; tie-breaks count in the one, not in the other
        more, less = 1000 * (cost(after_wh) - cost(after_wh + 1)), 1000 * (cost(after_wh - 1) - cost(after_wh))
        assert more - 1e-3 <= value <= less + 1e-3
