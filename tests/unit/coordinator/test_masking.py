"""Pairwise masks: exact in the sum of all, noise in anything less."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from coordinator.errors import LocalProtocolError
from coordinator.identity import Identity
from coordinator.masking import LARGEST, PairMasks, total, words_of

HOMES = sorted(Identity.from_seed(bytes([n]) * 32).id for n in range(9))
SECRETS = {frozenset(pair): bytes([n]) * 32 for n, pair in enumerate(itertools.combinations(HOMES, 2), start=1)}
MASKS = {me: PairMasks(me, {h: SECRETS[frozenset((me, h))] for h in HOMES if h != me}) for me in HOMES}

NUMBERS = st.integers(-LARGEST, LARGEST)


@settings(deadline=None, max_examples=40)
@given(data=st.data(), roster=st.sets(st.sampled_from(HOMES), min_size=2), length=st.integers(1, 97))
def test_the_sum_over_any_roster_is_exact(data: st.DataObject, roster: set[str], length: int) -> None:
    inputs = {home: data.draw(st.lists(NUMBERS, min_size=length, max_size=length)) for home in roster}
    shares = [words_of(MASKS[home].share(inputs[home], roster, "bid|1")) for home in roster]
    assert total(shares) == tuple(map(sum, zip(*inputs.values(), strict=True)))


def test_equal_words_for_another_purpose_or_roster_are_masked_otherwise() -> None:
    me, others = HOMES[0], HOMES[1:]
    shares = [
        MASKS[me].share([5] * 4, HOMES, "bid|1"),
        MASKS[me].share([5] * 4, HOMES, "bid|2"),
        MASKS[me].share([5] * 4, [me, *others[1:]], "bid|1"),
    ]
    words = {word for share in shares for word in words_of(share).tolist()}
    assert len(words) == 12


def test_a_home_without_a_secret_is_in_no_roster_and_no_number_is_too_large_for_the_sum() -> None:
    with pytest.raises(LocalProtocolError, match="too large"):
        MASKS[HOMES[0]].share([LARGEST + 1], HOMES, "bid|1")
    with pytest.raises(KeyError):
        MASKS[HOMES[0]].share([1], [HOMES[0], "stranger"], "bid|1")


@pytest.mark.parametrize("left_out", [HOMES[0], HOMES[-1]])
def test_without_one_home_the_sum_is_spread_evenly_over_all_words(left_out: str) -> None:
    """Whatever is summed up: here all bid the same."""
    shares = {home: words_of(MASKS[home].share([1000] * 4000, HOMES, "bid|1")) for home in HOMES}
    sums = np.array(total(words for home, words in shares.items() if home != left_out), dtype=np.int64)
    assert kstest(sums.astype(float) / 2.0**32 + 0.5, "uniform").pvalue > 0.01


@pytest.mark.parametrize("share", ["AAAA", "no base64", "AAAAAAAAAAF="])
def test_what_is_no_row_of_words_is_refused(share: str) -> None:
    with pytest.raises(ValueError, match=r"size|base64|padding"):
        words_of(share)
