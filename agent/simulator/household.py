"""What a household draws, minute by minute: habits that belong to the home, chance that belongs to the day."""

import math
import random
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from agent.simulator.chance import dice, drift, spread

MINUTES = 1440
WINTER_DAY = 15
"""Day of the year on which the lights burn longest (northern hemisphere)."""

Minutes = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """A household's constants; times are minutes of the local day."""

    seed: int
    persons: int
    standby_w: float
    fridge_w: float
    wake_min: float
    dinner_min: float
    bed_min: float
    home_by_day: bool
    """Somebody stays at home on working days."""
    laundry: float
    """Chance of a wash on a working day; twice that at weekends."""
    dryer: bool
    dishwasher: float


def habits_of(seed: int) -> Habits:
    """Return the household that belongs to a seed."""
    rng = dice(seed, "habits")
    persons = 1 + int(4 * rng.random())
    return Habits(
        seed=seed,
        persons=persons,
        standby_w=50 + 20 * persons + 50 * rng.random(),
        fridge_w=70 + 50 * rng.random(),
        wake_min=spread(rng, 405, 55),
        dinner_min=spread(rng, 1125, 60),
        bed_min=spread(rng, 1365, 50),
        home_by_day=rng.random() < 0.4,
        laundry=0.12 * persons,
        dryer=rng.random() < 0.4,
        dishwasher=min(0.25 + 0.15 * persons, 0.85),
    )


def load_day_w(habits: Habits, day: date) -> Minutes:
    """Return the power of each minute of a local day, shape (1440,) [W], > 0, rounded to 0.1 W."""
    rng = dice(habits.seed, "load", day.toordinal())
    weekend = day.weekday() >= 5
    load = _standing(habits, day)
    rise = spread(rng, habits.wake_min + (75 if weekend else 0), 30)
    bed = min(spread(rng, habits.bed_min + (25 if weekend else 0), 35), MINUTES - 1)
    _presence(habits, rng, load, (rise, bed), winter=_winter(day), at_home=weekend or habits.home_by_day)
    _meals(habits, rng, load, rise, lunch=weekend or habits.home_by_day)
    _appliances(habits, rng, load, weekend=weekend, at_home=weekend or habits.home_by_day)
    noise = 0.9 + 0.2 * drift(day.toordinal() * MINUTES, MINUTES, 9, habits.seed, "noise")
    return np.round(load * noise, 1)


def _standing(habits: Habits, day: date) -> Minutes:
    """Standby devices, and a fridge whose compressor runs 18 of about 50 minutes without knowing about midnight."""
    period = 44 + habits.seed % 13
    minute = day.toordinal() * MINUTES + np.arange(MINUTES)
    return habits.standby_w + np.where(minute % period < 18, habits.fridge_w, 0.0)


def _winter(day: date) -> float:
    """Return 1 in mid-winter, 0 in mid-summer."""
    return 0.5 + 0.5 * math.cos(2 * math.pi * (day.timetuple().tm_yday - WINTER_DAY) / 365)


def _presence(
    habits: Habits, rng: random.Random, load: Minutes, awake: tuple[float, float], *, winter: float, at_home: bool
) -> None:
    """Light when it is dark and somebody is awake, screens in the evening, small things by day."""
    rise, bed = awake
    light_w = 50 + 30 * habits.persons
    _add(load, rise, 45 + 60 * winter, light_w * (0.4 + 0.6 * winter))
    dusk = 1290 - 285 * winter
    _add(load, dusk, bed - dusk, light_w)
    leave = spread(rng, rise + 75, 20)
    back = spread(rng, habits.dinner_min - 75, 45)
    if at_home:
        _add(load, leave, back - leave, 60 + 45 * habits.persons)
    _add(load, back, bed - back, 70 + 45 * habits.persons)


def _meals(habits: Habits, rng: random.Random, load: Minutes, rise: float, *, lunch: bool) -> None:
    for _ in range(1 + habits.persons // 2):
        _add(load, spread(rng, rise + 25, 20), 4, 1800)
    if lunch and rng.random() < 0.8:
        _cook(rng, load, spread(rng, 745, 40), 25)
    _add(load, spread(rng, 930, 70), 3, 1800)
    _cook(rng, load, spread(rng, habits.dinner_min, 35), 25 + 7 * habits.persons)


def _cook(rng: random.Random, load: Minutes, start: float, minutes: float) -> None:
    """A hob or oven heats up at full power, then holds by switching on and off."""
    power_w = 1500 + 1100 * rng.random()
    _add(load, start, 9, power_w)
    at = start + 9
    while at < start + minutes:
        _add(load, at, 2, power_w * 0.9)
        at += 3 + 3 * rng.random()


def _appliances(habits: Habits, rng: random.Random, load: Minutes, *, weekend: bool, at_home: bool) -> None:
    if rng.random() < habits.laundry * (2 if weekend else 1):
        start = spread(rng, 660 if at_home else 1080, 130)
        _add(load, start, 18, 2000)
        _add(load, start + 18, 62, 180)
        if habits.dryer:
            _add(load, start + 95, 65, 850)
    if rng.random() < habits.dishwasher:
        start = spread(rng, habits.dinner_min + 85, 45)
        _add(load, start, 14, 1900)
        _add(load, start + 14, 40, 60)
        _add(load, start + 54, 12, 1900)


def _add(load: Minutes, start: float, minutes: float, power_w: float) -> None:
    """Add an appliance to the day; what would run past midnight ends there."""
    first, last = round(start), round(start + minutes)
    if last > first:
        load[max(first, 0) : max(last, 0)] += power_w
