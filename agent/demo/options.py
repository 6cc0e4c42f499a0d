"""What the demo can be asked for."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

BrokerKind = Literal["auto", "mosquitto", "embedded"]

DEFAULT_START = datetime(2026, 5, 4, 7, 0, tzinfo=UTC)
"""09:00 in Berlin, in May: sun for the roofs and an evening for the batteries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """See `commonwatt demo --help`.

    Args:
        homes: How many homes; None takes six, or all of the folder's.
        hours: Simulated hours to trade.
        speed: Simulated seconds per wall second.
        traces: A community folder to live by, instead of the built-in neighbourhood.
        start_at: Simulated time at which the books begin.
        processes: Run agent, broker and simulator of each home as processes of their own.
        folder: Where everything is written; it must be empty.
        seed: Of the built-in neighbourhood.
        masked: Bids are masked and what is said to one home is sealed.
    """

    folder: Path
    homes: int | None = None
    hours: float = 24.0
    speed: float = 360.0
    traces: Path | None = None
    start_at: datetime | None = None
    broker: BrokerKind = "auto"
    processes: bool = False
    page: bool = True
    page_port: int = 8080
    seed: int = 7
    masked: bool = False
