"""Homes of a community folder as the product's planning and forecasts see them, and what their trades really cost."""

from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from pathlib import Path

import numpy as np

from agent.config import BatterySection
from agent.forecast.history import History
from agent.planning.central import central_optimum
from agent.planning.planner import Planner
from agent.planning.problem import Battery, Floats, Island
from agent.planning.tariff import Tariff, TariffSettings, open_tariff
from agent.simulator.community import Community, CommunityHome
from agent.simulator.trace import TraceHome
from agent.study.round_table import matched_trades
from agent.study.walk import forecaster_of
from agent.wishes import flexible_of
from coordinator.charter import Rules
from coordinator.negotiation import Finished
from coordinator.slots import Slot

HISTORY_DAYS = 14
CRITICAL_SHARE = 0.3
"""Of every home's load on an island: community folders do not say what must not go dark."""


def past_rows(home: CommunityHome, first: Slot) -> list[tuple[int, float | None, float | None]]:
    """Return (slot key, load_wh, pv_wh) of the two weeks before `first`."""
    slots = HISTORY_DAYS * 86400 // first.length_s
    rows = home.history_rows(first.start_at - timedelta(days=HISTORY_DAYS), slots)
    return [
        (
            int(row.start_at.timestamp()),
            None if row.load_w is None else row.load_w * first.hours,
            None if row.pv_w is None else row.pv_w * first.hours,
        )
        for row in rows
    ]


def history_of(home: CommunityHome, first: Slot) -> History:
    """Return the whole record of a home; `first` is the record's first slot."""
    return History(first=first, load_w=home.load_w, pv_w=home.pv_w)


def battery_of(home: CommunityHome) -> tuple[Battery | None, float]:
    """Return the home's battery, usable from empty to full, and the energy in it at the start [Wh]."""
    settings = home.battery
    if settings is None:
        return None, 0.0
    section = BatterySection(**settings.model_dump(exclude={"initial_soc_pct"}), reserve_pct=0.0, max_pct=100.0)
    return section.battery(), 10 * settings.capacity_kwh * settings.initial_soc_pct


def tariff_of(community: Community, home: CommunityHome) -> Tariff:
    return tariff_at(home.tariff_path, community)


def tariff_at(path: Path, community: Community) -> Tariff:
    """Return a tariff file of the community's; errors as `open_tariff`."""
    return _tariff(path.resolve(), community.timezone.key)


@lru_cache(maxsize=64)
def _tariff(path: Path, timezone: str) -> Tariff:
    """Read a tariff once: most homes of a community share theirs, and a year of it takes longer to read than a plan."""
    return open_tariff(TariffSettings(file=path), timezone, Path())


def expected(community: Community, home: CommunityHome, first: Slot, slots: int) -> tuple[Floats, Floats]:
    """Return load and PV of `slots` slots as the 7-day mean of the record before `first` has them, in W."""
    history = History.from_rows(past_rows(home, first), first.length_s)
    forecast = forecaster_of(community, home).predict(first, slots, history)
    return forecast.load_w, forecast.pv_w


def recorded(home: CommunityHome, first: Slot, slots: int) -> tuple[Floats, Floats]:
    """Return load and PV of `slots` slots as they came, in W; gaps are lived like the day before."""
    life = TraceHome(home.trace)
    starts = [slot.start_at for slot in first.horizon(slots)]
    return np.array([life.load_w(at) for at in starts]), np.array([life.pv_w(at) for at in starts])


def planner_of(
    community: Community,
    home: CommunityHome,
    first: Slot,
    rules: Rules,
    *,
    known: bool = False,
    island: bool = False,
) -> Planner:
    """Return the home's planner for the horizon that begins with `first`.

    Args:
        known: Plan with the record itself instead of the 7-day mean of the past.
        island: The grid is lost; `CRITICAL_SHARE` of the load is critical.
    """
    slots = rules.horizon_slots
    load_w, pv_w = recorded(home, first, slots) if known else expected(community, home, first, slots)
    battery, stored_wh = battery_of(home)
    return Planner(
        first=first,
        load_w=load_w,
        pv_w=pv_w,
        tariff=tariff_of(community, home),
        battery=battery,
        stored_wh=stored_wh,
        rho_micro=rules.rho_micro,
        timezone=community.timezone,
        flexible=flexible_of(home.wishes, first, slots, community.timezone),
        island=Island(critical_w=CRITICAL_SHARE * load_w) if island else None,
    )


def captured(planners: Mapping[str, Planner], result: Finished) -> float:
    """Return (alone - traded) / (alone - central) of the matched whole Wh of all slots, forecasts taken as true."""
    trades = matched_trades(result)
    alone = sum(planner.alone.cost for planner in planners.values())
    central = central_optimum([planner.problem for planner in planners.values()])
    # What one pays the other receives: over all homes the payments cancel.
    gained = sum(planner.gain(trades[name], result.prices_micro) for name, planner in planners.items())
    return gained / (alone - central)
