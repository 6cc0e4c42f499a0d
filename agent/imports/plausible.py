"""What an owner should know of an imported record before believing in figures made from it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from agent.forecast.calendar import Calendar, Place
from agent.forecast.history import History, slot_keys
from agent.forecast.naive import DAY_S
from agent.imports.meters import Meter
from agent.imports.moments import utc_words
from agent.imports.record import HomeRecord, Limits

_NIGHT_DEG = -4.0
_NIGHT_HOURS = (23, 3)
"""Local hours that are dark everywhere panels pay, asked where nobody said where the home stands."""
_DARK_W, _DARK_SHARE = 20.0, 0.02
_NOON = (10.5, 15.0)
"""Local hours between which the middle of the sun's energy falls, summer time and east or west roofs included."""
_SHARE_OF_BALANCE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found.

    Args:
        kind: For programs.
        slots: Of the record, or times it happened.
        serious: Whether figures made from the record may be wrong.
    """

    kind: str
    slots: int
    text: str
    serious: bool = False


def findings(record: HomeRecord, meters: Sequence[Meter], place: Place, limits: Limits) -> list[Finding]:
    """Return all that was found, in the order in which a person should read it."""
    return [
        *_missing(record),
        *_impossible(record, limits),
        *_stuck(record),
        *_sun(record, place),
        *_balance(record),
        *_counters(meters),
        *_clock_changes(record, place),
    ]


def _missing(record: HomeRecord) -> Iterator[Finding]:
    for name, values_w in (("load", record.load_w), ("pv", record.pv_w)):
        unknown = np.isnan(values_w)
        count = int(unknown.sum())
        if not count:
            continue
        runs = _runs(unknown)
        gaps = "1 gap" if len(runs) == 1 else f"{len(runs)} gaps"
        start, end = max(runs, key=lambda run: run[1] - run[0])
        longest = f"the longest of {_hours((end - start) * record.first.hours)} from {_at(record, start)}"
        yield Finding(
            kind=f"missing_{name}",
            slots=count,
            text=f"{name}: {_slots(count)} ({100 * count / record.slots:.1f} %) missing: {gaps}, {longest}",
            serious=count > 0.1 * record.slots,
        )


def _impossible(record: HomeRecord, limits: Limits) -> Iterator[Finding]:
    if record.negative:
        cause = "--load" if record.measured else "a flow is missing or has the wrong direction"
        yield Finding(
            kind="negative_load",
            slots=record.negative,
            text=f"load: {_slots(record.negative)} came out negative, and missing now: {cause}",
            serious=record.negative > 0.01 * record.slots,
        )
    if record.clipped:
        text = f"load: {_slots(record.clipped)} came out slightly negative, and 0 now: meters read at different moments"
        yield Finding(kind="slightly_negative_load", slots=record.clipped, text=text)
    for name, peaks_w, limit_w in (
        ("load", record.peaks_load_w, limits.load_w),
        ("pv", record.peaks_pv_w, limits.pv_w),
    ):
        if peaks_w.size:
            text = (
                f"{name}: {_slots(peaks_w.size)} above {limit_w / 1000:.1f} kW (up to {peaks_w.max() / 1000:.4g} kW), "
                "missing now: check the unit, or tell --fuse-a and --pv-kwp"
            )
            yield Finding(kind=f"peak_{name}", slots=int(peaks_w.size), text=text, serious=True)


def _stuck(record: HomeRecord) -> Iterator[Finding]:
    history = History(first=record.first, load_w=record.load_w, pv_w=record.pv_w)
    moving = history.without_stuck_meters()
    count = int(np.isnan(moving.load_w).sum() - np.isnan(record.load_w).sum())
    zeros = sum(end - start for start, end in _runs(record.load_w == 0) if (end - start) * record.first.hours >= 24)
    if count:
        text = f"load: {_slots(count)} with one value for half a day or longer: a stuck meter; forecasts leave them out"
        yield Finding(kind="stuck_load", slots=count, text=text, serious=count > 0.1 * record.slots)
    if zeros:
        text = f"load: {_slots(zeros)} with 0 for a day or longer: was the meter off?"
        yield Finding(kind="zero_load", slots=int(zeros), text=text, serious=True)


def _sun(record: HomeRecord, place: Place) -> Iterator[Finding]:
    if not record.has_pv:
        text = "pv: none given, so the home counts as one without panels; if it has some, name their column with --pv"
        exported = "grid_export" in record.flows_wh and record.flows_wh["grid_export"] > 1000
        yield Finding(kind="no_pv", slots=record.slots, text=text, serious=exported)
        return
    keys, calendar = slot_keys(record.first, record.slots), Calendar(place)
    local_h = calendar.seconds(keys) % DAY_S / 3600 + record.first.hours / 2
    if place.latitude is not None and place.longitude is not None:
        dark = np.maximum(calendar.sun_deg(keys), calendar.sun_deg(keys + record.first.length_s)) < _NIGHT_DEG
    else:
        dark = (local_h >= _NIGHT_HOURS[0]) | (local_h < _NIGHT_HOURS[1])
    top_w = float(np.nanmax(record.pv_w, initial=0.0))
    shining = dark & (record.pv_w > max(_DARK_W, _DARK_SHARE * top_w))
    if shining.any():
        text = (
            f"pv: {_slots(int(shining.sum()))} with sun at night, the first at {_at(record, int(shining.argmax()))}: "
            "a wrong --timezone or --times-zone, or the column holds something else"
        )
        yield Finding(kind="sun_at_night", slots=int(shining.sum()), text=text, serious=True)
    total = float(np.nansum(record.pv_w))
    middle_h = float(np.nansum(record.pv_w * local_h)) / total if total else 12.5
    if not _NOON[0] <= middle_h <= _NOON[1]:
        text = f"pv: the middle of the sun's energy falls at {middle_h:.1f} h local time: check the time zones"
        yield Finding(kind="sun_off_noon", slots=record.slots, text=text, serious=True)


def _balance(record: HomeRecord) -> Iterator[Finding]:
    flows = record.flows_wh
    if not record.measured or not ({"grid", "grid_import"} & flows.keys()):
        return
    follows_wh = sum(
        (-1 if role in ("grid_export", "battery_charge") else 1) * wh for role, wh in flows.items() if role != "load"
    )
    if abs(follows_wh - flows["load"]) > _SHARE_OF_BALANCE * flows["load"]:
        text = (
            f"load: measured {flows['load'] / 1000:.0f} kWh, but grid, pv and battery come to {follows_wh / 1000:.0f} "
            "kWh: a column is missing or means something else"
        )
        yield Finding(kind="balance", slots=record.slots, text=text, serious=True)


def _counters(meters: Sequence[Meter]) -> Iterator[Finding]:
    for meter in meters:
        name = meter.chosen.name
        if meter.resets:
            text = f"{name}: the counter began anew {_times(len(meter.resets))}, first at {utc_words(meter.resets[0])}"
            yield Finding(kind="counter_reset", slots=len(meter.resets), text=text)
        if meter.dips:
            text = (
                f"{name}: the counter went back a little {_times(meter.dips)}; nothing was counted until it caught up"
            )
            yield Finding(kind="counter_dip", slots=meter.dips, text=text, serious=meter.dips > 0.01 * meter.rows)
        if abs(meter.lost_wh) >= 1:
            text = f"{name}: {meter.lost_wh / 1000:.1f} kWh flowed in pauses of more than two hours; nobody knows when"
            yield Finding(kind="pause", slots=0, text=f"{text}, so these slots are missing")
        if meter.chosen.guessed:
            word = "a counter" if meter.chosen.kind == "counter" else "the energy of each interval"
            text = f"{name}: taken as {word} by the course of its values"
            yield Finding(kind="guessed", slots=0, text=text)


def _clock_changes(record: HomeRecord, place: Place) -> Iterator[Finding]:
    keys = slot_keys(record.first, record.slots)
    days = Calendar(place).seconds(keys) // DAY_S
    usual = DAY_S // record.first.length_s
    for day, count in zip(*np.unique(days, return_counts=True), strict=True):
        if count == usual or day in (days[0], days[-1]):
            continue
        known = int(np.isfinite(record.load_w[days == day]).sum())
        date = datetime.fromtimestamp(int(day) * DAY_S, UTC)
        text = f"{date:%Y-%m-%d}: the clock changed, the day has {count} slots, {known} of them known"
        yield Finding(kind="clock_change", slots=int(count), text=text)


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return [start, end) of every run of true flags."""
    edges = np.flatnonzero(np.diff(np.r_[False, flags, False].astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _at(record: HomeRecord, slot: int) -> str:
    return f"{record.first.shifted(slot).start_at:%Y-%m-%d %H:%M} UTC"


def _hours(hours: float) -> str:
    return f"{hours:g} h" if hours < 48 else f"{hours / 24:.0f} days"


def _slots(count: int) -> str:
    return "1 slot" if count == 1 else f"{count} slots"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
