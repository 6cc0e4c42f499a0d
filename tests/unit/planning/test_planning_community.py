"""Homes of the real home model, negotiated in the plainest way: does averaging alone find the central optimum?"""

import numpy as np
import pytest

from agent.planning.central import central_optimum
from agent.planning.home_model import HomeModel
from agent.planning.problem import Battery, HomeProblem, terminal_price

RHO_MICRO, RELAXATION, ROUNDS = 150, 1.6, 30


def neighbourhood(seed: int, homes: int, slots: int = 24) -> list[HomeProblem]:
    r = np.random.default_rng(seed)
    hour = np.arange(slots) * 24 / slots
    imports = np.where((hour >= 16) & (hour < 21), 0.42, np.where(hour < 6, 0.15, 0.28))
    battery = Battery(capacity_wh=6400, charge_max_w=3000, discharge_max_w=3000)
    return [
        HomeProblem(
            slot_h=24 / slots,
            load_w=r.uniform(100, 600, slots) + 1500 * r.random() * np.exp(-(((hour - r.uniform(7, 21)) / 2) ** 2)),
            pv_w=(r.random() < 0.6) * r.uniform(1500, 6000) * np.maximum(0, np.sin((hour - 6) / 12 * np.pi)),
            import_per_kwh=imports,
            export_per_kwh=np.full(slots, 0.06),
            battery=battery if r.random() < 0.5 else None,
            stored_wh=r.uniform(0, 4000),
            terminal_per_kwh=terminal_price(imports),
        )
        for _ in range(homes)
    ]


def balanced(bids: np.ndarray) -> np.ndarray:
    """Scale the long side of every slot down until buys equal sells."""
    buy, sell = np.maximum(bids, 0), np.maximum(-bids, 0)
    volume = np.minimum(buy.sum(0), sell.sum(0))
    buy_scale = volume / np.maximum(buy.sum(0), 1e-9)
    sell_scale = volume / np.maximum(sell.sum(0), 1e-9)
    return np.asarray(buy * buy_scale - sell * sell_scale)


@pytest.mark.parametrize(("seed", "homes"), [(1, 5), (2, 12), (3, 20)])
def test_averaging_bids_reaches_the_central_optimum_within_thirty_rounds(seed: int, homes: int) -> None:
    problems = neighbourhood(seed, homes)
    models = [HomeModel(problem) for problem in problems]
    alone = sum(model.alone().cost for model in models)
    optimum = central_optimum(problems)
    assert optimum < alone - 0.1
    h = problems[0].slot_h
    price = np.rint(1e6 * (problems[0].import_per_kwh + problems[0].export_per_kwh) / 2)
    anchor = np.zeros((homes, price.size))
    for _ in range(ROUNDS):
        answers = [m.answer(price / 1e6, a, RHO_MICRO / 1e6) for m, a in zip(models, anchor, strict=True)]
        bids = np.rint(np.array([answer.trade_w for answer in answers]) * h) / h
        mean = bids.mean(0)
        price = price + np.rint(RELAXATION * RHO_MICRO * mean)
        anchor = RELAXATION * (bids - mean) + (1 - RELAXATION) * anchor
    traded = sum(m.with_trades(q).cost for m, q in zip(models, balanced(bids), strict=True))
    assert traded >= optimum - 0.01
    assert (alone - traded) / (alone - optimum) >= 0.97


def test_central_optimum_of_one_home_is_the_home_alone() -> None:
    problem = neighbourhood(4, 1)[0]
    assert central_optimum([problem]) == pytest.approx(HomeModel(problem).alone().cost, abs=2e-3)


def test_central_optimum_refuses_homes_of_different_slots() -> None:
    with pytest.raises(ValueError, match="share the slots"):
        central_optimum([*neighbourhood(1, 1, 24), *neighbourhood(1, 1, 12)])
