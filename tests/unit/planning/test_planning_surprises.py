"""A slot whose load and sun are not known when its trade is fixed: worth its mean, never its forecast."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.planning.home_model import HomeModel
from agent.planning.problem import Battery, Floats, HomeProblem
from agent.planning.program import build
from agent.planning.surprises import surprises_of

IMPORT, EXPORT, RHO = 0.30, 0.06, 150e-6
BATTERY = Battery(capacity_wh=6000, charge_max_w=3000, discharge_max_w=2500, reserve_wh=500)
THREE = ((0.3, -400.0), (0.4, 0.0), (0.3, 400.0))
CASES = st.lists(st.tuples(st.floats(0.05, 1), st.floats(-900, 900)), min_size=1, max_size=5).map(tuple)


def problem(battery: Battery | None = None, surprises: Any = THREE, load_w: float = 1000.0, **more: Any) -> HomeProblem:
    return HomeProblem(
        slot_h=more.pop("slot_h", 1.0), load_w=np.full(12, load_w), pv_w=np.full(12, more.pop("pv_w", 0.0)),
        import_per_kwh=np.full(12, IMPORT), export_per_kwh=np.full(12, EXPORT), battery=battery, stored_wh=3000.0,
        terminal_per_kwh=IMPORT, surprises=surprises, **more,
    )  # fmt: skip


def trade(first_w: float) -> Floats:
    trades = np.zeros(12)
    trades[0] = first_w
    return trades


def bid_w(home: HomeProblem, price: float, anchor_w: float) -> float:
    return float(HomeModel(home).answer(np.full(12, price), np.full(12, anchor_w), RHO).trade_w[0])


def mean_cost(home: HomeProblem, first_w: float) -> float:
    """Return by hand what the first slot of a home without a battery costs on average."""
    nets = [(share, home.load_w[0] - home.pv_w[0] + w - first_w) for share, w in home.surprises]
    return sum(share * (IMPORT * max(net, 0) - EXPORT * max(-net, 0)) for share, net in nets) * home.slot_h / 1000


# What a trade is worth


def test_at_its_own_tariff_a_home_does_not_buy_what_it_might_not_need() -> None:
    sure = bid_w(problem(surprises=()), IMPORT, anchor_w=1000)
    unsure = bid_w(problem(), IMPORT, anchor_w=1000)
    assert sure == pytest.approx(1000, abs=2)
    assert unsure == pytest.approx(600, abs=2)  # what it needs in any case


def test_below_its_own_tariff_it_buys_what_it_needs_in_enough_of_the_cases() -> None:
    """The newsvendor's rule: buy the Wh that are needed with probability (price - export) / (import - export).

    Never more than the mean load, whatever the price: that would be resale.
    """
    for price, needed_w in ((0.25, 600.0), (0.20, 1000.0), (0.10, 1000.0)):
        assert bid_w(problem(), price, anchor_w=needed_w) == pytest.approx(needed_w, abs=5)


@given(CASES, st.floats(-500, 1000), st.sampled_from([0.25, 0.5, 1.0]))
@settings(max_examples=40, deadline=None)
def test_a_trade_costs_its_mean_over_the_cases(cases: Any, first_w: float, slot_h: float) -> None:
    home = problem(surprises=cases, pv_w=500.0, slot_h=slot_h)
    plan = HomeModel(home).with_trades(trade(first_w))
    rest = 11 * slot_h * 0.5 * IMPORT
    assert plan.cost == pytest.approx(mean_cost(home, first_w) + rest, abs=2e-4)


@given(CASES, st.floats(-500, 1000))
@settings(max_examples=40, deadline=None)
def test_the_first_slots_grid_is_the_mean_of_both_its_sides(cases: Any, first_w: float) -> None:
    home = problem(surprises=cases, pv_w=500.0)
    plan = HomeModel(home).with_trades(trade(first_w))
    nets = [(share, 500.0 + w - first_w) for share, w in home.surprises]
    assert plan.import_w[0] == pytest.approx(sum(share * max(net, 0) for share, net in nets), abs=0.1)
    assert plan.export_w[0] == pytest.approx(sum(share * max(-net, 0) for share, net in nets), abs=0.1)
    assert plan.import_w[0] - plan.export_w[0] == pytest.approx(500 - first_w, abs=1e-6)


def test_uncertainty_never_pays_and_a_battery_takes_most_of_its_sting() -> None:
    def sting(battery: Battery | None, cases: Any) -> float:
        costs = [HomeModel(problem(battery, s, load_w=200.0)).alone().cost for s in (cases, ())]
        return costs[0] - costs[1]

    without, with_battery = sting(None, THREE), sting(BATTERY, THREE)
    assert without == pytest.approx(0.3 * 0.2 * (IMPORT - EXPORT), abs=1e-4)  # 200 W too much sun in 30 %
    assert -1e-5 <= with_battery < 0.25 * without
    assert sting(None, ((0.5, -900.0), (0.5, 900.0))) > without


# The program


@pytest.mark.parametrize("battery", [None, BATTERY])
@pytest.mark.parametrize("cases", [((1.0, 0.0),), ((0.3, 0.0), (0.7, 0.0)), ((0.5, 70.0), (0.5, 70.0))])
def test_surprises_of_nothing_change_nothing(battery: Battery | None, cases: Any) -> None:
    """The same constant in every case is no surprise either: it is taken out with the mean."""
    plain, same = problem(battery, ()), problem(battery, cases)
    prices = np.linspace(0.05, 0.35, 12)
    anchor = np.linspace(-500, 500, 12)
    one, other = (HomeModel(p).answer(prices, anchor, RHO) for p in (plain, same))
    assert other.trade_w == pytest.approx(one.trade_w, abs=1)
    assert other.cost == pytest.approx(one.cost, abs=1e-4)
    fixed = [HomeModel(p).with_trades(trade(300.0)) for p in (plain, same)]
    assert fixed[1].cost == pytest.approx(fixed[0].cost, abs=1e-4)
    assert fixed[1].battery_w == pytest.approx(fixed[0].battery_w, abs=2)


@given(CASES, st.booleans(), st.floats(-400, 900), st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_what_the_slots_columns_say_is_the_mean_of_feasible_cases(
    cases: Any, with_battery: bool, first_w: float, seed: int
) -> None:
    """Solve the fixed program and look at each case: balance, dynamics and limits hold, and shares make the mean."""
    home = problem(BATTERY if with_battery else None, cases, load_w=200 + 13.0 * seed, pv_w=700.0)
    model = HomeModel(home)
    plan = model.with_trades(trade(first_w))
    assert plan.solved
    solver = model._fixed[0.0, False]
    x, program = solver.x, solver.program
    shares, zero = np.array([share for share, _ in home.surprises]), np.zeros(len(cases))
    imported = x[program.span("import of case")]
    charge, discharge = (
        x[program.span(f"{name} of case")] if with_battery else zero for name in ("charge", "discharge")
    )
    net_kw = (home.load_w[0] - home.pv_w[0] + np.array([w for _, w in home.surprises]) - first_w) / 1000
    exported = imported - (net_kw + charge - discharge)
    assert min(imported.min(), exported.min(), charge.min(), discharge.min()) > -1e-5
    assert 1000 * shares @ imported == pytest.approx(plan.import_w[0], abs=0.1)
    assert 1000 * shares @ exported == pytest.approx(plan.export_w[0], abs=0.1)
    if with_battery:
        for name, case in (("charge", charge), ("discharge", discharge)):
            assert shares @ case == pytest.approx(x[program.span(f"{name} battery")][0], abs=1e-4)
        stored = (3000 + (0.95 * charge - discharge / 0.95) * 1000) / 1000
        assert 0.5 - 1e-4 <= stored.min() <= stored.max() <= 6 + 1e-4
        assert charge.max() <= 3 + 1e-5
        assert discharge.max() <= 2.5 + 1e-5
        assert shares @ stored == pytest.approx(plan.stored_wh[0] / 1000, abs=1e-4)


@pytest.mark.parametrize("battery", [None, BATTERY])
@pytest.mark.parametrize("fixed", [True, False])
def test_only_surprises_add_cases_to_the_program(battery: Battery | None, fixed: bool) -> None:
    grown, plain = (build(problem(battery, cases), fixed=fixed) for cases in (THREE, ()))
    assert not [name for name in plain.names if name.endswith("of case")]
    assert grown.cost.size - plain.cost.size == len(THREE) * (3 if battery else 1) - 1  # no export in slot 0
    assert grown.a.shape == (grown.equal.low.size, grown.cost.size)
    assert grown.g.shape == (grown.between.low.size, grown.cost.size)


def test_shares_and_means_of_surprises_are_put_right() -> None:
    home = problem(surprises=((2.0, 100.0), (6.0, 500.0)))
    assert home.surprises == ((0.25, -300.0), (0.75, 100.0))
    assert replace(home, stored_wh=0.0).surprises == home.surprises


# From forecasts to cases


def test_cases_come_from_the_quantiles_of_load_and_sun() -> None:
    cases = surprises_of([800.0, 1000.0, 1400.0], [100.0, 300.0, 400.0], 1050.0, 280.0)
    assert len(cases) == 9
    assert sum(share for share, _ in cases) == pytest.approx(1)
    assert min(w for _, w in cases) == (800 - 1050) - (400 - 280)
    assert max(w for _, w in cases) == (1400 - 1050) - (100 - 280)
    assert cases[4] == (pytest.approx(0.16), (1000 - 1050) - (300 - 280))


def test_at_night_only_the_load_surprises() -> None:
    cases = surprises_of([800.0, 1000.0, 1400.0], [0.0, 0.0, 0.0], 1000.0, 0.0)
    assert cases == ((0.3, -200.0), (0.4, 0.0), (0.3, 400.0))
