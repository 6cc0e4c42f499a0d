"""What one home keeps over a restart: metered slots, forecasts and plans as issued, its bills, its shadow."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np

from agent.config import HomeConfig
from agent.devices.energy import Counters, SlotEnergy
from agent.forecast.evaluation import DayAccuracy, day_accuracy
from agent.forecast.forecaster import Forecast, Forecaster
from agent.forecast.weather import WeatherSource
from agent.guard_setup import owner_envelope
from agent.household import HISTORY_DAYS, Change, Facts, SlotTarget, TradingHome
from agent.planning.problem import Battery
from agent.planning.shadow import Shadow
from agent.planning.tariff import open_tariff
from agent.savings import Savings
from agent.storage.home_store import HomeStore, Series, StoredSlot
from coordinator.charter import Rules
from coordinator.slots import Slot

ISSUED_DAYS = 60
"""Forecasts and plans as issued are kept this long."""


def weather_source(config: HomeConfig) -> WeatherSource | None:
    """Return where the home's weather comes from, if its owner wants it.

    Raises:
        ConfigError: If the extra `weather` is not installed.
    """
    home = config.home
    if not home.weather or home.location is None:
        return None
    latitude, longitude = home.location
    clock = config.clock.clock() if config.clock else None
    return WeatherSource(home.data_dir / "weather.json", latitude=latitude, longitude=longitude, clock=clock)


def planned_battery(config: HomeConfig) -> Battery | None:
    """Return the battery as plans may count on it: no more than its device bears.

    Raises:
        ConfigError: If a profile cannot be used.
    """
    envelope = owner_envelope(config)
    if config.battery is None or envelope is None:
        return None
    return replace(
        config.battery.battery(),
        charge_max_w=envelope.charge_w,
        discharge_max_w=envelope.discharge_w,
        reserve_wh=10 * config.battery.capacity_kwh * envelope.reserve_pct,
        max_wh=10 * config.battery.capacity_kwh * envelope.max_pct,
    )


class HomeMemory:
    """The home's database, and the trading home as it was when it was closed.

    Raises:
        ConfigError: If the database or the tariff cannot be used.
    """

    def __init__(self, config: HomeConfig, rules: Rules, now: datetime) -> None:
        self._config = config
        self._rules = rules
        self._slot = Slot.at(now, rules.slot_s)
        self._store = HomeStore(config.home.data_dir / "home.db")

    def close(self) -> None:
        self._store.close()

    def open_home(self, on_change: Callable[[Change, Slot], None]) -> TradingHome:
        """Return the home with its past; until somebody has asked the guard, it does not count on its battery."""
        config, rules = self._config, self._rules
        home, slot_s = config.home, rules.slot_s
        first = self._slot.key - HISTORY_DAYS * 86400
        savings, shadow_wh = self._store.fact("savings"), self._store.shadow_wh()
        unbilled = json.loads(self._store.fact("unbilled") or "[]")
        home_now = TradingHome(
            Facts(
                name=home.name,
                timezone=home.zone,
                tariff=open_tariff(config.tariff, home.timezone, home.data_dir, live=True),
                battery=planned_battery(config),
                connection_max_w=1000 * home.connection_kw if home.connection_kw else float("inf"),
                wear_per_kwh=config.battery.wear_per_kwh if config.battery else 0.0,
                wishes=config.wishes,
            ),
            rules,
            Forecaster(
                slot_s=slot_s,
                timezone=home.zone,
                pv_limit_w=None if home.pv_kwp is None else 1000 * home.pv_kwp,
                fuse_limit_w=1000 * home.connection_kw if home.connection_kw else float("inf"),
                horizon=rules.horizon_slots,
                country=home.country,
                latitude=home.location[0] if home.location else None,
                longitude=home.location[1] if home.location else None,
            ),
            rows=self._store.history_rows(slot_s, first, self._slot.key),
            savings=Savings.load(json.loads(savings)) if savings else None,
            shadow=None if shadow_wh is None else Shadow(shadow_wh),
            unbilled=unbilled,
            since=home.since,
            until=home.until,
            on_change=on_change,
        )
        home_now.commands_battery = False
        return home_now

    def slot_done(self, energy: SlotEnergy) -> None:
        self._store.save_slot(
            StoredSlot(
                key=energy.slot.key,
                length_s=energy.slot.length_s,
                load_wh=energy.load_wh,
                pv_wh=energy.pv_wh,
                battery_wh=energy.battery_wh,
                import_wh=energy.import_wh,
                export_wh=energy.export_wh,
                soc_pct=energy.soc_pct,
            )
        )

    def save_counters(self, counters: Counters) -> None:
        """Keep where the meter's counters stood at a slot's start, so that a restart can tell what flowed since."""
        values = [counters.at.isoformat(), counters.import_wh, counters.export_wh]
        self._store.set_fact("counters", json.dumps(values))

    def counters(self) -> Counters | None:
        """Return the counters last kept."""
        if (kept := self._store.fact("counters")) is None:
            return None
        at, import_wh, export_wh = json.loads(kept)
        return Counters(at=datetime.fromisoformat(at), import_wh=import_wh, export_wh=export_wh)

    def worn_is(self, day: date | None, shared_wh: float) -> None:
        """Keep what the battery moved for neighbours on this day, so that a restart does not lift the owner's limit."""
        if day is not None:
            self._store.set_fact("worn", json.dumps([day.isoformat(), shared_wh]))

    def worn(self) -> tuple[date | None, float]:
        """Return the last kept day and what the battery moved for neighbours on it [Wh]."""
        if (kept := self._store.fact("worn")) is None:
            return None, 0.0
        day, shared_wh = json.loads(kept)
        return date.fromisoformat(day), float(shared_wh)

    def planned(self, target: SlotTarget, forecast: Forecast | None) -> None:
        """Keep the forecast and the plan as they were when the slot's gate closed."""
        key, length_s, plan = target.slot.key, target.slot.length_s, target.plan
        schedule = {"battery_w": plan.schedule.battery_w.tolist(), "trade_w": plan.schedule.trade_w.tolist()}
        if forecast is not None:
            self._store.save_forecast(key, length_s, _series(forecast))
        self._store.save_plan(key, length_s, schedule)

    def books(self, home: TradingHome) -> None:
        """Keep the bills, and what the slots brought whose bill waits for the residual round or a partner's word."""
        self._store.set_fact("savings", json.dumps(home.savings.dump()))
        self._store.set_fact("unbilled", json.dumps(home.unbilled()))
        if home.shadow is not None:
            self._store.save_shadow_wh(home.shadow.stored_wh)

    def yesterday(self, slot: Slot) -> DayAccuracy | None:
        """Return how the load forecast issued at the last but one local midnight did on its day, if it is known."""
        today = slot.start_at.astimezone(self._config.home.zone).replace(hour=0, minute=0)
        first = Slot.at((today - timedelta(days=1)).astimezone(UTC), slot.length_s)
        issued = self._store.forecast(first.key, first.length_s)
        if issued is None or "load_q50" not in issued:
            return None
        day_s, count = 86400, len(issued["load_q50"])
        rows = self._store.history_rows(first.length_s, first.key - day_s, first.key + count * first.length_s)
        wh = {key: load for key, load, _ in rows if load is not None}
        keys = [first.key + n * first.length_s for n in range(count)]
        truth_w, before_w = (
            np.array([wh.get(key - back, np.nan) / first.hours for key in keys]) for back in (0, day_s)
        )
        return day_accuracy(truth_w, before_w, np.column_stack([issued[f"load_q{q}"] for q in (10, 50, 90)]))

    def prune(self, now: Slot) -> None:
        self._store.prune(now.key - ISSUED_DAYS * 86400)


def _series(forecast: Forecast) -> Series:
    """Return a forecast as it is kept: mean and quantiles of load and sun, whole watts."""
    found = {"load_w": forecast.load_w, "pv_w": forecast.pv_w}
    for name, band_w in (("load", forecast.load_band_w), ("pv", forecast.pv_band_w)):
        found |= {f"{name}_q{q}": band_w[:, column] for column, q in enumerate((10, 50, 90))}
    return {name: np.rint(values).tolist() for name, values in found.items()}
