"""Who plans: every home for itself, trading or not, or one optimiser for all. The decisions are the product's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agent.planning.problem import Floats
from agent.study.foresight import Expectation
from agent.study.joint_plan import JointPlan
from agent.study.passing import Deal
from agent.study.quick_home import Outlook, QuickHome
from agent.study.round_table import Outcome, carried_on, matched_wh, negotiate
from agent.study.street import Street
from coordinator.matching import scale_down
from coordinator.negotiation import Finished
from coordinator.pricing import floor_price
from coordinator.quantities import MICRO


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What is decided before a slot, arrays of shape (homes,).

    Args:
        battery_w: + discharges.
        grid_w: Import minus export at the tariff, trades not counted.
        value_per_kwh: Of energy stored at the slot's end.
    """

    battery_w: Floats
    grid_w: Floats
    value_per_kwh: Floats
    deals: tuple[Deal, ...] = ()
    rounds: int = 0


def home_id(number: int) -> str:
    """Return a home's name in negotiation and matching, in the order of its number."""
    return f"{number:04d}"


class Homes:
    """Every home plans for itself, with or without trading."""

    def __init__(self, street: Street, *, trading: bool) -> None:
        self._street, self._trading = street, trading
        options = street.options
        self._homes = [
            QuickHome(
                life.battery,
                horizon=options.rules.horizon_slots,
                slot_h=street.hours,
                wear_per_kwh=options.wear_per_kwh,
                rho_micro=options.rules.rho_micro,
                rise_per_kwh_kw=options.rise_per_kwh_kw,
            )
            for life in street.lives.homes
        ]
        self._last: Outcome | None = None

    def plan(self, t: int, stored_wh: Floats, expected: Expectation) -> Planned:
        for i, home in enumerate(self._homes):
            home.begin(self._outlook(i, t, float(stored_wh[i]), expected))
        deals, rounds = self._trade(t) if self._trading else ((), 0)
        bound = np.zeros(len(self._homes), dtype=np.int64)
        for deal in deals:
            bound[deal.buyer] += deal.energy_wh
            bound[deal.seller] -= deal.energy_wh
        steps = [home.step(int(wh), alone=not self._trading) for home, wh in zip(self._homes, bound, strict=True)]
        return Planned(
            battery_w=np.array([step.battery_w for step in steps]),
            grid_w=np.array([step.grid_w for step in steps]),
            value_per_kwh=np.array([step.stored_value_per_kwh for step in steps]),
            deals=tuple(deals),
            rounds=rounds,
        )

    def _outlook(self, i: int, t: int, stored_wh: float, expected: Expectation) -> Outlook:
        street, n = self._street, expected.load_w.shape[1]
        return Outlook(
            load_w=expected.load_w[i],
            pv_w=expected.pv_w[i],
            import_per_kwh=street.import_micro[i, t : t + n] / MICRO,
            export_per_kwh=street.export_micro[i, t : t + n] / MICRO,
            stored_wh=stored_wh,
            terminal_per_kwh=street.options.terminal_per_kwh[i],
        )

    def _trade(self, t: int) -> tuple[list[Deal], int]:
        street, rules = self._street, self._street.options.rules
        slot = street.slot(t)
        n = rules.horizon_slots
        openings: Mapping[str, Sequence[int]] = {
            home_id(i): ((street.import_micro[i, t : t + n] + street.export_micro[i, t : t + n]) // 2).tolist()
            for i in range(len(self._homes))
        }
        bidders = {home_id(i): home for i, home in enumerate(self._homes)}
        warm = None
        if self._last is not None:
            openings, warm = carried_on(self._last, openings, slot)
        self._last = negotiate(bidders, openings, slot=slot, rules=rules, warm=warm)
        # what a home bid for later slots and nobody matched, it will not get: a plan must not count on it
        for name, trades_wh in matched_wh(self._last).items():
            bidders[name].expect(trades_wh)
        return self._contracts(t, self._last), self._last.rounds

    def _contracts(self, t: int, outcome: Outcome) -> list[Deal]:
        """Return what becomes a contract: matched, offered and accepted as `coordinator.trader` does."""
        bids = outcome.agreed.binding_bids_wh
        prices = {home: self._price(home, t, outcome.agreed) for home, wh in bids.items() if wh}
        wanted: dict[str, dict[str, int]] = {}
        for pair in outcome.agreed.matched():
            wanted.setdefault(pair.buyer, {})[pair.seller] = pair.energy_wh
        mandates: dict[str, int] = {}
        deals = []
        for buyer, parts in wanted.items():
            price = prices[buyer]
            kept_wh = self._homes[int(buyer)].keep(sum(parts.values()), price)
            for seller, energy_wh in sorted(scale_down(parts, kept_wh, 0).items()):
                if seller not in mandates:
                    mandates[seller] = -self._homes[int(seller)].keep(bids[seller], prices[seller])
                if energy_wh <= mandates[seller] and price >= self._floor(seller, t, prices[seller]):
                    mandates[seller] -= energy_wh
                    deals.append(
                        Deal(seller=int(seller), buyer=int(buyer), energy_wh=energy_wh, price_micro=price, kind="slot")
                    )
        return deals

    def _price(self, home: str, t: int, agreed: Finished) -> int:
        street = self._street
        tariff_micro = int(street.import_micro[int(home), t]), int(street.export_micro[int(home), t])
        return agreed.contract_price(street.options.rules.price_rule, tariff_micro)

    def _floor(self, seller: str, t: int, price_micro: int) -> int:
        own_micro = int(self._street.export_micro[int(seller), t])
        return floor_price(self._street.options.rules, price_micro=price_micro, export_micro=own_micro)


class Central:
    """One optimiser plans for all."""

    def __init__(self, street: Street) -> None:
        self._street = street
        tariffs: dict[bytes, int] = {}
        homes = street.lives.homes
        self._groups = np.array(
            [tariffs.setdefault(h.import_micro.tobytes() + h.export_micro.tobytes(), len(tariffs)) for h in homes]
        )
        self._leads = [int(np.argmax(self._groups == group)) for group in range(len(tariffs))]
        self._joint = JointPlan(
            [life.battery for life in homes],
            self._groups,
            horizon=street.options.rules.horizon_slots,
            slot_h=street.hours,
            wear_per_kwh=street.options.wear_per_kwh,
        )

    def plan(self, t: int, stored_wh: Floats, expected: Expectation) -> Planned:
        street, n = self._street, expected.load_w.shape[1]
        step = self._joint.step(
            load_w=expected.load_w,
            pv_w=expected.pv_w,
            stored_wh=stored_wh,
            import_per_kwh=street.import_micro[self._leads, t : t + n] / MICRO,
            export_per_kwh=street.export_micro[self._leads, t : t + n] / MICRO,
            terminal_per_kwh=np.array(street.options.terminal_per_kwh),
        )
        return Planned(
            battery_w=step.battery_w,
            grid_w=expected.load_w[:, 0] - expected.pv_w[:, 0] - step.battery_w,
            value_per_kwh=step.stored_value_per_kwh,
        )
