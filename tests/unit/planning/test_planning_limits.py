"""Sun that is turned down, prices of any sign, and the limit of the community's feeder."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from agent.planning.central import central_optimum
from agent.planning.home_model import Feeder, HomeModel, Schedule
from agent.planning.problem import Battery, Floats, HomeProblem
from agent.planning.reasons import reasons

N, RHO = 8, 150e-6
BATTERY = Battery(capacity_wh=5000, charge_max_w=2000, discharge_max_w=2000)


def home(**more: Any) -> HomeProblem:
    given = {
        "slot_h": 1.0,
        "load_w": np.full(N, 500.0),
        "pv_w": np.full(N, 3000.0),
        "import_per_kwh": np.full(N, 0.30),
        "export_per_kwh": np.full(N, 0.06),
    }
    return HomeProblem(**(given | more))


def check_balance(p: HomeProblem, s: Schedule) -> None:
    supply = s.import_w - s.export_w + s.trade_w + p.pv_w - s.curtailed_w + s.battery_w
    np.testing.assert_allclose(supply, p.load_w, atol=1e-6)


def words(p: HomeProblem, s: Schedule) -> tuple[str, ...]:
    return reasons(p, s, [12] * p.slots)


# Turning the sun down


def test_sun_is_turned_down_only_where_the_grid_charges_for_it() -> None:
    export = np.where(np.arange(N) == 3, -0.05, 0.0)
    problem = home(export_per_kwh=export)
    plan = HomeModel(problem).alone()
    check_balance(problem, plan)
    assert plan.curtailed_w[3] == pytest.approx(2500, abs=2)
    assert plan.curtailed_w.sum() == pytest.approx(2500, abs=2)
    assert words(problem, plan)[3] == "the home runs on its own; sun turned down: the grid would charge for it"
    assert plan.cost == pytest.approx(0, abs=1e-3)


def test_battery_and_neighbours_come_before_turning_down() -> None:
    problem = home(export_per_kwh=np.full(N, -0.05), battery=BATTERY, terminal_per_kwh=0.2)
    sold = np.full(N, -1500.0)
    plan = HomeModel(problem).with_trades(sold)
    assert plan.deliverable
    check_balance(problem, plan)
    assert plan.curtailed_w.sum() == pytest.approx(8 * 1000 - 5000 / 0.95, abs=20)
    answer = HomeModel(problem).answer(np.full(N, 0.2), np.full(N, -1500.0), RHO)
    assert (answer.trade_w < -1000).all()


def test_sun_beyond_the_connection_is_turned_down() -> None:
    problem = home(connection_max_w=1000.0)
    plan = HomeModel(problem).alone()
    check_balance(problem, plan)
    assert plan.export_w == pytest.approx(np.full(N, 1000), abs=1)
    assert plan.curtailed_w == pytest.approx(np.full(N, 1500), abs=1)
    assert words(problem, plan)[0].endswith("sun turned down: the connection is full")


def test_what_neighbours_take_goes_through_the_connection_too() -> None:
    problem = home(connection_max_w=1000.0)
    plan = HomeModel(problem).with_trades(np.full(N, -800.0))
    assert plan.export_w == pytest.approx(np.full(N, 200), abs=1)
    assert plan.deliverable


# Prices of any sign


def dense_cost(p: HomeProblem) -> float:
    """The least cost alone, written down a second time: charge, discharge, import, export, curtailed in kW."""
    n, h, b = p.slots, p.slot_h, p.battery
    assert b is not None
    eye, zero, low = np.eye(n), np.zeros((n, n)), np.tril(np.ones((n, n)))
    left = p.terminal_per_kwh * b.efficiency_discharge
    wear = p.wear_per_kwh / 2
    stored = h * np.hstack([b.efficiency_charge * low, -low / b.efficiency_discharge, zero, zero, zero])
    start = p.start_wh / 1000
    result = linprog(
        np.r_[np.full(n, h * wear), np.full(n, h * wear), h * p.import_per_kwh, -h * p.export_per_kwh, np.zeros(n)]
        - left * stored[-1],
        A_ub=np.vstack([stored, -stored]),
        b_ub=np.r_[np.full(n, b.capacity_wh / 1000 - start), np.full(n, start)],
        A_eq=np.hstack([-eye, eye, eye, -eye, -eye]),
        b_eq=(p.load_w - p.pv_w) / 1000,
        bounds=[(0, b.charge_max_w / 1000)] * n + [(0, b.discharge_max_w / 1000)] * n + [(0, None)] * (2 * n)
        + [(0, w / 1000) for w in p.pv_w],
    )  # fmt: skip
    assert result.status == 0
    return float(result.fun) - left * start


@given(
    imports=st.lists(st.floats(-0.09, 0.6), min_size=N, max_size=N),
    spreads=st.lists(st.sampled_from([0.0, 0.01, 0.2]), min_size=N, max_size=N),
    stored_wh=st.floats(0, 5000),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40, deadline=None)
def test_dynamic_tariffs_of_any_sign_are_planned_at_least_cost(
    imports: list[float], spreads: list[float], stored_wh: float, seed: int
) -> None:
    """Above -0.09 the wear of 0.01 outweighs what a battery could earn by wasting energy."""
    r = np.random.default_rng(seed)
    problem = home(
        import_per_kwh=np.array(imports), export_per_kwh=np.array(imports) - np.array(spreads), battery=BATTERY,
        stored_wh=stored_wh, load_w=r.uniform(0, 2000, N), pv_w=r.uniform(0, 3000, N) * (r.random(N) < 0.6),
        terminal_per_kwh=0.05,
    )  # fmt: skip
    plan = HomeModel(problem).alone()
    assert plan.solved
    check_balance(problem, plan)
    assert plan.cost == pytest.approx(dense_cost(problem), abs=5e-3)
    assert (plan.curtailed_w <= problem.pv_w + 1e-9).all()


def test_battery_never_charges_and_discharges_at_once_to_be_paid_for_wasting() -> None:
    problem = home(
        import_per_kwh=np.full(N, -0.5), export_per_kwh=np.full(N, -0.6), battery=BATTERY, stored_wh=5000,
        pv_w=np.zeros(N),
    )  # fmt: skip
    plan = HomeModel(problem).alone()
    check_balance(problem, plan)
    assert np.minimum(plan.charge_w, plan.discharge_w).max() < 1e-6
    stored_wh = 5000 + np.cumsum(0.95 * plan.charge_w - plan.discharge_w / 0.95)
    np.testing.assert_allclose(plan.stored_wh, stored_wh, atol=1)


# The feeder


def at_price(price_per_kwh: Floats) -> Feeder:
    return Feeder(price_per_kwh=price_per_kwh, anchor_w=np.zeros(N))


def test_feeder_price_moves_the_exchange_with_the_grid_as_a_tariff_would() -> None:
    extra = np.where(np.arange(N) < 4, 0.2, 0.0)
    plain = home(pv_w=np.zeros(N), battery=BATTERY, stored_wh=2000)
    dearer = home(
        pv_w=np.zeros(N), battery=BATTERY, stored_wh=2000, import_per_kwh=0.3 + extra, export_per_kwh=0.06 + extra
    )
    priced, tariff = HomeModel(plain).with_trades(np.zeros(N), at_price(extra)), HomeModel(dearer).alone()
    assert priced.cost == pytest.approx(tariff.cost, abs=1e-4)
    assert priced.battery_w == pytest.approx(tariff.battery_w, abs=1)


def test_answer_pulls_the_exchange_with_the_grid_to_its_anchor() -> None:
    problem = home(pv_w=np.zeros(N), battery=BATTERY, stored_wh=2500)
    nothing = np.zeros(N)
    anchors = [Feeder(price_per_kwh=nothing, anchor_w=np.full(N, watts)) for watts in (1000.0, -1000.0)]
    free, pulled = (HomeModel(problem).bids(np.full(N, 0.29), nothing, RHO, feeder)[1] for feeder in anchors)
    assert pulled.sum() < free.sum() - 1000


def test_sun_is_turned_down_where_the_feeder_price_makes_exporting_a_loss() -> None:
    plan = HomeModel(home()).with_trades(np.zeros(N), at_price(np.full(N, -0.2)))
    assert plan.curtailed_w == pytest.approx(np.full(N, 2500), abs=2)


def neighbourhood(seed: int) -> list[HomeProblem]:
    r = np.random.default_rng(seed)
    imports = np.where(np.arange(N) < 4, 0.20, 0.40)
    return [
        home(
            load_w=r.uniform(300, 2500, N), pv_w=np.zeros(N), import_per_kwh=imports, terminal_per_kwh=0.1,
            battery=BATTERY if k % 2 else None, stored_wh=2500,
        )
        for k in range(4)
    ]  # fmt: skip


def negotiate(problems: list[HomeProblem], limit_w: float, rounds: int = 200) -> tuple[list[Schedule], Floats]:
    """Average trades to nothing and the grid's exchange into the limit; return what each home plans at the end."""
    count = len(problems)
    models = [HomeModel(p) for p in problems]
    price, extra = np.full(N, 0.25), np.zeros(N)
    anchor, grid_anchor = np.zeros((count, N)), np.zeros((count, N))
    for _ in range(rounds):
        last_anchor = grid_anchor
        feeders = [Feeder(price_per_kwh=extra, anchor_w=a) for a in grid_anchor]
        asked = zip(models, anchor, feeders, strict=True)
        answers = [model.bids(price, a, RHO, feeder) for model, a, feeder in asked]
        trades, grid = np.rint([q for q, _ in answers]), np.rint([g for _, g in answers])
        wanted = grid.mean(0) + extra / RHO
        over = grid.mean(0) - np.clip(wanted, -limit_w / count, limit_w / count)
        price, extra = price + RHO * trades.mean(0), extra + RHO * over
        anchor, grid_anchor = trades - trades.mean(0), grid - over
    held = zip(models, trades - trades.mean(0), last_anchor, strict=True)
    return [m.with_trades(q, Feeder(price_per_kwh=extra, anchor_w=a), RHO) for m, q, a in held], extra


@pytest.mark.parametrize("seed", [1, 2])
def test_a_second_price_holds_the_feeder_at_the_central_optimum(seed: int) -> None:
    problems = neighbourhood(seed)
    drawn_w = sum(HomeModel(p).alone().import_w for p in problems)
    limit_w = 1.05 * float(drawn_w.mean())  # cheap hours would like to carry more than that
    plans, extra = negotiate(problems, limit_w)
    total = sum(plan.grid_w for plan in plans)
    assert total.max() <= 1.02 * limit_w
    assert extra.max() > 0.01
    assert extra.min() > -1e-9
    cost = sum(HomeModel(p).cost(plan) for p, plan in zip(problems, plans, strict=True))
    assert cost == pytest.approx(central_optimum(problems, feeder_limit_w=limit_w), abs=0.02)


def test_a_feeder_that_is_wide_enough_costs_nothing() -> None:
    problems = neighbourhood(3)
    assert central_optimum(problems, feeder_limit_w=50_000) == pytest.approx(central_optimum(problems), abs=1e-6)
    tight = central_optimum(problems, feeder_limit_w=5000)
    assert tight > central_optimum(problems) + 0.01
