"""One home's side of trading: forecasts, plans, what the battery should do, what it all came to.

Decisions only: no socket, no file, no clock. runtime.py feeds it with readings and keeps what must survive a restart;
the study runs the same class on a virtual clock.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, tzinfo
from typing import Any, Literal

from agent.devices.energy import SlotEnergy
from agent.devices.reading import HomeReading
from agent.forecast.forecaster import LEARN_DAYS, LOOK_BACK_DAYS, Forecast, Forecaster
from agent.forecast.history import History
from agent.forecast.weather import Weather
from agent.planning.planner import Plan, Planner
from agent.planning.problem import WEAR_PER_KWH, Battery, HomeProblem
from agent.planning.shadow import Shadow, no_battery, run_battery
from agent.planning.tariff import Tariff
from agent.planning.worth import reach_w
from agent.savings import Savings, SlotOutcome
from agent.simulator.wishes import NO_WISHES, Wishes
from agent.wishes import flexible_of
from coordinator.charter import Rules
from coordinator.contracts import Contract, Status
from coordinator.household import MeterReading, Preparation
from coordinator.negotiation import Finished
from coordinator.settlement import SlotBill, tariff_cost
from coordinator.slots import Slot

Change = Literal["plan", "market", "settled"]

HISTORY_DAYS = LEARN_DAYS
PREDICT_DAYS = LOOK_BACK_DAYS
KEPT_SLOTS = 200
"""Plans and forecasts of so many past slots stay in memory, for settlement and the page."""
KEPT_PLANNERS = 4
"""Nobody asks a planner after its slot's gate, and its solver holds most of a megabyte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the owner says about the home."""

    name: str
    timezone: tzinfo
    tariff: Tariff
    battery: Battery | None
    connection_max_w: float = float("inf")
    wear_per_kwh: float = WEAR_PER_KWH
    wishes: Wishes = NO_WISHES


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotTarget:
    """What the slot should come to by its plan.

    Attributes:
        net_wh: Through the grid meter, import minus export: contracts and what is planned at the tariff.
        battery_w: + discharges.
        traded_wh: Contracts, + bought.
    """

    slot: Slot
    net_wh: float
    battery_w: float
    traded_wh: int
    plan: Plan

    @property
    def reach_w(self) -> tuple[float, float]:
        """The lowest and the highest power the battery goes to where the slot comes out otherwise than planned."""
        return reach_w(self.plan.problem, self.plan.schedule)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """One finished slot with everything that is known of it."""

    energy: SlotEnergy
    bill: SlotBill
    contracts: tuple[Contract, ...]
    tariff_micro: tuple[int, int]
    forecast_load_wh: float | None
    forecast_pv_wh: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Metered:
    """A slot whose shadow has lived through it and whose bill is still to come."""

    energy: SlotEnergy
    no_battery_wh: int
    alone_wh: int
    shadow_wh: float

    @classmethod
    def load(cls, plain: dict[str, Any]) -> "_Metered":
        energy = SlotEnergy(**{**plain["energy"], "slot": Slot(**plain["energy"]["slot"])})
        return cls(**{**plain, "energy": energy})


@dataclass(slots=True, kw_only=True)
class _Slots:
    """What is remembered per slot key."""

    planners: dict[int, Planner] = field(default_factory=dict)
    forecasts: dict[int, Forecast] = field(default_factory=dict)
    results: dict[int, tuple[Finished, int]] = field(default_factory=dict)
    targets: dict[int, SlotTarget] = field(default_factory=dict)
    problems: dict[int, HomeProblem] = field(default_factory=dict)  # only of slots whose battery was planned for
    metered: dict[int, _Metered] = field(default_factory=dict)
    settled: dict[int, Settled] = field(default_factory=dict)

    def prune(self) -> None:
        for name in self.__slots__:
            table = getattr(self, name)
            for key in sorted(table)[: -KEPT_PLANNERS if name == "planners" else -KEPT_SLOTS]:
                del table[key]


class TradingHome:
    """Implements `coordinator.trader.Household`.

    Args:
        rules: The charter's rules.
        rows: (slot key, load_wh, pv_wh) of the past, oldest first.
        savings: The bills so far.
        shadow: The home without neighbours; None until the stored energy is first known.
        unbilled: As `unbilled` returned it before a restart.
        since: Bills count from this slot on.
        until: Bills count before this slot.
        on_change: Told what is new to be shown and kept.
    """

    def __init__(
        self,
        facts: Facts,
        rules: Rules,
        forecaster: Forecaster,
        *,
        rows: Sequence[tuple[int, float | None, float | None]] = (),
        savings: Savings | None = None,
        shadow: Shadow | None = None,
        unbilled: Sequence[dict[str, Any]] = (),
        since: datetime | None = None,
        until: datetime | None = None,
        on_change: Callable[[Change, Slot], None] = lambda change, slot: None,
    ) -> None:
        self.facts = facts
        self.savings = savings or Savings(
            efficiency_discharge=facts.battery.efficiency_discharge if facts.battery else 1.0
        )
        self.shadow = shadow
        self._rules = rules
        self.forecaster = forecaster
        """Replaced by whoever trains a copy of it."""
        self.weather: Weather | None = None
        """As forecast for the home's place, where the owner asked for it."""
        self.grid_gone = False
        """Whether there is no grid now: then nothing can be promised to anybody."""
        self.balances = True
        """Whether it tells how far it is from its plan; set by whoever knows the owner's settings."""
        self.commands_battery = True
        """Whether its plans decide what the battery does: else nothing is sold from it, and it serves the home."""
        self._rows = {key: (key, load, pv) for key, load, pv in rows}
        self._since = since
        self._until = until
        self._on_change = on_change
        self._stored_wh: float | None = None
        self._start_soc: dict[int, float | None] = {}
        self._soc_end: dict[int, float | None] = {}
        self._now = _Slots(metered={each.energy.slot.key: each for each in map(_Metered.load, unbilled)})

    # What happened

    def observe(self, reading: HomeReading) -> None:
        """Take the newest reading."""
        if (stored_wh := self._wh_at(reading.soc_pct)) is not None:
            self._stored_wh = stored_wh
        key = Slot.at(reading.at, self._rules.slot_s).key
        if key not in self._start_soc:  # the reading that begins a slot comes before the news that the last one is done
            self._start_soc = dict([*self._start_soc.items()][-1:]) | {key: reading.soc_pct}

    def slot_done(self, energy: SlotEnergy) -> None:
        """Take what a slot brought; its bill comes later, from trading."""
        key = energy.slot.key
        self._rows[key] = (key, energy.load_wh, energy.pv_wh)
        self._rows.pop(key - HISTORY_DAYS * 86400, None)
        energy = self._filled(energy)
        before = self._soc_end.get(key - energy.slot.length_s)
        self._soc_end = {key: energy.soc_pct}
        if energy.load_wh is None or energy.pv_wh is None or not self._counts(energy.slot):
            return
        begin_wh = self._wh_at(self._start_soc.get(key) if before is None else before)
        if self.shadow is None:
            begin_wh = self._wh_at(energy.soc_pct) if begin_wh is None else begin_wh
            if begin_wh is None and self.facts.battery is not None:
                return  # bills begin when it is known what is in the battery
            self.shadow = Shadow(begin_wh or 0.0)
            self.savings.start_wh = begin_wh
        self.savings.lived(energy.slot, begin_wh, self._wh_at(energy.soc_pct))
        load_wh, pv_wh = energy.load_wh, energy.pv_wh
        without = no_battery(load_wh, pv_wh)
        if (problem := self._now.problems.get(key)) is not None:
            alone = self.shadow.advance(problem, load_wh, pv_wh)
        else:
            alone = self.shadow.left_alone(self._battery, energy.slot.hours, load_wh, pv_wh)
        self._now.metered[key] = _Metered(
            energy=energy,
            no_battery_wh=without.net_wh,
            alone_wh=alone.net_wh,
            shadow_wh=self.shadow.stored_wh,
        )

    def _filled(self, energy: SlotEnergy) -> SlotEnergy:
        """Return the slot with load and sun also where the powers were not seen for most of it.

        The meter's counters are known, and the battery's energy follows from its charge; only how the rest divides into
        load and sun is taken from the forecast, which no bill depends on.
        """
        forecast = self._now.forecasts.get(energy.slot.key)
        if (energy.load_wh is not None and energy.pv_wh is not None) or forecast is None:
            return energy
        battery, battery_wh = self.facts.battery, 0.0
        before_wh = self._wh_at(self._soc_end.get(energy.slot.shifted(-1).key))
        after_wh = self._wh_at(energy.soc_pct)
        if battery is not None and before_wh is not None and after_wh is not None:
            given_wh = before_wh - after_wh
            battery_wh = (
                given_wh * battery.efficiency_discharge if given_wh > 0 else given_wh / battery.efficiency_charge
            )
        pv_wh = float(forecast.pv_w[0]) * energy.slot.hours
        load_wh = max(0.0, energy.net_wh + battery_wh + pv_wh)
        return replace(energy, load_wh=load_wh, pv_wh=pv_wh, battery_wh=battery_wh, estimated=True)

    def _wh_at(self, soc_pct: float | None) -> float | None:
        """Return the energy in the battery at a state of charge; None where there is none or it is not known."""
        battery = self.facts.battery
        return None if battery is None or soc_pct is None else soc_pct / 100 * battery.capacity_wh

    @property
    def _battery(self) -> Battery | None:
        """The battery that counts; one that is not commanded does so only where its charge is read."""
        return self.facts.battery if self.commands_battery or self._stored_wh is not None else None

    def _counts(self, slot: Slot) -> bool:
        begun = self._since is None or slot.start_at >= self._since
        return begun and (self._until is None or slot.start_at < self._until)

    def history(self, before: Slot, days: int) -> History:
        """Return the metered slots of the last `days` before `before`."""
        keys = range(before.key - days * 86400, before.key, before.length_s)
        return History.from_rows((self._rows[key] for key in keys if key in self._rows), before.length_s)

    def learn(self, before: Slot) -> None:
        """Fit the forecasts to what was metered; a year takes seconds, so a shell trains a copy beside its loop."""
        self.forecaster.fit(self.history(before, HISTORY_DAYS), self.weather)

    # coordinator.trader.Household

    def prepare(self, slot: Slot, now: datetime) -> Preparation | None:
        """Forecast and plan the horizon that starts at `slot`; None to sit it out, because there is no grid."""
        if self.grid_gone:
            return None
        planner = self._make_planner(slot, now)
        return Preparation(bidder=planner, opening_micro=planner.opening_prices(), balances=self.balances)

    def _make_planner(self, slot: Slot, now: datetime) -> Planner:
        history = self.history(slot, PREDICT_DAYS)
        forecast = self.forecaster.predict(slot, self._rules.horizon_slots, history, self.weather)
        planner = Planner(
            first=slot,
            load_w=forecast.load_w,
            pv_w=forecast.pv_w,
            tariff=self.facts.tariff,
            battery=self._battery,
            stored_wh=self._stored_at(slot, now),
            rho_micro=self._rules.rho_micro,
            timezone=self.facts.timezone,
            connection_max_w=self.facts.connection_max_w,
            wear_per_kwh=self.facts.wear_per_kwh,
            flexible=flexible_of(self.facts.wishes, slot, self._rules.horizon_slots, self.facts.timezone),
            commands_battery=self.commands_battery,
        )
        self._now.planners[slot.key] = planner
        self._now.forecasts[slot.key] = forecast
        self._now.problems.pop(slot.key, None)
        if self.commands_battery:
            self._now.problems[slot.key] = planner.problem
        self._now.prune()
        return planner

    def _stored_at(self, slot: Slot, now: datetime) -> float:
        """Return the energy expected in the battery when `slot` begins: what is there now, changed as planned."""
        battery = self.facts.battery
        if battery is None:
            return 0.0
        stored_wh = battery.capacity_wh / 2 if self._stored_wh is None else self._stored_wh
        hours = max(0.0, (slot.start_at - now).total_seconds() / 3600)
        running = self._now.targets.get(slot.shifted(-1).key)
        if running is None or hours > slot.hours:
            return stored_wh
        return run_battery(battery, stored_wh, running.battery_w * hours, hours)[1]

    def keep(self, slot: Slot, energy_wh: int, price_micro: int) -> int:
        planner = self._now.planners[slot.key]
        if planner.commands_battery and not self.commands_battery:  # what it bid with is gone since
            return 0
        return planner.keep(energy_wh, price_micro)

    def tariff_micro(self, slot: Slot) -> tuple[int, int]:
        return self.facts.tariff.import_micro(slot), self.facts.tariff.export_micro(slot)

    def negotiated(self, result: Finished, price_micro: int) -> None:
        self._now.results[result.slot.key] = (result, price_micro)
        if (planner := self._now.planners.get(result.slot.key)) is not None:
            planner.expected_wh = result.trades_wh(result.me)
        if self._counts(result.slot):
            self.savings.rounds += result.rounds
            self.savings.negotiations += 1
        self._on_change("market", result.slot)

    def gate_closed(self, slot: Slot, net_wh: int, now: datetime) -> None:
        """Fix what the slot should come to, with the trades that are firm."""
        planner = self._now.planners.get(slot.key)
        if planner is None or planner.commands_battery is not self.commands_battery:
            planner = self._make_planner(slot, now)
        if slot.key not in self._now.results:  # without neighbours the trades hoped for later will not come either
            planner.expected_wh = [0] * self._rules.horizon_slots
        self._aim(slot, planner, net_wh)

    def _aim(self, slot: Slot, planner: Planner, traded_wh: int) -> None:
        plan = planner.schedule([traded_wh], self._expected_prices(slot))
        schedule = plan.schedule
        grid_wh = float(schedule.import_w[0] - schedule.export_w[0]) * slot.hours
        self._now.targets[slot.key] = SlotTarget(
            slot=slot,
            net_wh=grid_wh + traded_wh,
            battery_w=float(schedule.battery_w[0]),
            traded_wh=traded_wh,
            plan=plan,
        )
        self._on_change("plan", slot)

    def _expected_prices(self, slot: Slot) -> list[int] | None:
        """Return what contracts of the horizon would be paid with if all were made now; None without a negotiation."""
        if slot.key not in self._now.results:
            return None
        result, _ = self._now.results[slot.key]
        return [
            result.contract_price(self._rules.price_rule, self.tariff_micro(ahead), index)
            for index, ahead in enumerate(slot.horizon(self._rules.horizon_slots))
        ]

    def settled(self, slot: Slot, meter: MeterReading, bill: SlotBill, contracts: Sequence[Contract]) -> None:
        """Close the slot's books: real bill, bill alone, bill without battery."""
        metered = self._now.metered.pop(slot.key, None)
        if metered is None:
            return
        energy = metered.energy
        import_micro, export_micro = self.tariff_micro(slot)
        counted = [c for c in contracts if c.status is Status.COUNTED]
        self.savings.add(
            SlotOutcome(
                no_battery=tariff_cost(metered.no_battery_wh, import_micro, export_micro),
                alone=tariff_cost(metered.alone_wh, import_micro, export_micro),
                traded=bill.total,
                import_micro=import_micro,
                bought_wh=bill.bought_wh,
                sold_wh=bill.sold_wh,
                import_wh=meter.import_wh,
                export_wh=meter.export_wh,
                utility_wh=max(bill.imbalance_wh, 0),
                contracts=len(counted),
                contracts_void=len(contracts) - len(counted),
                stored_wh=self._wh_at(energy.soc_pct),
                shadow_wh=metered.shadow_wh,
            )
        )
        forecast = self._now.forecasts.get(slot.key)
        self._now.settled[slot.key] = Settled(
            energy=energy,
            bill=bill,
            contracts=tuple(contracts),
            tariff_micro=(import_micro, export_micro),
            forecast_load_wh=float(forecast.load_w[0]) * slot.hours if forecast else None,
            forecast_pv_wh=float(forecast.pv_w[0]) * slot.hours if forecast else None,
        )
        self._on_change("settled", slot)

    # What is known

    def unbilled(self) -> list[dict[str, Any]]:
        """Return the metered slots whose bill is still to come, as plain JSON values: a restart must not lose them."""
        return [asdict(metered) for metered in self._now.metered.values()]

    def target(self, slot: Slot, now: datetime, firm_wh: int = 0) -> SlotTarget:
        """Return the slot's target; a slot whose gate no planner of this process saw gets a plan of its own.

        Args:
            firm_wh: What is agreed for such a slot, + bought: an earlier process may have negotiated it.
        """
        if slot.key not in self._now.targets:
            self.gate_closed(slot, firm_wh, now)
        return self._now.targets[slot.key]

    def known_target(self, slot: Slot) -> SlotTarget | None:
        return self._now.targets.get(slot.key)

    def result(self, slot: Slot) -> tuple[Finished, int] | None:
        """Return the slot's negotiation and contract price, if there was one."""
        return self._now.results.get(slot.key)

    def forecast(self, slot: Slot) -> Forecast | None:
        return self._now.forecasts.get(slot.key)

    def latest_settled(self, count: int) -> list[Settled]:
        """Return the last settled slots, oldest first."""
        return [self._now.settled[key] for key in sorted(self._now.settled)[-count:]]
