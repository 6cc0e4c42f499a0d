"""250 homes with two tariffs negotiate one day from cold: what every round captures of the central optimum's gain, and
what is left of it when every home loses a fifth of the others' bids.

    python tests/benchmarks/negotiation_large.py ../shared/data/gecad250 --rounds 30 --loss 0.2
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path

from recorded_homes import planner_of

from agent.planning.central import central_optimum
from agent.planning.planner import Planner
from agent.simulator.community import load_community
from agent.study.round_table import Outcome, matched_trades, matched_wh, negotiate
from coordinator.charter import Rules
from coordinator.negotiation import Finished
from coordinator.slots import Slot


class Street:
    """The homes of a folder whose recorded first day is their forecast, and what one optimiser would save them."""

    def __init__(self, folder: Path, rounds: int, **changes: int | str) -> None:
        community = load_community(folder)
        never_at_rest = {"price_change_micro": 0, "unmatched_wh": 0, "unmatched_pct": 0, "horizon_pct": 0}
        options: dict[str, int | str] = {"round_limit": rounds, **never_at_rest, **changes}
        self.rules = Rules.for_slot(community.slot_s, 86400 // community.slot_s, **options)
        self.first = Slot.at(community.start_at, community.slot_s)
        self.planners: dict[str, Planner] = {
            home.name: planner_of(community, home, self.first, self.rules, known=True) for home in community.homes
        }
        self.alone = sum(planner.alone.cost for planner in self.planners.values())
        self.central = central_optimum([planner.problem for planner in self.planners.values()])

    def limited_to(self, rounds: int) -> "Street":
        """Return the same street under a charter with this round limit."""
        other = copy(self)
        other.rules = self.rules.model_copy(update={"round_limit": rounds})
        return other

    def share(self, trades: Mapping[str, Sequence[int]], prices: Sequence[int]) -> float:
        """Return (alone - traded) / (alone - central); what one pays the other receives."""
        gained = sum(planner.gain(trades[name], prices) for name, planner in self.planners.items())
        return gained / (self.alone - self.central)

    def by_round(self, wanted: Sequence[int]) -> tuple[Outcome, dict[int, float]]:
        """Negotiate without loss; return the end and what the bids of the wanted rounds captured."""
        shares: dict[int, float] = {}

        def judge(result: Finished) -> None:
            if result.rounds in wanted:
                shares[result.rounds] = self.share(matched_trades(result), result.prices_micro)

        return self.negotiated(on_round=judge), shares

    def negotiated(self, **options: object) -> Outcome:
        openings = {name: planner.opening_prices() for name, planner in self.planners.items()}
        return negotiate(self.planners, openings, slot=self.first, rules=self.rules, **options)  # type: ignore[arg-type]

    def under_loss(self, loss: float, seed: int) -> tuple[Outcome, float, float]:
        """Negotiate with every home losing its own copies.

        Returns:
            The end, what the last bids captured, and what is left of it when every buyer matches by its own view.
        """
        outcome = self.negotiated(loss=loss, seed=seed)
        prices = outcome.prices_micro
        return outcome, self.share(matched_trades(outcome.agreed), prices), self.share(matched_wh(outcome), prices)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--loss", type=float, default=0.0)
    args = parser.parse_args()
    street = Street(args.folder, args.rounds)
    if args.loss:
        outcome, agreed, by_view = street.under_loss(args.loss, seed=1)
        found = {"agreed": agreed, "by_view": by_view}
    else:
        outcome, shares = street.by_round(range(10, args.rounds + 1))
        found = {str(number): share for number, share in shares.items()}
    names = ("ms_per_answer", "ms_averaging", "bytes_per_home_per_round")
    print(json.dumps({"captured": found, **{name: getattr(outcome, name) for name in names}}))


if __name__ == "__main__":
    main()
