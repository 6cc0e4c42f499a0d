"""Homes of every make: whatever stands in one, it gets a plan that balances and stays within every limit."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.planning.central import central_optimum
from agent.planning.flexible import OtherBattery, Shiftable, Tank, Vehicle
from agent.planning.home_model import Feeder, HomeModel, Schedule
from agent.planning.problem import Battery, Flexible, HomeProblem, Island

N, RHO = 10, 150e-6


def random_battery(r: np.random.Generator) -> Battery:
    return Battery(
        capacity_wh=r.uniform(500, 9000),
        charge_max_w=r.uniform(0, 4000),
        discharge_max_w=r.uniform(100, 4000),
        reserve_wh=r.uniform(0, 400),
    )


def random_things(r: np.random.Generator) -> tuple[Flexible, ...]:
    arrival = int(r.integers(-3, 8))
    things: list[Flexible] = [
        OtherBattery(name="other", battery=random_battery(r), stored_wh=r.uniform(-100, 9000)),
        Vehicle(
            name="car", arrival=arrival, departure=max(arrival, 0) + int(r.integers(1, 9)), capacity_wh=20_000,
            needed_wh=r.uniform(0, 20_000), arrival_wh=r.uniform(0, 20_000), charge_max_w=r.uniform(500, 7000),
            discharge_max_w=r.choice([0.0, 3000.0]), reserve_wh=r.choice([0.0, 4000.0]),
        ),
        Shiftable(
            name="wash", energy_wh=r.uniform(0, 4000), earliest=int(r.integers(-2, 9)),
            deadline=int(r.integers(10, 14)), power_max_w=r.uniform(200, 3000),
        ),
        Tank(
            name="tank", stored_wh=r.uniform(0, 9000), floor_wh=3000, ceiling_wh=7000, heater_max_w=r.uniform(0, 3000),
            cop=r.choice([1.0, 3.2]), loss_per_h=r.uniform(0, 0.05), drawn_wh=r.uniform(0, 800, N),
        ),
    ]  # fmt: skip
    return tuple(thing for thing in things if r.random() < 0.6)


def random_home(seed: int, *, island: bool | None = None) -> HomeProblem:
    r = np.random.default_rng(seed)
    imports = r.uniform(0.0, 0.5, N)
    load_w = r.uniform(0, 3000, N)
    lost = r.random() < 0.25 if island is None else island
    return HomeProblem(
        slot_h=float(r.choice([0.25, 1.0])),
        load_w=load_w,
        pv_w=r.uniform(0, 6000, N) * (r.random() < 0.7),
        import_per_kwh=imports,
        export_per_kwh=imports - r.choice([0.0, 0.1, 0.4], N),
        battery=random_battery(r) if r.random() < 0.7 else None,
        stored_wh=r.uniform(0, 9000),
        connection_max_w=float(r.choice([np.inf, 2000.0, 6000.0])),
        terminal_per_kwh=r.uniform(0, 0.2),
        flexible=random_things(r),
        island=Island(critical_w=load_w * r.uniform(0, 1)) if lost else None,
    )


def check(p: HomeProblem, s: Schedule) -> None:
    assert s.solved
    supply = s.import_w - s.export_w + s.trade_w + p.pv_w - s.curtailed_w + s.battery_w + s.flexible_w
    np.testing.assert_allclose(supply, p.load_w - s.unserved_w, atol=1e-6 if p.island is None else 1.0)
    assert min(part.min() for part in (s.import_w, s.export_w, s.curtailed_w, s.unserved_w)) >= 0
    assert (s.curtailed_w <= p.pv_w + 1e-6).all()
    assert (s.unserved_w <= p.load_w + 1e-6).all()
    flows = {flow.name: flow for flow in (s.battery, *s.flexible)}
    for storage in p.storages():
        flow, there = flows[storage.name], slice(storage.slots.start, storage.slots.stop)
        assert (flow.charge_w[there] <= storage.charge_max_w + 0.5).all()
        assert (flow.discharge_w[there] <= storage.discharge_max_w + 0.5).all()
        assert np.delete(flow.power_w, np.arange(N)[there]).any() == np.False_
        stored_wh = storage.start_wh
        for i, t in enumerate(storage.slots):
            gained = storage.efficiency_charge * flow.charge_w[t] - flow.discharge_w[t] / storage.efficiency_discharge
            stored_wh = storage.keeps * stored_wh + p.slot_h * gained - storage.drawn_wh[i]
            assert flow.stored_wh[t] == pytest.approx(stored_wh, abs=3)
            assert storage.floor_wh[i] - 1 <= stored_wh <= storage.ceiling_wh[i] + 1


def through_w(p: HomeProblem, s: Schedule) -> Any:
    return s.grid_w + s.trade_w


@given(seed=st.integers(0, 100_000))
@settings(max_examples=40, deadline=None)
def test_every_home_has_a_plan_alone_and_at_any_price(seed: int) -> None:
    problem, r = random_home(seed), np.random.default_rng(seed + 1)
    model = HomeModel(problem)
    alone = model.alone()
    check(problem, alone)
    if problem.island is None:
        net_w = np.abs(problem.load_w - problem.pv_w)
        over_w = np.abs(through_w(problem, alone)) - np.maximum(problem.connection_max_w, net_w)
        assert over_w.max() < 1
    prices, anchor = r.uniform(0, 0.6, N), r.uniform(-3000, 3000, N)
    check(problem, model.answer(prices, anchor, RHO))
    feeder = Feeder(price_per_kwh=r.uniform(-0.1, 0.3, N), anchor_w=anchor)
    answer = model.answer(prices, anchor, RHO, feeder)
    check(problem, answer)
    assert model.bids(prices, anchor, RHO, feeder)[0] == pytest.approx(answer.trade_w, abs=3)
    served = model.with_trades(np.rint(answer.trade_w), feeder, RHO)
    check(problem, served)
    assert served.deliverable


@given(seed=st.integers(0, 100_000), lost=st.booleans())
@settings(max_examples=15, deadline=None)
def test_nobody_together_is_worse_off_than_everybody_alone(seed: int, lost: bool) -> None:
    """One home's optimum is its plan alone; two homes together cost at most what they cost apart."""
    homes = [random_home(seed + k, island=lost) for k in range(2)]
    homes[1] = HomeProblem(
        **{name: getattr(homes[1], name) for name in HomeProblem.__slots__} | {"slot_h": homes[0].slot_h}
    )
    alone = [HomeModel(home).alone().cost for home in homes]
    for home, cost in zip(homes, alone, strict=True):
        one = central_optimum([home])
        assert one == pytest.approx(cost, abs=1e-2)
    assert central_optimum(homes) <= sum(alone) + 1e-2
