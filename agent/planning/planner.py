"""One home's planner: forecasts, tariff and battery in; bids, checks and a plan with reasons out. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo

import numpy as np

from agent.planning.home_model import HomeModel, Schedule
from agent.planning.problem import WEAR_PER_KWH, Battery, Floats, HomeProblem, terminal_price
from agent.planning.reasons import reasons
from agent.planning.tariff import Tariff
from coordinator.quantities import MICRO, round_ratio
from coordinator.slots import Slot

_TOLERANCE = 2e-5
"""A trade loses when it costs this much more than none, in currency: the accuracy of the solver on a day."""

_INDIFFERENT_PER_KWH = 0.002
"""Where prices settle, the marginal home is indifferent, up to the charter's convergence of a few 0.001 per kWh. A
trade that misses the home's own price by less than this is no loss; without it many marginal trades would fall through.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The plan of a horizon. Arrays have shape (n,), powers are means over the slot in W.

    Args:
        soc_pct: State of charge at each slot's end, or None without a battery.
        price_per_kwh: Neighbourhood price per slot: negotiated, or expected.
        reasons: One short sentence per slot.
    """

    first: Slot
    problem: HomeProblem
    schedule: Schedule
    soc_pct: Floats | None
    price_per_kwh: Floats
    reasons: tuple[str, ...]


class Planner:
    """One negotiation's view of one home: built anew for every slot that is negotiated.

    Args:
        first: The slot under negotiation; the horizon begins with it.
        load_w: Forecast per slot of the horizon, shape (n,).
        pv_w: Forecast per slot of the horizon, shape (n,).
        stored_wh: Energy expected in the battery when `first` begins.
        rho_micro: Step size of the charter in micro-units per kWh and W.
        timezone: For the words of the plan.
        terminal_per_kwh: Price of energy left at the end; default: mean of the cheapest quarter of import prices.
        surprises: What the first slot's net load may differ by (see `HomeProblem`).

    Raises:
        ConfigError: If the tariff does not know a slot of the horizon.
    """

    def __init__(
        self,
        *,
        first: Slot,
        load_w: Floats,
        pv_w: Floats,
        tariff: Tariff,
        battery: Battery | None,
        stored_wh: float,
        rho_micro: int,
        timezone: tzinfo,
        connection_max_w: float = float("inf"),
        wear_per_kwh: float = WEAR_PER_KWH,
        terminal_per_kwh: float | None = None,
        surprises: tuple[tuple[float, float], ...] = (),
    ) -> None:
        imports, exports = tariff.prices(first, load_w.size)
        self.first = first
        self.problem = HomeProblem(
            slot_h=first.hours,
            load_w=load_w,
            pv_w=pv_w,
            import_per_kwh=imports,
            export_per_kwh=exports,
            battery=battery,
            stored_wh=stored_wh,
            connection_max_w=connection_max_w,
            wear_per_kwh=wear_per_kwh,
            terminal_per_kwh=terminal_price(imports) if terminal_per_kwh is None else terminal_per_kwh,
            surprises=surprises,
        )
        self._slots = tuple(first.horizon(load_w.size))
        self._tariff = tariff
        self._rho = rho_micro / MICRO
        self._timezone = timezone
        self._model = HomeModel(self.problem)
        self._alone: Schedule | None = None
        self._prices = self._midpoints()
        self._bids = [0] * load_w.size

    @property
    def alone(self) -> Schedule:
        """The plan without neighbours."""
        if self._alone is None:
            self._alone = self._model.alone()
        return self._alone

    def _midpoints(self) -> list[int]:
        return [round_ratio(self._tariff.import_micro(s) + self._tariff.export_micro(s), 2) for s in self._slots]

    def opening_prices(self) -> list[int]:
        """Return the midpoint of the own import and export price per slot, micro-units per kWh."""
        return self._midpoints()

    def bid(self, prices_micro: Sequence[int], anchor_wh: Sequence[float]) -> list[int]:
        """Return the wanted net trade per slot at these prices, whole Wh, + buys.

        Args:
            prices_micro: Neighbourhood price per slot, micro-units per kWh.
            anchor_wh: Where the charter's step size holds the bids to: own last bid minus the neighbourhood's mean.
        """
        h = self.problem.slot_h
        schedule = self._model.answer(np.array(prices_micro) / MICRO, np.array(anchor_wh, dtype=float) / h, self._rho)
        lowest, highest = self._physical_wh()
        self._prices = list(prices_micro)
        self._bids = [int(e) for e in np.clip(np.rint(schedule.trade_w * h), lowest, highest)]
        return list(self._bids)

    def _physical_wh(self) -> tuple[Floats, Floats]:
        """Return the whole Wh per slot between all that the home could sell and all that it could use."""
        p = self.problem
        discharge_w = p.battery.discharge_max_w if p.battery else 0.0
        charge_w = p.battery.charge_max_w if p.battery else 0.0
        return -np.floor((p.pv_w + discharge_w) * p.slot_h), np.floor((p.load_w + charge_w) * p.slot_h)

    def gain(self, trades_wh: Sequence[int], prices_micro: Sequence[int]) -> float:
        """Return what these trades of the horizon save against none, in currency, at the own forecasts.

        Trades that the home could not serve count as a loss without limit.
        """
        return self.alone.cost - self._cost(np.array(trades_wh, dtype=float), prices_micro)

    def _cost(self, trades_wh: Floats, prices_micro: Sequence[int]) -> float:
        schedule = self._model.with_trades(trades_wh / self.problem.slot_h)
        if not schedule.deliverable:
            return float("inf")
        return schedule.cost + float(trades_wh @ np.array(prices_micro)) / MICRO / 1000

    def keep(self, trade_wh: int, price_micro: int) -> int:
        """Return how much of a matched trade of the first slot to offer or accept: all, a half, a quarter, or nothing.

        What is kept lies within the own tariff and does not lose against not trading, whether or not the trades that
        the last bid expects of later slots come about in the better of both cases.

        Args:
            trade_wh: + buys.
            price_micro: Of the contract, micro-units per kWh.
        """
        if trade_wh > 0 and price_micro > self._tariff.import_micro(self.first):
            return 0
        if trade_wh < 0 and price_micro < self._tariff.export_micro(self.first):
            return 0
        without = self._best_cost(0, price_micro)
        for part in (1, 2, 4):
            kept_wh = int(trade_wh / part)
            allowed = _TOLERANCE + _INDIFFERENT_PER_KWH * abs(kept_wh) / 1000
            if kept_wh and self._best_cost(kept_wh, price_micro) <= without + allowed:
                return kept_wh
        return 0

    def _best_cost(self, trade_wh: int, price_micro: int) -> float:
        """Return the cost of the horizon with this trade in the first slot, later trades as last bid, or none."""
        prices = [price_micro, *self._prices[1:]]
        lonely = np.zeros(self.problem.slots)
        lonely[0] = trade_wh
        expected = np.array([trade_wh, *self._bids[1:]], dtype=float)
        return min(self._cost(lonely, prices), self._cost(expected, prices))

    def schedule(self, committed_wh: Sequence[int], prices_micro: Sequence[int] | None = None) -> Plan:
        """Return the plan of the horizon with the trades that are bound.

        Args:
            committed_wh: Contracted net energy of the first slots, + bought. Later slots count with the trades last
                bid, unless these need energy that the contracts leave no room for.
            prices_micro: Prices to show; default: those of the last bid.
        """
        rest = self.problem.slots - len(committed_wh)
        prices = np.array(self._prices if prices_micro is None else prices_micro) / MICRO
        h = self.problem.slot_h
        schedule = self._model.with_trades(np.array([*committed_wh, *self._bids[len(committed_wh) :]]) / h)
        if not schedule.deliverable:
            schedule = self._model.with_trades(np.array([*committed_wh, *([0] * rest)]) / h)
        battery = self.problem.battery
        hours = [slot.start_at.astimezone(self._timezone).hour for slot in self._slots]
        return Plan(
            first=self.first,
            problem=self.problem,
            schedule=schedule,
            soc_pct=None if battery is None else 100 * schedule.stored_wh / max(battery.capacity_wh, 1.0),
            price_per_kwh=prices,
            reasons=reasons(self.problem, schedule, hours),
        )
