"""A small made-up community: four homes, one without sun, one without battery."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from agent.forecast.history import History
from agent.planning.problem import Battery
from agent.study.lives import Life, Lives
from coordinator.slots import Slot

FIRST = Slot.at(datetime(2026, 6, 1, tzinfo=UTC), 3600)
BATTERY = Battery(capacity_wh=6000.0, charge_max_w=3000.0, discharge_max_w=3000.0)


def street(*, days: int = 12, seed: int = 1, two_tariffs: bool = False) -> Lives:
    """Return homes whose days resemble each other, with noise."""
    random, slots = np.random.default_rng(seed), 24 * days
    hour = np.arange(slots + 24) % 24
    dear = (hour >= 16) & (hour < 21)
    sun = np.maximum(np.sin((hour[:slots] - 6) / 12 * np.pi), 0.0)
    homes = []
    for number, (peak_w, battery) in enumerate([(4000.0, BATTERY), (2000.0, BATTERY), (0.0, BATTERY), (3000.0, None)]):
        evening = np.where(dear[:slots], 1200.0, 300.0)
        load_w = evening * (0.5 + random.random(slots)) * (1 + 0.2 * number)
        pv_w = peak_w * sun * (0.6 + 0.4 * np.repeat(random.random(days), 24))
        cheap = 200_000 + 40_000 * (two_tariffs and number % 2)
        homes.append(
            Life(
                name=f"home-{number}",
                history=History(first=FIRST, load_w=load_w, pv_w=pv_w),
                load_w=load_w,
                pv_w=pv_w,
                import_micro=np.where(dear, 500_000, cheap),
                export_micro=np.full(slots + 24, 50_000),
                battery=battery,
                stored_wh=3000.0 if battery else 0.0,
                pv_limit_w=peak_w,
            )
        )
    return Lives(name="made up", currency="EUR", timezone=UTC, first=FIRST, slots=slots, homes=tuple(homes))


def with_another_future(lives: Lives, slot: Slot) -> Lives:
    """Return the same community with other load and sun from `slot` on."""
    at, random = lives.index(slot), np.random.default_rng(99)

    def changed(life: Life) -> Life:
        load_w, pv_w = life.load_w.copy(), life.pv_w.copy()
        load_w[at:] *= 3 * random.random(load_w[at:].size)
        pv_w[at:] *= random.random(pv_w[at:].size)
        return replace(life, load_w=load_w, pv_w=pv_w, history=History(first=lives.first, load_w=load_w, pv_w=pv_w))

    return replace(lives, homes=tuple(changed(life) for life in lives.homes))
