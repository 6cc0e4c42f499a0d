"""What the sun delivers to a roof, minute by minute: clear sky by geometry, clouds by repeatable chance.

References: declination after Cooper (1969), equation of time after Spencer (1971), air mass after Kasten and Young
(1989), direct irradiance after Meinel and Meinel (1976); diffuse share and cloud behaviour are our own rough figures,
made to look right, not to forecast anything.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from agent.simulator.chance import chance, drift

MINUTES = 1440
SYSTEM_EFFICIENCY = 0.82
"""Temperature, cables, inverter."""

Minutes = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Roof:
    """A PV system. `azimuth_deg` counts from due south, west positive; neighbours share the weather's `seed`."""

    latitude: float
    longitude: float
    kwp: float
    tilt_deg: float
    azimuth_deg: float
    seed: int


def pv_day_w(roof: Roof, day: date) -> Minutes:
    """Return the AC power of each minute of a UTC day, shape (1440,) [W], >= 0, rounded to 0.1 W."""
    elevation_sin, incidence_cos = _sun(roof, day)
    up = elevation_sin > 0.01
    elevation_deg = np.degrees(np.arcsin(np.clip(elevation_sin, 0.01, 1)))
    air_mass = 1 / (np.sin(np.radians(elevation_deg)) + 0.50572 * (elevation_deg + 6.07995) ** -1.6364)
    direct_w_m2 = 1353 * 0.7 ** (air_mass**0.678)
    diffuse_w_m2 = 0.11 * direct_w_m2 * elevation_sin + 20 * elevation_sin
    open_sky, cover = _clouds(roof.seed, day)
    plane_w_m2 = direct_w_m2 * np.clip(incidence_cos, 0, 1) * open_sky + diffuse_w_m2 * (1 + 0.9 * cover)
    power_w = np.where(up, plane_w_m2 * roof.kwp * SYSTEM_EFFICIENCY, 0.0)
    return np.round(np.clip(power_w, 0, 1000 * roof.kwp), 1)


def _sun(roof: Roof, day: date) -> tuple[Minutes, Minutes]:
    """Return per minute the sine of the sun's elevation and the cosine of its angle to the panel."""
    number = day.timetuple().tm_yday
    declination = np.radians(23.45 * np.sin(2 * np.pi * (284 + number) / 365))
    turn = 2 * np.pi * (number - 1) / 365
    equation_min = 229.18 * (
        0.000075 + 0.001868 * np.cos(turn) - 0.032077 * np.sin(turn)
        - 0.014615 * np.cos(2 * turn) - 0.04089 * np.sin(2 * turn)
    )  # fmt: skip
    solar_min = np.arange(MINUTES) + 0.5 + 4 * roof.longitude + equation_min
    hour_angle = np.radians(solar_min / 4 - 180)
    latitude, tilt = np.radians(roof.latitude), np.radians(roof.tilt_deg)
    # Direction to the sun in the frame (up, south, west).
    up = np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(declination) * np.cos(hour_angle)
    south = np.sin(latitude) * np.cos(declination) * np.cos(hour_angle) - np.cos(latitude) * np.sin(declination)
    west = np.cos(declination) * np.sin(hour_angle)
    facing = np.radians(roof.azimuth_deg)
    incidence = up * np.cos(tilt) + np.sin(tilt) * (south * np.cos(facing) + west * np.sin(facing))
    return up, incidence


def _clouds(seed: int, day: date) -> tuple[Minutes, Minutes]:
    """Return per minute how much direct sun comes through and how covered the sky is, both 0..1."""
    ordinal = day.toordinal()
    # Weather persists: a day is half its own, and half that of the two before.
    mood = sum(share * chance(seed, "day", ordinal - ago) for ago, share in enumerate((0.55, 0.3, 0.15)))
    first = ordinal * MINUTES
    slow = drift(first, MINUTES, 150, seed, "front")
    cover = np.clip(0.5 + 1.7 * (mood - 0.5) + 0.7 * (slow - 0.5), 0.0, 1.0)
    passing = 0.65 * drift(first, MINUTES, 23, seed, "cloud") + 0.35 * drift(first, MINUTES, 6, seed, "wisp")
    # A cloud passes where the cover exceeds the passing noise; the edge of a cloud takes some minutes.
    shade = np.clip((cover - (0.1 + 0.8 * passing)) / 0.22 + 0.5, 0, 1)
    return 1 - 0.93 * shade, cover
