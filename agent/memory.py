"""What one home keeps over a restart: metered slots, forecasts and plans as issued, its bills, its shadow."""

import json
from collections.abc import Callable
from datetime import datetime

from agent.config import HomeConfig
from agent.devices.energy import SlotEnergy
from agent.devices.reading import HomeReading
from agent.forecast.forecaster import Forecaster
from agent.household import HISTORY_DAYS, Change, Facts, SlotTarget, TradingHome
from agent.planning.shadow import Shadow
from agent.planning.tariff import open_tariff
from agent.savings import Savings
from agent.storage.home_store import HomeStore, StoredSlot
from coordinator.charter import Rules
from coordinator.slots import Slot

ISSUED_DAYS = 60
"""Forecasts and plans as issued are kept this long."""


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
        """Return the home with its past."""
        config, rules = self._config, self._rules
        home, slot_s = config.home, rules.slot_s
        first = self._slot.key - HISTORY_DAYS * 86400
        savings, shadow_wh = self._store.fact("savings"), self._store.shadow_wh()
        return TradingHome(
            Facts(
                name=home.name,
                timezone=home.zone,
                tariff=open_tariff(config.tariff, home.timezone, home.data_dir),
                battery=config.battery.battery() if config.battery else None,
                connection_max_w=1000 * home.connection_kw if home.connection_kw else float("inf"),
                wear_per_kwh=config.battery.wear_per_kwh if config.battery else 0.0,
            ),
            rules,
            Forecaster(
                slot_s=slot_s,
                timezone=home.zone,
                pv_limit_w=None if home.pv_kwp is None else 1000 * home.pv_kwp,
                fuse_limit_w=1000 * home.connection_kw if home.connection_kw else float("inf"),
                horizon=rules.horizon_slots,
            ),
            rows=self._store.history_rows(slot_s, first, self._slot.key),
            savings=Savings.load(json.loads(savings)) if savings else None,
            shadow=None if shadow_wh is None else Shadow(shadow_wh),
            since=home.since,
            until=home.until,
            on_change=on_change,
        )

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

    def save_reading(self, reading: HomeReading) -> None:
        """Keep where the meter's counters stood, so that a restart can tell what flowed in between."""
        if reading.import_wh is not None and reading.export_wh is not None:
            values = [reading.at.isoformat(), reading.import_wh, reading.export_wh]
            self._store.set_fact("counters", json.dumps(values))

    def last_reading(self) -> HomeReading | None:
        """Return the last kept state of the counters; its powers are unknown."""
        if (kept := self._store.fact("counters")) is None:
            return None
        at, import_wh, export_wh = json.loads(kept)
        return HomeReading(
            at=datetime.fromisoformat(at),
            monotonic_s=0.0,
            grid_w=None,
            pv_w=None,
            battery_w=None,
            load_w=None,
            soc_pct=None,
            import_wh=import_wh,
            export_wh=export_wh,
            quality="absent",
            missing=("grid_w", "pv_w", "battery_w", "load_w"),
        )

    def planned(self, target: SlotTarget) -> None:
        """Keep the forecast and the plan as they were when the slot's gate closed."""
        key, length_s, plan = target.slot.key, target.slot.length_s, target.plan
        forecast = {"load_w": plan.problem.load_w.tolist(), "pv_w": plan.problem.pv_w.tolist()}
        schedule = {"battery_w": plan.schedule.battery_w.tolist(), "trade_w": plan.schedule.trade_w.tolist()}
        self._store.save_forecast(key, length_s, forecast)
        self._store.save_plan(key, length_s, schedule)

    def settled(self, home: TradingHome) -> None:
        self._store.set_fact("savings", json.dumps(home.savings.dump()))
        if home.shadow is not None:
            self._store.save_shadow_wh(home.shadow.stored_wh)

    def prune(self, now: Slot) -> None:
        self._store.prune(now.key - ISSUED_DAYS * 86400)
