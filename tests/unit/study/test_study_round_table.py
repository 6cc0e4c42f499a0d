"""Many homes at one table come to what the same homes come to as Negotiations of their own."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from agent.study.round_table import Outcome, carried_on, matched_wh, negotiate
from coordinator.charter import Rules
from coordinator.codec import encode
from coordinator.identity import Identity
from coordinator.messages import Bid
from coordinator.negotiation import Finished
from coordinator.slots import Slot

RULES = Rules.for_slot(900, 6)
SLOT = Slot(1_780_000_200 // 900 * 900, 900)
ALMOST_NONE = 1e-300
"""A loss that never happens, but makes every home a `Negotiation` of its own."""


class Wisher:
    """Wants `wishes_wh` (+ buys) as long as the price is right, with a value of its own per slot; answers exactly."""

    def __init__(self, seed: int, rules: Rules = RULES) -> None:
        luck = random.Random(seed)
        self._rules = rules
        self.wishes_wh = [luck.randint(-900, 900) for _ in range(rules.horizon_slots)]
        self.values = [luck.randint(60_000, 300_000) for _ in self.wishes_wh]

    def bid(self, prices_micro: Sequence[int], anchor_wh: Sequence[float], rho_micro: int | None = None) -> list[int]:
        per_wh = (rho_micro or self._rules.rho_micro) * 3600 / self._rules.slot_s
        wanted = [
            anchor - (price - value) / per_wh
            for price, anchor, value in zip(prices_micro, anchor_wh, self.values, strict=True)
        ]
        return [round(min(max(e, min(w, 0)), max(w, 0))) for e, w in zip(wanted, self.wishes_wh, strict=True)]


def homes(count: int) -> dict[str, Wisher]:
    return {f"home-{n}": Wisher(n) for n in range(count)}


def held(count: int = 7, rules: Rules = RULES, **options: object) -> Outcome:
    bidders = homes(count)
    openings = {name: [100_000 + 1000 * n] * 6 for n, name in enumerate(bidders)}
    return negotiate(bidders, openings, slot=SLOT, rules=rules, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("limit", [2, 7, 40])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_short_way_and_a_negotiation_per_home_come_to_the_same(count: int, limit: int) -> None:
    rules = RULES.model_copy(update={"round_limit": limit})
    warm = {f"home-{n}": [50 * n, -20 * n, 0, 3, 5, -7] for n in range(count)}
    short, long = held(count, rules, warm=warm), held(count, rules, warm=warm, loss=ALMOST_NONE)
    assert short.agreed == long.agreed
    assert all(view == short.agreed for view in long.views.values())
    assert (short.answers, short.bytes_per_home_per_round) == (long.answers, long.bytes_per_home_per_round)


def test_every_round_is_told_with_its_prices_and_bids() -> None:
    short: list[Finished] = []
    long: list[Finished] = []
    outcome = held(on_round=short.append)
    held(on_round=long.append, loss=ALMOST_NONE)
    assert short == long
    assert [told.rounds for told in short] == list(range(1, outcome.rounds + 1))
    assert replace(short[-1], converged=outcome.converged) == outcome.agreed


def test_losses_repeat_with_their_seed_and_leave_every_home_its_own_view() -> None:
    once, again, other = (held(loss=0.3, seed=seed) for seed in (1, 1, 2))
    assert once.views == again.views
    assert once.views != other.views
    assert len({view.prices_micro for view in once.views.values()}) > 1


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_matched_trades_balance_and_nobody_trades_more_than_it_bid(loss: float) -> None:
    outcome = held(loss=loss)
    trades = matched_wh(outcome)
    assert any(any(wh) for wh in trades.values())
    assert [sum(column) for column in zip(*trades.values(), strict=True)] == [0] * 6
    for home, traded in trades.items():
        for wh, bid in zip(traded, outcome.bids_wh[home], strict=True):
            if loss == 0.0 or wh < 0:
                assert abs(wh) <= abs(bid)
            assert wh * bid >= 0


def test_a_warm_start_from_the_last_horizon_is_shorter() -> None:
    cold = held()
    openings = {name: [100_000] * 6 for name in homes(7)}
    shifted, warm = carried_on(cold, openings, SLOT.shifted(1))
    assert shifted["home-3"] == [*cold.prices_micro[1:], 100_000]
    assert warm["home-3"] == [*cold.views["home-3"].anchor_wh[1:], 0.0]
    far, nothing = carried_on(cold, openings, SLOT.shifted(6))
    assert (far["home-3"], nothing["home-3"]) == ([100_000] * 6, [0] * 6)
    anchors = {name: view.anchor_wh for name, view in cold.views.items()}
    same = negotiate(homes(7), dict.fromkeys(openings, cold.prices_micro), slot=SLOT, rules=RULES, warm=anchors)
    assert same.rounds < cold.rounds


def test_bytes_are_those_of_the_signed_message() -> None:
    outcome = held(2, RULES.model_copy(update={"round_limit": 2}))
    identity = Identity.from_seed(bytes(32))
    sizes = []

    def weigh(result: Finished) -> None:
        for energy_wh in result.bids_wh.values():
            bid = Bid(
                community="0" * 16, sender=identity.id, to="*", inc=1, seq=10**6, sent_ms=SLOT.key * 1000,
                expires_ms=SLOT.key * 1000, slot=SLOT.key, round=10, price_hash="0" * 32,
                energy_wh=tuple(energy_wh),
            )  # fmt: skip
            sizes.append(len(encode(bid, identity).wire))

    held(2, RULES.model_copy(update={"round_limit": 2}), on_round=weigh)
    assert outcome.bytes_per_home_per_round == sum(sizes) / len(sizes)
