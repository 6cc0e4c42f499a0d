"""Which part of a community's record a study is about, and what its reader must know of that record."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

import numpy as np

from agent.forecast.naive import DAY_S
from agent.simulator.community import Community
from agent.study.lives import Life, Lives
from coordinator.errors import ConfigError
from coordinator.slots import Slot

WARM_DAYS = 14
"""With less record than this before the period, the first forecasts are made from little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was asked for, local times without zone; None leaves it to the record.

    Args:
        days: From the beginning on where that is told, else up to the end.
    """

    start: datetime | None = None
    end: datetime | None = None
    days: int | None = None


def period(lives: Lives, wanted: Wanted) -> tuple[Slot, int]:
    """Return first slot and number of slots; the default is the whole record after its first week.

    Raises:
        ConfigError: If the options contradict each other, or the period lies outside the record or is below a day.
    """
    if wanted.start and wanted.end and wanted.days:
        raise ConfigError("--from, --to and --days: give two of them, the third follows")
    zone, length_s = lives.timezone, lives.first.length_s
    record_start, record_end = lives.first.start_at, lives.first.shifted(lives.slots).start_at
    end_at = _at(wanted.end, zone) if wanted.end else record_end
    if wanted.start:
        start_at = _at(wanted.start, zone)
        end_at = _later(wanted.start, wanted.days, zone) if wanted.days else end_at
    elif wanted.days:
        start_at = _later(end_at.astimezone(zone).replace(tzinfo=None), -wanted.days, zone)
    else:
        week = timedelta(days=7)
        start_at = record_start + week if end_at - record_start > 2 * week else record_start
    first = Slot.at(start_at, length_s)
    slots = (int(end_at.timestamp()) - first.key) // length_s
    if start_at < record_start or end_at > record_end:
        raise ConfigError(
            f"{lives.name}: from {_said(start_at, zone)} to {_said(end_at, zone)} lies outside the record, which runs "
            f"from {_said(record_start, zone)} to {_said(record_end, zone)} (local time)"
        )
    if slots * length_s < DAY_S - 3600:  # the shortest day of the year
        raise ConfigError("a study needs at least a day: let --to be later than --from, or give --days")
    return first, slots


def _at(local: datetime, zone: tzinfo) -> datetime:
    return local if local.tzinfo else local.replace(tzinfo=zone)


def _later(local: datetime, days: int, zone: tzinfo) -> datetime:
    """Return the same time of day some days later: local days have 23 to 25 hours."""
    return _at(local + timedelta(days=days), zone)


def _said(at: datetime, zone: tzinfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """What is missing in one home's record of the period, in hours."""

    home: str
    load_h: float
    pv_h: float


def gaps(lives: Lives, first: Slot, slots: int) -> list[Gap]:
    """Return what is filled; a home whose sun was never metered has none, which is no gap.

    Raises:
        ConfigError: If a home has no load at all.
    """
    at = lives.index(first)
    part, found = slice(at, at + slots), []
    for life in lives.homes:
        if np.isnan(life.history.load_w).all():
            raise ConfigError(f"{life.name}: no load in its whole trace: fill the column load_w, or take the home out")
        gap = Gap(
            home=life.name,
            load_h=float(np.isnan(life.history.load_w[part]).sum()) * first.hours,
            pv_h=0.0 if _never_metered(life) else float(np.isnan(life.history.pv_w[part]).sum()) * first.hours,
        )
        if gap.load_h or gap.pv_h:
            found.append(gap)
    return found


def _never_metered(life: Life) -> bool:
    return bool(np.isnan(life.history.pv_w).all())


def notes(community: Community, lives: Lives, first: Slot, slots: int) -> list[str]:
    """Return, in sentences, what is filled, left out or thin in the record of a period."""
    return [*_gap_words(lives, gaps(lives, first, slots), slots), *_thin_words(community, lives, first)]


def _gap_words(lives: Lives, found: list[Gap], slots: int) -> Iterator[str]:
    if not found:
        return
    hours = slots * lives.first.hours
    worst = sorted(found, key=lambda gap: -max(gap.load_h, gap.pv_h))
    named = ", ".join(f"{gap.home} {100 * max(gap.load_h, gap.pv_h) / hours:.1f} % of the time" for gap in worst[:5])
    more = f" and {len(worst) - 5} more homes less" if len(worst) > 5 else ""
    yield f"The record has gaps ({named}{more}); they are lived like the same time of the last recorded day before."


def _thin_words(community: Community, lives: Lives, first: Slot) -> Iterator[str]:
    days = lives.index(first) * first.length_s / DAY_S
    if days < WARM_DAYS:
        yield f"Only {days:.0f} days of record lie before the period, so the first forecasts are made from little."
    things = ("vehicles", "shiftables", "tanks")
    with_things = sum(any(getattr(home.wishes, thing) for thing in things) for home in community.homes)
    if with_things:
        homes = "1 home" if with_things == 1 else f"{with_things} homes"
        yield f"Cars, loads that can wait and tanks of {homes} are left out: a study moves batteries only."
