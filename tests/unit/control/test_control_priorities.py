"""Who wins: the table, enumerated."""

import itertools

import pytest

from agent.control.priorities import WORDS, Band, Party, decide

BANDS = (None, Band(-6, -3), Band(-2, 2), Band(3, 6), Band(-6, 6))
WISHES = (None, Band(-5, -5), Band(1, 1), Band(7, 7))
GRID = range(-7, 8)


def away(power: int, band: Band) -> float:
    return max(band.low_w - power, power - band.high_w, 0.0)


def test_s11_the_stronger_party_wins_in_every_combination() -> None:
    """Brute force: the power that is nearest to the strongest party's band, among those to the next one's, and so on;
    among what is left, the one nearest to rest."""
    tried = 0
    for limits in itertools.product(BANDS, repeat=4):
        for wishes in itertools.product(WISHES, repeat=2):
            bands = {party: band for party, band in zip(Party, (*limits, *wishes), strict=True) if band is not None}
            decided = decide(bands)
            best = min(GRID, key=lambda power: (*(away(power, bands[party]) for party in sorted(bands)), abs(power)))
            assert decided.power_w == best, bands
            tried += 1
    assert tried == 5**4 * 4**2


def test_s11_the_order_is_the_one_that_was_promised() -> None:
    order = [Party.BATTERY, Party.GRID, Party.EXTERNAL, Party.OWNER, Party.CONTRACT, Party.PRICE]
    assert sorted(Party) == order
    assert WORDS.keys() == set(order)
    for stronger, weaker in itertools.combinations(order, 2):
        decided = decide({weaker: Band(5, 5), stronger: Band(-2, -1)})
        assert (decided.power_w, decided.held_by) == (-1, stronger)


@pytest.mark.parametrize(
    ("bands", "held_by"),
    [
        ({Party.OWNER: Band(-3, 3), Party.PRICE: Band(2, 2)}, None),
        ({Party.OWNER: Band(-3, 3), Party.PRICE: Band(4, 4)}, Party.OWNER),
        ({Party.EXTERNAL: Band(-1, 1), Party.OWNER: Band(-3, 3), Party.PRICE: Band(4, 4)}, Party.EXTERNAL),
        ({Party.EXTERNAL: Band(-1, 9), Party.OWNER: Band(-3, 3), Party.PRICE: Band(4, 4)}, Party.OWNER),
        ({Party.PRICE: Band(4, 4)}, None),
        ({}, None),
    ],
)
def test_who_held_the_wish_back_is_named(bands: dict[Party, Band], held_by: Party | None) -> None:
    assert decide(bands).held_by is held_by


def test_an_impossible_band_is_the_point_in_its_middle() -> None:
    assert decide({Party.BATTERY: Band(4, 2), Party.PRICE: Band(0, 0)}).power_w == 3
