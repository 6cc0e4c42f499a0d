"""What really happened in a community, as arrays: the truth that the study lets the homes live through."""

from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent.forecast.history import History
from agent.planning.problem import Battery, Floats
from agent.planning.tariff import Tariff
from agent.simulator.community import Community, CommunityHome
from agent.study.homes import battery_of, history_of, recorded, tariff_at
from coordinator.errors import ConfigError
from coordinator.slots import Slot

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One home. Arrays have shape (slots of the community's record,).

    Args:
        history: As metered, NaN where the record has gaps: what forecasts may learn from.
        load_w: As lived: gaps are filled with the same time of the last recorded day.
        stored_wh: Energy in the battery at the beginning of a study.
    """

    name: str
    history: History
    load_w: Floats
    pv_w: Floats
    import_micro: Ints
    export_micro: Ints
    battery: Battery | None
    stored_wh: float
    pv_limit_w: float | None
    fuse_limit_w: float = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lives:
    """A community's homes on one slot grid that begins with `first`."""

    name: str
    currency: str
    timezone: tzinfo
    first: Slot
    slots: int
    homes: tuple[Life, ...]
    country: str | None = None
    latitude: float | None = None
    longitude: float | None = None

    @property
    def slot_s(self) -> int:
        return self.first.length_s

    def index(self, slot: Slot) -> int:
        """Return a slot's place in the arrays."""
        return (slot.key - self.first.key) // self.first.length_s


def lives_of(community: Community) -> Lives:
    """Return what is recorded of a community.

    Raises:
        ConfigError: If a tariff cannot be read or does not cover the record.
    """
    first = Slot.at(community.start_at, community.slot_s)
    tariffs = {path: _tariff_of(path, community, first) for path in {home.tariff_path for home in community.homes}}
    return Lives(
        name=community.name,
        currency=community.currency,
        timezone=community.timezone,
        first=first,
        slots=community.slots,
        homes=tuple(_life_of(home, first, community.slots, *tariffs[home.tariff_path]) for home in community.homes),
        country=community.country,
        latitude=community.latitude,
        longitude=community.longitude,
    )


def _tariff_of(path: Path, community: Community, first: Slot) -> tuple[Ints, Ints]:
    tariff = tariff_at(path, community)
    day = 86_400 // first.length_s
    rows: list[tuple[int, int]] = []
    for slot in first.horizon(community.slots + day):
        rows.append(_price(tariff, slot, rows[-day:] if len(rows) >= community.slots else []))
    prices = np.array(rows, dtype=np.int64)
    return prices[:, 0], prices[:, 1]


def _price(tariff: Tariff, slot: Slot, day_before: list[tuple[int, int]]) -> tuple[int, int]:
    """Return a slot's prices; beyond the record, where only plans look, yesterday's where the file ends."""
    try:
        return tariff.import_micro(slot), tariff.export_micro(slot)
    except ConfigError:
        if not day_before:
            raise
        return day_before[0]


def _life_of(home: CommunityHome, first: Slot, slots: int, import_micro: Ints, export_micro: Ints) -> Life:
    battery, stored_wh = battery_of(home)
    load_w, pv_w = recorded(home, first, slots)
    return Life(
        name=home.name,
        history=history_of(home, first),
        load_w=load_w,
        pv_w=pv_w,
        import_micro=import_micro,
        export_micro=export_micro,
        battery=battery,
        stored_wh=stored_wh,
        pv_limit_w=home.pv_limit_w,
        fuse_limit_w=home.fuse_limit_w,
    )
