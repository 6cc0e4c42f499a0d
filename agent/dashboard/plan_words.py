"""A plan as a short list: neighbouring slots with one reason become one line. Pure."""

import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import fmean
from zoneinfo import ZoneInfo

from agent.dashboard import time_words, words
from agent.dashboard.topics import PlannedSlot

PlanLine = tuple[str, str, str, str, str]
"""Time, battery, trade, charge at the end, reason."""


def plan_lines(slots: Sequence[PlannedSlot], now: datetime, length: timedelta, zone: ZoneInfo) -> list[PlanLine]:
    """Return the plan from `now` on; powers are means over the line's slots."""
    ahead = [slot for slot in slots if slot.start_at + length > now]
    lines: list[PlanLine] = []
    for _, group in itertools.groupby(ahead, key=lambda slot: slot.reason):
        run = list(group)
        charge = run[-1].soc_pct
        lines.append(
            (
                time_words.span(run[0].start_at, run[-1].start_at + length, now, zone),
                words.battery(fmean(slot.battery_w for slot in run)) if charge is not None else "",
                _trade(fmean(slot.trade_w for slot in run)),
                f"{words.percent(charge)} full" if charge is not None else "",
                run[0].reason,
            )
        )
    return lines


def _trade(watts: float) -> str:
    return words.trading(watts) if abs(watts) >= words.IDLE_W else ""
