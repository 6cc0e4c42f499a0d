"""Desks of a masked community together: what they trade, what they show, and what stops what."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from neighbourhood import START, Neighbourhood, ScriptedHome

from coordinator.balancing import Numbers
from coordinator.charter import Rules
from coordinator.contracts import Contract
from coordinator.masked_events import MaskedFinished
from coordinator.masked_sealing import SIZES
from coordinator.messages import ADAPTER, Sealed
from coordinator.pairing import rotation
from coordinator.sessions import Session
from coordinator.slots import Slot

RULES = Rules(horizon_slots=4, masked=True, round_limit=12)
SLOT = Slot.at(START, RULES.slot_s).shifted(1)
OPEN_KINDS = {"presence", "ready", "roster", "share", "position", "deviation_share", "sealed", "heads"}


class Fixed(ScriptedHome):
    """Wants an amount of its own in every slot, at any price; its meter shows a surprise."""

    def __init__(self, rules: Rules, wish_wh: int, surprise_wh: int = 0) -> None:
        super().__init__(rules=rules, seed=0)
        self._wish_wh, self._surprise_wh = wish_wh, surprise_wh

    def bid(self, prices_micro: Sequence[int], anchor_wh: Sequence[float], rho_micro: int | None = None) -> list[int]:
        return [self._wish_wh] * len(prices_micro)

    def surprise_wh(self, slot: int) -> int:
        return self._surprise_wh


def street(folder: Path, wishes: Sequence[int], surprises: Sequence[int] | None = None, **more: Any) -> Neighbourhood:
    rules = more.pop("rules", RULES)
    surprises = surprises or [0] * len(wishes)
    make = lambda n, rules: Fixed(rules, wishes[n], surprises[n])  # noqa: E731
    return Neighbourhood(folder, homes=len(wishes), rules=rules, make_home=make, **more)


def on_the_wire(made: Neighbourhood) -> Counter[str]:
    return Counter(ADAPTER.validate_json(wire.partition(b"\n")[0]).kind for _, _, wire in made.sent)


def contracts(made: Neighbourhood, slot: Slot = SLOT) -> dict[str, Contract]:
    return {c.id: c for desk in made.desks.values() for c in desk.trader.book.contracts(slot.key)}


@pytest.mark.parametrize(
    "wishes",
    [
        (900, 800, -300, 700, -100),
        (-900, -800, 300, -700, 100),
        (11, 12, 13, -1, -10, -25, 400, -400),
    ],
)
def test_as_much_is_traded_as_both_sides_have(tmp_path: Path, wishes: Sequence[int]) -> None:
    made = street(tmp_path, wishes)
    made.run(SLOT.start_at)
    bought, sold = sum(w for w in wishes if w > 0), -sum(w for w in wishes if w < 0)
    assert sum(c.energy_wh for c in contracts(made).values()) == min(bought, sold)
    assert all(isinstance(home.results[0], MaskedFinished) for home in made.homes.values())
    assert all(home.results[0].unmatched_wh == abs(bought - sold) for home in made.homes.values())
    for identity, wish in zip(made.identities, wishes, strict=True):
        net_wh = made.desks[identity.id].trader.book.net_wh(Session(SLOT.key))
        assert 0 <= net_wh <= wish or wish <= net_wh <= 0


def test_nothing_but_noise_and_sealed_messages_is_on_the_wire(tmp_path: Path) -> None:
    made = street(tmp_path, (500, -400, 300, -600, 200), (30, -20, 0, 10, -40))
    made.run_slots(3)
    assert set(on_the_wire(made)) <= OPEN_KINDS
    sizes, roots = set(), set()
    for _, _, wire in made.sent:
        message = ADAPTER.validate_json(wire.partition(b"\n")[0])
        if isinstance(message, Sealed):
            sizes.add(len(message.body))
        elif message.kind == "position":
            assert (message.sold_wh, message.bought_wh) == (0, 0)
            roots.add(message.root)
    assert len(sizes) == 1
    assert SIZES[0] < min(sizes) < 2 * SIZES[0]
    result = made.audit()
    assert result.contracts_counted > 6
    assert (result.contracts_void, result.ledger_mismatches, result.wh_sold_twice) == (0, 0, 0)


def test_what_the_meters_show_beyond_is_traded_in_sealed_pairs_too(tmp_path: Path) -> None:
    made = street(tmp_path, (500, -400, 300, -600, 200), (120, -70, 0, -90, 0))
    made.run_slots(3)
    afterwards = [c for c in contracts(made).values() if c.trade == "residual"]
    assert sum(c.energy_wh for c in afterwards) == 120
    assert "residual" not in on_the_wire(made)
    assert made.audit().contracts_residual >= 1


def test_loss_duplication_and_delay_never_make_two_ledgers_disagree(tmp_path: Path) -> None:
    wishes = (500, -400, 300, -600, 200)
    made = street(tmp_path, wishes, seed=1, loss=0.1, duplicates=0.2, delay_s=(0.1, 8))
    made.run_slots(3)
    made.come_to_rest()
    result = made.audit()
    assert result.contracts_counted > 0
    assert (result.ledger_mismatches, result.wh_sold_twice) == (0, 0)


def test_a_home_that_dies_in_the_middle_costs_one_slot_of_masks_and_no_trade(tmp_path: Path) -> None:
    made = street(tmp_path, (500, -400, 300, -600, 200, -100), delay_s=(3.0, 3.0))
    dead = made.identities[5]
    made.run(SLOT.start_at - timedelta(seconds=RULES.rounds_s - 10))
    made.stop(dead.id)
    made.run_slots(3)
    others = [home for name, home in made.homes.items() if name != dead.id]
    for home in others:
        first, second = home.results[:2]
        assert first.opened in {"a home fell silent", "a neighbour gave up"}
        assert isinstance(second, MaskedFinished)
        assert second.homes == 5
    bids = [ADAPTER.validate_json(wire.partition(b"\n")[0]) for _, _, wire in made.sent if b'"kind":"bid"' in wire]
    assert bids
    assert all((bid.slot, len(bid.energy_wh)) == (SLOT.key, 1) for bid in bids)
    assert sum(c.energy_wh for c in contracts(made).values()) > 900


def test_a_home_that_restarts_in_the_middle_says_no_second_share(tmp_path: Path) -> None:
    made = street(tmp_path, (500, -400, 300, -600, 200), delay_s=(3.0, 3.0))
    home = made.identities[0]
    made.run(SLOT.start_at - timedelta(seconds=RULES.rounds_s - 10))
    made.stop(home.id)
    made.start(home)
    said_before = len(made.sent)
    made.run(SLOT.start_at)
    later = [ADAPTER.validate_json(w.partition(b"\n")[0]) for who, _, w in made.sent[said_before:] if who == home.id]
    assert not [m for m in later if m.kind in {"share", "roster", "bid"} and m.slot == SLOT.key]


def test_a_home_that_stalls_on_purpose_is_left_out_of_the_next_slot(tmp_path: Path) -> None:
    made = street(tmp_path, (500, -400, 300, -600, 200, -100))
    liar = made.identities[5].id
    made.tamper = lambda who, to, wire: None if who == liar and b'"kind":"share"' in wire else wire
    made.run_slots(4)
    masked = [isinstance(result, MaskedFinished) for result in made.homes[made.identities[0].id].results]
    assert masked == [False, True, False, True]


def test_who_asks_and_does_not_buy_is_told_nothing_in_the_next_slot(tmp_path: Path) -> None:
    made = street(tmp_path, (500, -400, -300, -600, -200))
    curious = made.identities[0].id
    offer = made.desks[curious].trader.book.offer
    made.desks[curious].trader.book.offer = lambda session, **terms: []  # type: ignore[method-assign]
    made.run(SLOT.start_at)
    assert contracts(made) == {}
    made.desks[curious].trader.book.offer = offer  # type: ignore[method-assign]
    made.run(SLOT.end_at)
    assert contracts(made, SLOT.shifted(1)) == {}
    made.run(SLOT.shifted(1).end_at)
    assert sum(c.energy_wh for c in contracts(made, SLOT.shifted(2)).values()) == 500


def test_a_seller_that_takes_more_than_a_buyer_pays_shows_it_nothing(tmp_path: Path) -> None:
    """And the buyer is not thought curious for it: in the next slot, at another price, they trade."""
    made = street(tmp_path, (500, -400, -300, -600, -200))
    dear = made.homes[made.identities[1].id]
    dear.tariff_micro = lambda slot: (300_000, 60_000 if slot.key > SLOT.key else 290_000)
    made.run(SLOT.end_at)
    seller = made.identities[1].id
    assert seller not in {c.seller for c in contracts(made).values()}
    pairing = made.desks[seller].trader._masked.pairing
    assert pairing._curious.out(SLOT.shifted(1).key) == frozenset()


def test_only_the_sum_of_deviations_is_known_and_a_silent_home_ends_it_for_the_slot(tmp_path: Path) -> None:
    made = street(tmp_path, (500, -400, 300, -600, 200))
    made.run(SLOT.start_at + timedelta(seconds=5))
    told = {home: Numbers(power_w=100 * (n + 1), give_w=10.0 * n, take_w=20.0 * n) for n, home in enumerate(made.desks)}
    for home, desk in made.desks.items():
        desk.say_deviation(SLOT, told[home], made.now, 5.0)
        desk.say_deviation(SLOT, Numbers(power_w=9_999), made.now, 5.0)
    made.run_on(0.1)
    for home, desk in made.desks.items():
        heard = desk.neighbours.fresh(made.now, 60)
        assert len(heard) == 4
        assert sum(each.power_w for each in heard) == 1500 - told[home].power_w
        assert sum(each.take_w for each in heard) == 200 - told[home].take_w
    for home in list(made.desks)[1:]:
        made.desks[home].say_deviation(SLOT, told[home], made.now + timedelta(seconds=60), 5.0)
    made.run_on(2)
    assert all(desk.neighbours.fresh(made.now, 60) == [] for desk in made.desks.values())
    shares = [wire for _, _, wire in made.sent if b'"kind":"deviation_share"' in wire]
    assert len(shares) == 9


def test_a_clock_set_back_gives_no_second_number_for_a_tick(tmp_path: Path) -> None:
    made = street(tmp_path, (500, -400, 300, -600, 200))
    made.run(SLOT.start_at + timedelta(seconds=30))
    desk = made.desks[made.identities[0].id]
    count = lambda: sum(b'"kind":"deviation_share"' in wire for _, _, wire in made.sent)  # noqa: E731
    desk.say_deviation(SLOT, Numbers(power_w=5), made.now, 5.0)
    for back_s in (0, 5, 25):
        desk.say_deviation(SLOT, Numbers(power_w=7), made.now - timedelta(seconds=back_s), 5.0)
    assert count() == 1


def test_buyers_ask_everybody_and_no_two_the_same_home_first() -> None:
    homes = [f"{n}" for n in range(6)]
    orders = {home: rotation(homes, home, 41) for home in homes}
    assert all(sorted([home, *order]) == homes for home, order in orders.items())
    assert len({order[0] for order in orders.values()}) == 6
    assert rotation(homes, "0", 42) != orders["0"]


def test_an_open_community_says_not_a_byte_more(tmp_path: Path) -> None:
    made = street(tmp_path, (500, -400, 300, -600, 200), rules=Rules(horizon_slots=4, masked=False))
    made.run_slots(2)
    assert not set(on_the_wire(made)) & {"roster", "share", "abandon", "ask", "quote", "sealed", "deviation_share"}
    assert "masked" not in made.charter.canonical.decode()
