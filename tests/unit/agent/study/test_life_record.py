"""What is kept of every slot of the life with trading."""

from datetime import UTC
from pathlib import Path

import numpy as np
from small_street import FIRST

from agent.study.foresight import Expectation
from agent.study.passing import Deal, Lived
from agent.study.record import Record, Recorder

HORIZON = 24


def lived(step: int, *deals: Deal) -> Lived:
    return Lived(
        slot=FIRST.shifted(step),
        net_wh=np.array([step, -step]),
        battery_wh=np.array([100.0, 0.0]),
        stored_wh=np.array([1000.0 + step, 0.0]),
        deals=deals,
    )


def foreseen(step: int) -> Expectation:
    """Return a forecast that tells its issue (thousands) from the slot ahead."""
    ahead = 1000.0 * step + np.arange(HORIZON)
    return Expectation(load_w=np.array([ahead, ahead]), pv_w=np.zeros((2, HORIZON)))


def record_of(tmp_path: Path, slots: int, *, first: int = 0) -> Record:
    recorder = Recorder(UTC, 1.0)
    for step in range(slots):
        deal = Deal(seller=1, buyer=0, energy_wh=10 + step, price_micro=200_000, kind="residual")
        recorder.add(lived(first + step, *([deal] if step % 2 else [])), foreseen(first + step))
    np.savez(tmp_path / "record.npz", **recorder.arrays())
    return Record.read(tmp_path / "record.npz")


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    record = record_of(tmp_path, 4)
    assert record.net_wh.tolist() == [[0, 0], [1, -1], [2, -2], [3, -3]]
    assert record.stored_wh[:, 0].tolist() == [1000.0, 1001.0, 1002.0, 1003.0]
    assert record.battery_w[:, 0].tolist() == [100.0] * 4
    assert [(step, deal.energy_wh, deal.kind) for step, deal in record.trades()] == [
        (1, 11, "residual"),
        (3, 13, "residual"),
    ]
    assert record.traded_wh().tolist() == [[0, 0], [11, -11], [0, 0], [13, -13]]


def test_a_part_without_trades_has_an_empty_record_of_them(tmp_path: Path) -> None:
    record = record_of(tmp_path, 1)
    assert record.trades() == []
    assert not record.traded_wh().any()


def test_the_forecast_kept_of_a_slot_is_the_one_of_its_midnight(tmp_path: Path) -> None:
    # from 22:00 on: the first two slots have no midnight before them, and go by the forecast they begin with
    expected = record_of(tmp_path, 50, first=22).expected_load_w[:, 0]
    assert expected[:2].tolist() == [22_000.0, 22_001.0]
    assert expected[2:26].tolist() == [24_000.0 + hour for hour in range(24)]
    assert expected[26:].tolist() == [48_000.0 + hour for hour in range(24)]
