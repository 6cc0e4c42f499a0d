import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from agent.planning.home_model import HomeModel, Schedule
from agent.planning.problem import Battery, Floats, HomeProblem, terminal_price

RHO = 150e-6


def random_home(seed: int, slots: int = 12, *, battery: bool | None = None) -> HomeProblem:
    r = np.random.default_rng(seed)
    imports = np.where(r.random(slots) < 0.4, 0.42, r.choice([0.15, 0.28]))
    with_battery = r.random() < 0.7 if battery is None else battery
    return HomeProblem(
        slot_h=float(r.choice([0.25, 0.5, 1.0])),
        load_w=r.uniform(0, 2500, slots),
        pv_w=r.uniform(0, 5000, slots) * (r.random() < 0.7) * (r.random(slots) < 0.6),
        import_per_kwh=imports,
        export_per_kwh=np.full(slots, 0.06),
        battery=Battery(
            capacity_wh=r.uniform(500, 12_000),
            charge_max_w=r.uniform(300, 5000),
            discharge_max_w=r.uniform(300, 5000),
            efficiency_charge=r.uniform(0.85, 1.0),
            efficiency_discharge=r.uniform(0.85, 1.0),
            reserve_wh=r.uniform(0, 300),
        )
        if with_battery
        else None,
        stored_wh=r.uniform(0, 6000),
        terminal_per_kwh=terminal_price(imports),
    )


def dense_optimum(p: HomeProblem, trade_w: Floats) -> float:
    """The least cost with given trades, written down a second time: [c, d, m, x] in kW, cumulative storage."""
    n, h, b = p.slots, p.slot_h, p.battery
    zero, eye, load, pv, q = np.zeros((n, n)), np.eye(n), p.load_w / 1e3, p.pv_w / 1e3, trade_w / 1e3
    up, down = (b.efficiency_charge, b.efficiency_discharge) if b else (1.0, 1.0)
    start = min(max(p.stored_wh, 0.0), b.capacity_wh) / 1e3 if b else 0.0
    left = p.terminal_per_kwh * down
    wear = p.wear_per_kwh / 2
    cost = np.r_[
        np.full(n, h * wear - left * h * up), np.full(n, h * wear + left * h / down), h * p.import_per_kwh,
        -h * p.export_per_kwh,
    ]  # fmt: skip
    stored = h * np.hstack([up * np.tril(np.ones((n, n))), -np.tril(np.ones((n, n))) / down, zero, zero])
    floor = min(b.reserve_wh / 1e3, start) if b else 0.0
    ceiling = b.capacity_wh / 1e3 if b else 0.0
    resale = np.vstack([np.hstack([zero, -eye, zero, zero]), np.hstack([-eye, zero, zero, zero])])
    limit_c, limit_d = (b.charge_max_w / 1e3, b.discharge_max_w / 1e3) if b else (0.0, 0.0)
    result = linprog(
        cost,
        A_ub=np.vstack([stored, -stored, resale]),
        b_ub=np.r_[np.full(n, ceiling - start), np.full(n, start - floor), pv + q, load - q],
        A_eq=np.hstack([-eye, eye, eye, -eye]),
        b_eq=load - pv - q,
        bounds=[(0, limit_c)] * n + [(0, limit_d)] * n + [(0, None)] * (2 * n),
    )
    assert result.status == 0
    return float(result.fun) - left * start


def check_physics(p: HomeProblem, s: Schedule) -> None:
    np.testing.assert_allclose(s.import_w - s.export_w + s.trade_w + p.pv_w + s.battery_w, p.load_w, atol=1e-6)
    if p.battery is None:
        assert not s.battery_w.any()
        return
    moved = p.slot_h * (p.battery.efficiency_charge * s.charge_w - s.discharge_w / p.battery.efficiency_discharge)
    np.testing.assert_allclose(s.stored_wh, p.start_wh + np.cumsum(moved), atol=0.2)
    assert s.stored_wh.min() >= p.floor_wh - 0.1
    assert s.stored_wh.max() <= p.battery.capacity_wh + 0.1
    assert s.charge_w.max() <= p.battery.charge_max_w + 0.1
    assert s.discharge_w.max() <= p.battery.discharge_max_w + 0.1


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_plan_alone_costs_what_highs_finds(seed: int) -> None:
    problem = random_home(seed)
    plan = HomeModel(problem).alone()
    assert plan.solved
    check_physics(problem, plan)
    assert plan.cost == pytest.approx(dense_optimum(problem, np.zeros(problem.slots)), abs=4e-3)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_plan_with_trades_costs_what_highs_finds(seed: int) -> None:
    problem = random_home(seed)
    r = np.random.default_rng(seed)
    trade_w = r.uniform(-1, 1, problem.slots)
    trade_w = np.where(trade_w > 0, trade_w * problem.load_w, trade_w * problem.pv_w)
    plan = HomeModel(problem).with_trades(trade_w)
    check_physics(problem, plan)
    assert plan.deliverable
    assert plan.cost == pytest.approx(dense_optimum(problem, trade_w), abs=4e-3)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_answer_is_the_best_trade_at_the_prices_and_never_resells(seed: int) -> None:
    problem = random_home(seed)
    r = np.random.default_rng(seed + 1)
    n, h = problem.slots, problem.slot_h
    prices, anchor = r.uniform(0.06, 0.42, n), r.uniform(-2000, 2000, n)
    model = HomeModel(problem)
    answer = model.answer(prices, anchor, RHO)
    assert answer.solved
    check_physics(problem, answer)
    assert (answer.trade_w >= -(problem.pv_w + answer.discharge_w) - 0.1).all()
    assert (answer.trade_w <= problem.load_w + answer.charge_w + 0.1).all()

    def value(cost: float, q: Floats) -> float:
        return cost + h / 1000 * float(prices @ q + RHO / 2 * ((q - anchor) ** 2).sum())

    best = value(answer.cost, answer.trade_w)
    for _ in range(5):
        other = np.clip(answer.trade_w + r.normal(0, 300, n), -problem.pv_w, problem.load_w)
        assert best <= value(dense_optimum(problem, other), other) + 4e-3


def test_answers_follow_a_changed_step_size() -> None:
    problem = random_home(3, battery=True)
    model, anchor = HomeModel(problem), np.full(problem.slots, 300.0)
    model.answer(problem.import_per_kwh, anchor, RHO)
    stiff = model.answer(problem.import_per_kwh - 0.01, anchor, 100 * RHO)
    fresh = HomeModel(problem).answer(problem.import_per_kwh - 0.01, anchor, 100 * RHO)
    np.testing.assert_allclose(stiff.trade_w, fresh.trade_w, atol=0.5)


def flat_home(load_w: float, pv_w: Floats, battery: Battery, stored_wh: float, **other: float) -> HomeProblem:
    n = pv_w.size
    return HomeProblem(
        slot_h=1.0, load_w=np.full(n, load_w), pv_w=pv_w, import_per_kwh=np.full(n, 0.3),
        export_per_kwh=np.full(n, 0.06), battery=battery, stored_wh=stored_wh, **other,
    )  # fmt: skip


def test_of_equal_plans_the_battery_discharges_early() -> None:
    battery = Battery(capacity_wh=4000, charge_max_w=2000, discharge_max_w=2000)
    plan = HomeModel(flat_home(500.0, np.zeros(8), battery, 1000.0)).alone()
    np.testing.assert_allclose(plan.discharge_w, [500, 450, 0, 0, 0, 0, 0, 0], atol=3)


def test_of_equal_plans_the_battery_charges_late() -> None:
    battery = Battery(capacity_wh=950, charge_max_w=2000, discharge_max_w=2000)
    pv = np.array([1500.0] * 4 + [0.0] * 4)
    plan = HomeModel(flat_home(500.0, pv, battery, 0.0)).alone()
    np.testing.assert_allclose(plan.charge_w[:4], [0, 0, 0, 1000], atol=3)


def test_tie_breaks_never_outweigh_a_price_step_of_a_thousandth() -> None:
    battery = Battery(capacity_wh=4000, charge_max_w=2000, discharge_max_w=2000)
    problem = flat_home(500.0, np.zeros(8), battery, 500.0)
    prices = problem.import_per_kwh.copy()
    prices[-1] += 0.001
    problem = HomeProblem(
        slot_h=1.0, load_w=problem.load_w, pv_w=problem.pv_w, import_per_kwh=prices,
        export_per_kwh=problem.export_per_kwh, battery=battery, stored_wh=500.0,
    )  # fmt: skip
    assert HomeModel(problem).alone().discharge_w[-1] == pytest.approx(475, abs=3)


def test_energy_left_counts_at_the_terminal_price_after_discharge_losses() -> None:
    battery = Battery(capacity_wh=4000, charge_max_w=2000, discharge_max_w=2000, efficiency_discharge=0.9)
    problem = flat_home(0.0, np.zeros(4), battery, 2000.0, terminal_per_kwh=0.2)
    plan = HomeModel(problem).alone()
    assert plan.stored_wh[-1] == pytest.approx(2000, abs=1)
    assert plan.cost == pytest.approx(-0.2 * 0.9 * 2.0, abs=1e-3)


def test_battery_is_used_only_for_more_than_its_wear() -> None:
    battery = Battery(
        capacity_wh=4000, charge_max_w=4000, discharge_max_w=4000, efficiency_charge=1, efficiency_discharge=1
    )
    cheap_then_dear = np.array([0.20, 0.20, 0.25, 0.25])
    problem = HomeProblem(
        slot_h=1.0, load_w=np.full(4, 1000.0), pv_w=np.zeros(4), import_per_kwh=cheap_then_dear,
        export_per_kwh=np.zeros(4), battery=battery, wear_per_kwh=0.04,
    )  # fmt: skip
    assert HomeModel(problem).alone().discharge_w.sum() == pytest.approx(2000, abs=2)
    worn = HomeProblem(
        slot_h=1.0, load_w=problem.load_w, pv_w=problem.pv_w, import_per_kwh=cheap_then_dear,
        export_per_kwh=problem.export_per_kwh, battery=battery, wear_per_kwh=0.06,
    )  # fmt: skip
    assert HomeModel(worn).alone().discharge_w.sum() == pytest.approx(0, abs=2)


def test_battery_never_charges_beyond_the_connection_limit() -> None:
    battery = Battery(capacity_wh=8000, charge_max_w=5000, discharge_max_w=5000)
    prices = np.array([0.1] * 4 + [0.5] * 4)
    problem = HomeProblem(
        slot_h=1.0, load_w=np.full(8, 1000.0), pv_w=np.zeros(8), import_per_kwh=prices,
        export_per_kwh=np.full(8, 0.05), battery=battery, connection_max_w=2500.0,
    )  # fmt: skip
    plan = HomeModel(problem).alone()
    assert plan.charge_w.max() == pytest.approx(1500, abs=2)


def test_load_above_the_connection_limit_still_gets_a_plan() -> None:
    battery = Battery(capacity_wh=8000, charge_max_w=5000, discharge_max_w=5000)
    plan = HomeModel(flat_home(4000.0, np.zeros(6), battery, 4000.0, connection_max_w=2500.0)).alone()
    assert plan.solved
    assert plan.charge_w.max() < 1


def test_impossible_sale_is_named_short_and_the_rest_is_planned() -> None:
    problem = random_home(5, battery=False)
    trade_w = np.zeros(problem.slots)
    trade_w[2] = -problem.pv_w[2] - 700.0
    plan = HomeModel(problem).with_trades(trade_w)
    assert plan.solved
    assert not plan.deliverable
    assert plan.short_w[2] == pytest.approx(700, abs=1)
    check_physics(problem, plan)


@pytest.mark.parametrize("stored_wh", [-5.0, 0.0, 4000.0, 4020.0, 50.0])
def test_odd_stored_energy_is_clipped_and_planned(stored_wh: float) -> None:
    battery = Battery(capacity_wh=4000, charge_max_w=2000, discharge_max_w=2000, reserve_wh=400)
    problem = flat_home(500.0, np.zeros(8), battery, stored_wh)
    plan = HomeModel(problem).alone()
    assert plan.solved
    check_physics(problem, plan)


@pytest.mark.parametrize("capacity_wh", [0.0, 4000.0])
def test_battery_without_power_or_capacity_plans_like_none(capacity_wh: float) -> None:
    with_none = random_home(7, battery=False)
    dead = Battery(capacity_wh=capacity_wh, charge_max_w=0, discharge_max_w=0)
    problem = HomeProblem(
        slot_h=with_none.slot_h, load_w=with_none.load_w, pv_w=with_none.pv_w, battery=dead,
        import_per_kwh=with_none.import_per_kwh, export_per_kwh=with_none.export_per_kwh,
    )  # fmt: skip
    dead_plan = HomeModel(problem).alone()
    assert dead_plan.solved
    assert dead_plan.cost == pytest.approx(HomeModel(with_none).alone().cost, abs=1e-3)


def test_equal_import_and_export_prices_still_have_one_plan() -> None:
    battery = Battery(capacity_wh=4000, charge_max_w=2000, discharge_max_w=2000)
    price = np.array([0.1, 0.1, 0.3, 0.3])
    problem = HomeProblem(
        slot_h=1.0, load_w=np.full(4, 500.0), pv_w=np.zeros(4), import_per_kwh=price, export_per_kwh=price,
        battery=battery,
    )  # fmt: skip
    plan = HomeModel(problem).alone()
    assert plan.solved
    assert plan.discharge_w.sum() == pytest.approx(2 * 2000 * 0.95**2, abs=5)


def test_export_price_above_import_price_is_refused() -> None:
    with pytest.raises(ValueError, match="export price above"):
        HomeProblem(
            slot_h=1.0, load_w=np.zeros(2), pv_w=np.zeros(2), import_per_kwh=np.array([0.1, 0.1]),
            export_per_kwh=np.array([0.05, 0.2]),
        )  # fmt: skip


def test_unknown_forecast_values_are_refused_rather_than_planned_with() -> None:
    with pytest.raises(ValueError, match="finite"):
        HomeProblem(
            slot_h=1.0, load_w=np.array([1.0, np.nan]), pv_w=np.zeros(2), import_per_kwh=np.full(2, 0.2),
            export_per_kwh=np.zeros(2),
        )  # fmt: skip


def test_an_answer_of_96_slots_takes_a_few_milliseconds_at_most() -> None:
    problem = random_home(11, 96, battery=True)
    model = HomeModel(problem)
    prices = (problem.import_per_kwh + problem.export_per_kwh) / 2
    model.answer(prices, np.zeros(96), RHO)
    best = float("inf")
    for k in range(10):
        start = time.process_time()
        model.answer(prices + 0.002 * k, np.zeros(96), RHO)
        best = min(best, time.process_time() - start)
    assert best < 0.006
