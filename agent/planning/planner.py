"""One home's planner: forecasts, tariff and battery in; bids, checks and a plan with reasons out. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo

import numpy as np

from agent.planning.home_model import Feeder, HomeModel, Schedule
from agent.planning.problem import (
    WEAR_PER_KWH,
    Battery,
    Flexible,
    Floats,
    HomeProblem,
    Island,
    power_limits_w,
    terminal_price,
)
from agent.planning.reasons import reasons
from agent.planning.shadow import by_itself
from agent.planning.tariff import Tariff
from coordinator.quantities import MICRO, round_ratio, to_micro
from coordinator.slots import Slot

_TOLERANCE = 2e-5
"""A trade loses when it costs this much more than none, in currency: the accuracy of the solver on a day."""

_INDIFFERENT_PER_KWH = 0.002
"""Where prices settle, the marginal home is indifferent, up to the charter's convergence of a few 0.001 per kWh. A
trade that misses the home's own price by less than this is no loss; without it many marginal trades would fall through.
"""


def allowed_loss(trade_wh: int) -> float:
    """Return by how much a trade may miss the cost of none and still not count as a loss, in currency."""
    return _TOLERANCE + _INDIFFERENT_PER_KWH * abs(trade_wh) / 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The plan of a horizon. Arrays have shape (n,), powers are means over the slot in W.

    Args:
        problem: What was planned for; a battery that obeys nobody is no part of it, what it does is in the schedule.
        soc_pct: State of charge at each slot's end, or None without a battery.
        price_per_kwh: Neighbourhood price per slot: negotiated, or expected.
        reasons: One short sentence per slot.
        gave_way: What wishes do not get, one sentence each.
    """

    first: Slot
    problem: HomeProblem
    schedule: Schedule
    soc_pct: Floats | None
    price_per_kwh: Floats
    reasons: tuple[str, ...]
    gave_way: tuple[str, ...]


class Planner:
    """One negotiation's view of one home: built anew for every slot that is negotiated.

    Attributes:
        commands_battery: Whether its plans decide what a battery does.
        expected_wh: Trades of the horizon that checks and plans reckon with in later slots, + buys: the last bids,
            until somebody knows better.

    Args:
        first: The slot under negotiation; the horizon begins with it.
        load_w: Forecast per slot of the horizon, shape (n,).
        pv_w: Forecast per slot of the horizon, shape (n,).
        stored_wh: Energy expected in the battery when `first` begins.
        rho_micro: Step size of the charter in micro-units per kWh and W.
        timezone: For the words of the plan.
        terminal_per_kwh: Price of energy left at the end; default: mean of the cheapest quarter of import prices.
        flexible: Cars, loads, tanks and further batteries; their slots count from `first`.
        island: Set while the grid is lost.
        commands_battery: Where plans do not decide what the battery does, it serves the home by itself, and they reckon
            with that.

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
        flexible: tuple[Flexible, ...] = (),
        island: Island | None = None,
        commands_battery: bool = True,
    ) -> None:
        imports, exports = tariff.prices(first, load_w.size)
        if terminal_per_kwh is None:
            terminal_per_kwh = terminal_price(imports)
        if island is not None:  # energy is never saved at the price of load that goes unserved
            terminal_per_kwh = min(terminal_per_kwh, island.normal_per_kwh[0] / 2)
        self.first = first
        self.commands_battery = commands_battery
        home = HomeProblem(
            slot_h=first.hours,
            load_w=load_w,
            pv_w=pv_w,
            import_per_kwh=imports,
            export_per_kwh=exports,
            battery=battery,
            stored_wh=stored_wh,
            connection_max_w=connection_max_w,
            wear_per_kwh=wear_per_kwh,
            terminal_per_kwh=terminal_per_kwh,
            flexible=flexible,
            island=island,
        )
        self._battery = battery
        self._own = None if battery is None or commands_battery else by_itself(home)
        self._shown = home if self._own is None else replace(home, battery=None)
        self.problem = self._shown
        if self._own is not None:  # what it gives is no load any more, and what it takes is no sun
            load_w, pv_w = home.load_w - self._own.discharge_w, home.pv_w - self._own.charge_w
            self.problem = replace(self._shown, load_w=load_w, pv_w=pv_w)
        self._slots = tuple(first.horizon(load_w.size))
        self._tariff = tariff
        self._rho = rho_micro / MICRO
        self._timezone = timezone
        self._model = HomeModel(self.problem)
        self._alone: Schedule | None = None
        self._charge_w, self._discharge_w = power_limits_w(self.problem.storages(), load_w.size)
        self._prices = self.opening_prices()
        self._feeder_micro: list[int] | None = None
        self._grid_anchor_w = np.zeros(load_w.size)
        self.expected_wh = [0] * load_w.size

    @property
    def alone(self) -> Schedule:
        """The plan without neighbours."""
        if self._alone is None:
            self._alone = self._model.alone()
        return self._alone

    def opening_prices(self) -> list[int]:
        """Return the midpoint of the own import and export price per slot, micro-units per kWh.

        On an island: of what the first and the last unserved kWh of normal load cost.
        """
        island = self.problem.island
        if island is not None:
            return [to_micro(sum(island.normal_per_kwh) / 2)] * self.problem.slots
        return [round_ratio(self._tariff.import_micro(s) + self._tariff.export_micro(s), 2) for s in self._slots]

    def bid(self, prices_micro: Sequence[int], anchor_wh: Sequence[float], rho_micro: int | None = None) -> list[int]:
        """Return the wanted net trade per slot at these prices, whole Wh, + buys.

        Under a charter with a feeder limit both vectors are twice as long: the second half holds the feeder's prices,
        which make importing from the grid dearer and exporting better paid, and the anchors of the exchange with the
        grid. So is the answer: its second half is the exchange with the grid, + imports.

        The same questions in the same order get the same answers on one machine. The solver's floats differ by some
        mW, rarely by half a W, with what it was asked before and between processors, so a bid at the edge of rounding
        may differ by 1 Wh. What all homes must agree on, prices, is computed from the published bids in integers.

        Args:
            prices_micro: Neighbourhood price per slot, micro-units per kWh.
            anchor_wh: Where the step size holds the bids to: own last bid minus the neighbourhood's mean.
            rho_micro: Step size from now on; None keeps the last one, at first the charter's.

        Raises:
            ValueError: If the vectors have neither one nor two entries per slot.
        """
        n, h = self.problem.slots, self.problem.slot_h
        prices, anchor_w = np.array(prices_micro) / MICRO, np.array(anchor_wh, dtype=float) / h
        if rho_micro is not None:
            self._rho = rho_micro / MICRO
        if prices.size not in (n, 2 * n) or anchor_w.size != prices.size:
            raise ValueError(f"{prices.size} prices and {anchor_w.size} anchors for a horizon of {n} slots")
        feeder = Feeder(price_per_kwh=prices[n:], anchor_w=anchor_w[n:]) if prices.size > n else None
        trade_w, grid_w = self._model.bids(prices[:n], anchor_w[:n], self._rho, feeder)
        lowest, highest = self._physical_wh()
        self._prices = list(prices_micro[:n])
        self._feeder_micro = None if feeder is None else list(prices_micro[n:])
        self.expected_wh = [int(e) for e in np.clip(np.rint(trade_w * h), lowest, highest)]
        self._grid_anchor_w = anchor_w[n:]
        return [*self.expected_wh, *([] if feeder is None else (int(e) for e in np.rint(grid_w * h)))]

    def _physical_wh(self) -> tuple[Floats, Floats]:
        """Return the whole Wh per slot between all that the home could sell and all that it could use."""
        p = self.problem
        return -np.floor((p.pv_w + self._discharge_w) * p.slot_h), np.floor((p.load_w + self._charge_w) * p.slot_h)

    def gain(self, trades_wh: Sequence[int], prices_micro: Sequence[int]) -> float:
        """Return what these trades of the horizon save against none, in currency, at the own forecasts.

        Trades that the home could not serve count as a loss without limit. A feeder's price counts as part of the
        tariff.

        Args:
            prices_micro: Of the trades; with the feeder's prices behind, or else those of the last bid count.
        """
        n = self.problem.slots
        feeder = list(prices_micro[n:]) or self._feeder_micro
        none = self.alone if feeder is None else self._model.with_trades(np.zeros(n), self._feeder(feeder))
        return none.cost - self._cost(np.array(trades_wh, dtype=float), prices_micro[:n], feeder)

    def _cost(self, trades_wh: Floats, prices_micro: Sequence[int], feeder_micro: Sequence[int] | None) -> float:
        schedule = self._model.with_trades(trades_wh / self.problem.slot_h, self._feeder(feeder_micro))
        if not schedule.deliverable:
            return float("inf")
        return schedule.cost + float(trades_wh @ np.array(prices_micro)) / MICRO / 1000

    def _feeder(self, prices_micro: Sequence[int] | None) -> Feeder | None:
        """Return the feeder at these prices, with the anchor of the last bid."""
        if prices_micro is None:
            return None
        return Feeder(price_per_kwh=np.array(prices_micro) / MICRO, anchor_w=self._grid_anchor_w)

    def keep(self, trade_wh: int, price_micro: int) -> int:
        """Return how much of a matched trade of the first slot to offer or accept: all, a half, a quarter, or nothing.

        What is kept lies within the own tariff and does not lose against not trading, whether or not the trades that
        are expected of later slots come about in the better of both cases.

        Args:
            trade_wh: + buys.
            price_micro: Of the contract, micro-units per kWh.
        """
        lowest, highest = self._own_prices()
        if (trade_wh > 0 and price_micro > highest) or (trade_wh < 0 and price_micro < lowest):
            return 0
        without = self._best_cost(0, price_micro)
        for part in (1, 2, 4):
            kept_wh = int(trade_wh / part)
            if kept_wh and self._best_cost(kept_wh, price_micro) <= without + allowed_loss(kept_wh):
                return kept_wh
        return 0

    def _own_prices(self) -> tuple[int, int]:
        """Return what the first slot's energy is worth to the home at least and at most, in micro-units per kWh."""
        if self.problem.island is not None:
            return 0, to_micro(self.problem.island.critical_per_kwh[1])
        extra = 0 if self._feeder_micro is None else self._feeder_micro[0]
        return self._tariff.export_micro(self.first) + extra, self._tariff.import_micro(self.first) + extra

    def _best_cost(self, trade_wh: int, price_micro: int) -> float:
        """Return the cost of the horizon with this trade in the first slot, later trades as expected, or none."""
        prices = [price_micro, *self._prices[1:]]
        lonely = np.zeros(self.problem.slots)
        lonely[0] = trade_wh
        expected = np.array([trade_wh, *self.expected_wh[1:]], dtype=float)
        return min(self._cost(trades, prices, self._feeder_micro) for trades in (lonely, expected))

    def schedule(self, committed_wh: Sequence[int], prices_micro: Sequence[int] | None = None) -> Plan:
        """Return the plan of the horizon with the trades that are bound.

        Args:
            committed_wh: Contracted net energy of the first slots, + bought. Later slots count with the trades
                expected, unless these need energy that the contracts leave no room for.
            prices_micro: Prices to show; default: those of the last bid.
        """
        rest = self.problem.slots - len(committed_wh)
        prices = np.array(self._prices if prices_micro is None else prices_micro) / MICRO
        h, feeder = self.problem.slot_h, self._feeder(self._feeder_micro)
        rho = 0.0 if feeder is None else self._rho
        expected_w = np.array([*committed_wh, *self.expected_wh[len(committed_wh) :]]) / h
        schedule = self._model.with_trades(expected_w, feeder, rho)
        if not schedule.deliverable:
            schedule = self._model.with_trades(np.array([*committed_wh, *([0] * rest)]) / h, feeder, rho)
        hours = [slot.start_at.astimezone(self._timezone).hour for slot in self._slots]
        words = reasons(self.problem, schedule, hours, self._own)
        if self._own is not None:
            schedule = replace(schedule, battery=self._own)
        capacity_wh = None if self._battery is None else max(self._battery.capacity_wh, 1.0)
        return Plan(
            first=self.first,
            problem=self._shown,
            schedule=schedule,
            soc_pct=None if capacity_wh is None else 100 * schedule.stored_wh / capacity_wh,
            price_per_kwh=prices,
            reasons=words,
            gave_way=self._gave_way(schedule),
        )

    def _gave_way(self, schedule: Schedule) -> tuple[str, ...]:
        """Return in words what wishes do not get."""
        things = {thing.name: thing for thing in self.problem.flexible}
        return tuple(
            things[name].missed(missing_wh, f"{self._slots[at].end_at.astimezone(self._timezone):%H:%M}")
            for name, (at, missing_wh) in schedule.gave_way().items()
        )
