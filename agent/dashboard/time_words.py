"""How moments and spans of time are said to people. Pure."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

_NEAR_DAYS = {-1: "yesterday ", 0: "", 1: "tomorrow "}


def clock_time(at: datetime, zone: ZoneInfo) -> str:
    return at.astimezone(zone).strftime("%H:%M")


def date_and_time(at: datetime, zone: ZoneInfo) -> str:
    local = at.astimezone(zone)
    return f"{local:%a} {local.day} {local:%b}, {local:%H:%M}"


def when(at: datetime, now: datetime | None, zone: ZoneInfo) -> str:
    """Say a time of day, with its day where that is not today: "06:15", "yesterday 23:40", "Sat 21 Nov, 05:15"."""
    if now is None:
        return date_and_time(at, zone)
    days = (at.astimezone(zone).date() - now.astimezone(zone).date()).days
    if days not in _NEAR_DAYS:
        return date_and_time(at, zone)
    return _NEAR_DAYS[days] + clock_time(at, zone)


def span(start_at: datetime, end_at: datetime, now: datetime | None, zone: ZoneInfo) -> str:
    """Say from when to when: "23:45–00:00", "yesterday 06:15–06:30", "06:15 until tomorrow 06:15"."""
    began, last = start_at.astimezone(zone), (end_at - timedelta.resolution).astimezone(zone)
    if began.date() == last.date():
        return f"{when(start_at, now, zone)}–{clock_time(end_at, zone)}"
    return f"{when(start_at, now, zone)} until {when(end_at, now, zone)}"


def ago(seconds: float, *, fine: bool = True) -> str:
    """Say a wall-clock age: "12 s ago", "3 min ago".

    Args:
        fine: Whether to count seconds. Not where every change is read aloud.
    """
    if seconds < 60:
        return f"{seconds:.0f} s ago" if fine else "less than a minute ago"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min ago"
    return f"{seconds / 3600:.0f} h ago" if seconds < 172_800 else f"{seconds / 86_400:.0f} days ago"


def as_of(at: datetime | None, heard_s: float | None, now: datetime | None, zone: ZoneInfo) -> str:
    """Say of which moment figures are that are no longer those of right now."""
    if at is None or heard_s is None:
        return "Not heard yet"
    return f"As of {when(at, now, zone)}, last heard {ago(heard_s)}"


def remaining(left: timedelta) -> str:
    """Say how long until the slot ends: "7 min", "40 s"."""
    seconds = max(0, int(left.total_seconds()))
    return f"{seconds} s" if seconds < 60 else f"{round(seconds / 60)} min"
