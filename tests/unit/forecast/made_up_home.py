"""A home for the forecasts' tests: habits, moods that last hours, cloudy spells, and noise."""

from datetime import UTC, datetime

import numpy as np

from agent.forecast.history import History
from coordinator.slots import Slot

START = Slot.at(datetime(2026, 3, 2, tzinfo=UTC), 3600)


def home(days: int, seed: int = 1, slot_s: int = 3600) -> History:
    r = np.random.default_rng(seed)
    per_day = 86_400 // slot_s
    n = days * per_day
    hour = np.arange(n) % per_day * slot_s / 3600
    weekend = np.arange(n) // per_day % 7 >= 5
    habit = 300 + 900 * np.exp(-(((hour - 19) / 2) ** 2)) + 500 * weekend * np.exp(-(((hour - 12) / 3) ** 2))
    mood = np.zeros(n)
    cloud = np.full(n, 0.7)
    for i in range(1, n):
        keep = 0.9 ** (slot_s / 3600)
        mood[i] = keep * mood[i - 1] + r.normal(0, 120) * np.sqrt(1 - keep**2) * 2
        cloud[i] = np.clip(0.95 * cloud[i - 1] + 0.05 * 0.7 + r.normal(0, 0.08), 0.1, 1)
    sun = 4000 * np.maximum(np.sin((hour - 6) / 12 * np.pi), 0) * cloud
    return History(first=Slot(START.key, slot_s), load_w=np.maximum(habit + mood + r.normal(0, 40, n), 20.0), pv_w=sun)
