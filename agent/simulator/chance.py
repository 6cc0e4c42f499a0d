"""Repeatable chance: numbers that depend on nothing but their names, on every platform and in every order of asking."""

import hashlib
import random

import numpy as np
from numpy.typing import NDArray


def _digest(name: tuple[object, ...]) -> int:
    return int.from_bytes(hashlib.blake2b(repr(name).encode(), digest_size=8).digest())


def chance(*name: object) -> float:
    """Return the number in [0, 1) that belongs to a name (of strings and integers)."""
    return (_digest(name) >> 11) / 2**53


def dice(*name: object) -> random.Random:
    """Return a generator that belongs to a name. Only its `random()` is the same in every Python version."""
    return random.Random(_digest(name))


def spread(rng: random.Random, centre: float, half_width: float) -> float:
    """Return a bell-shaped number within `centre` +- `half_width` (sum of three uniform ones)."""
    return centre + half_width * (rng.random() + rng.random() + rng.random() - 1.5) / 1.5


def drift(first: int, count: int, step: int, *name: object) -> NDArray[np.float64]:
    """Return a random walk's stand-in: `count` values in [0, 1) from index `first` on, changing over about `step`.

    Interpolated between fixed points, so that any stretch of it can be had without the ones before.
    """
    index = np.arange(first, first + count)
    low, high = first // step, (first + count) // step + 1
    nodes = [chance(*name, node) for node in range(low, high + 1)]
    return np.interp(index / step, np.arange(low, high + 1), nodes)
