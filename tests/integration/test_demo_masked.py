"""A small neighbourhood of real homes with masked bids: real brokers, devices and agents."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from demo_helpers import check_report

from agent.demo.director import Demo
from agent.demo.options import DemoOptions
from coordinator.charter_file import load_charter
from coordinator.ledger_store import LedgerStore
from coordinator.messages import ADAPTER


@pytest.mark.timeout(180)
def test_homes_with_masked_bids_trade_and_tell_nobody_their_totals(tmp_path: Path) -> None:
    demo = Demo(DemoOptions(folder=tmp_path, homes=5, hours=0.25, speed=90.0, page=False, masked=True))
    report = asyncio.run(demo.run(lambda progress: None))
    check_report(report, 5)
    assert report["ledger_mismatches"] == report["wh_sold_twice"] == 0
    charter = load_charter(tmp_path / "charter.json", datetime.now(UTC))
    assert charter.rules.masked
    positions = []
    for member in charter.members:
        with LedgerStore(tmp_path / "homes" / member.name / "data" / "ledger.db", member.id) as store:
            said = [ADAPTER.validate_json(wire.partition(b"\n")[0]) for wire in store.wires(0, 2**36)]
        positions += [message for message in said if message.kind == "position"]
    assert positions
    assert {(position.sold_wh, position.bought_wh) for position in positions} == {(0, 0)}
