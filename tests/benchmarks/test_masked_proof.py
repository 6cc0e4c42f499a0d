"""The proof on few slots: what sees through open bids is no better than chance on masked ones."""

import random
from pathlib import Path

import masked_proof
import pytest
from masked_proof import capture, guess

from coordinator.masking import PairMasks

SLOTS = 14


@pytest.fixture(autouse=True)
def _one_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ledgers draw their incarnation: drawn alike, the same is guessed each time the test runs."""
    draw = random.Random(1)
    monkeypatch.setattr("secrets.randbits", draw.getrandbits)
    monkeypatch.setattr("secrets.token_hex", lambda size: draw.randbytes(size).hex())


@pytest.mark.parametrize("masked", [True, False])
def test_nobody_but_the_two_can_tell_which_has_the_battery(tmp_path: Path, masked: bool) -> None:
    verdict = guess(capture(tmp_path, masked=masked, slots=SLOTS))
    assert verdict.slots == SLOTS
    assert verdict.tells is not masked


def test_masks_that_come_again_in_every_round_would_be_seen_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A planted bug: the same mask for two inputs shows their difference."""
    share = PairMasks.share
    monkeypatch.setattr(PairMasks, "share", lambda self, numbers, roster, purpose: share(self, numbers, roster, ""))
    assert guess(capture(tmp_path, masked=True, slots=SLOTS)).tells
    assert masked_proof.LEVEL == 0.01
