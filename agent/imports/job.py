"""One import, from what was asked to what was written and found."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from agent.forecast.calendar import Place
from agent.imports.columns import Chosen, check_roles
from agent.imports.folder import CommunityFacts, Writer
from agent.imports.meters import Meter
from agent.imports.moments import zone_of
from agent.imports.plausible import Finding, findings
from agent.imports.record import LOAD_MAX_W, PV_MAX_SHARE, HomeRecord, Limits, household
from agent.imports.source import OnProgress, Source
from agent.planning.tariff import TariffSettings
from agent.simulator.community import Community, HomeEntry, fuse_w
from coordinator.errors import ConfigError

_SLOT_MINUTES = (15, 30, 60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is asked.

    Args:
        community: What the folder holds already; None makes a new one.
        entry: The home as it will stand in community.toml; its trace is named by the writer.
        start, end: Local times between which the record is taken; None for all of it.
        write: False only reads and reports.
    """

    source: Source
    chosen: Sequence[Chosen]
    folder: Path
    community: Community | None
    facts: CommunityFacts
    entry: HomeEntry
    tariff: TariffSettings | None
    slot_minutes: int | None = None
    start: datetime | None = None
    end: datetime | None = None
    force: bool = False
    write: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What came of it.

    Args:
        said: What reading left out, in sentences.
        files: Written files; none where only a report was wanted.
    """

    job: Job
    record: HomeRecord
    meters: Sequence[Meter]
    said: Sequence[str]
    findings: Sequence[Finding]
    files: Sequence[Path]

    def plain(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        record, hours = self.record, self.record.first.hours
        return {
            "home": self.job.entry.name,
            "source": {"path": str(self.job.source.path), "kind": self.job.source.words},
            "folder": str(self.job.folder),
            "files": [str(path) for path in self.files],
            "from": record.first.start_at.isoformat(),
            "to": record.first.shifted(record.slots).start_at.isoformat(),
            "slot_minutes": record.first.length_s // 60,
            "slots": record.slots,
            "missing_slots": {"load": int(np.isnan(record.load_w).sum()), "pv": int(np.isnan(record.pv_w).sum())},
            "energy_wh": {
                "load": round(float(np.nansum(record.load_w)) * hours, 1),
                "pv": round(float(np.nansum(record.pv_w)) * hours, 1),
            },
            "columns": [
                {
                    "role": meter.chosen.role,
                    "name": meter.chosen.name,
                    "unit": meter.chosen.unit.name,
                    "kind": meter.chosen.kind,
                    "rows": meter.rows,
                    "energy_wh": round(meter.sums.total_wh, 1),
                    "in_pauses_wh": round(meter.lost_wh, 1),
                }
                for meter in self.meters
            ],
            "findings": [
                {"kind": each.kind, "count": each.slots, "serious": each.serious, "text": each.text}
                for each in self.findings
            ],
            "left_out": list(self.said),
        }


def run(job: Job, on_progress: OnProgress = lambda share: None) -> Imported:
    """Read, put together, check and write.

    Raises:
        ConfigError: With cause and cure, before anything is written.
    """
    roles = {each.role for each in job.chosen}
    check_roles(roles)
    if job.entry.pv_kwp and "pv" not in roles:
        raise ConfigError("--pv-kwp tells of panels: name the column of what they generate with --pv")
    writer = Writer(job.folder, job.community, job.entry.name, job.tariff, force=job.force)
    slot_s = slot_length_s(job)
    read = job.source.read(job.chosen, slot_s, on_progress)
    zone = zone_of(job.facts.timezone)
    cut = tuple(None if at is None else at.replace(tzinfo=at.tzinfo or zone).timestamp() for at in (job.start, job.end))
    limits = limits_of(job.entry)
    record = household(read.meters, slot_s, limits, (cut[0], cut[1]))
    standing = Place(timezone=zone, latitude=job.facts.latitude, longitude=job.facts.longitude)
    found = [*_spread(job, slot_s), *_hidden_battery(job), *findings(record, read.meters, standing, limits)]
    entry = job.entry.model_copy(update={"trace": writer.trace, "tariff": writer.tariff if job.community else None})
    if not record.has_pv:
        entry = entry.model_copy(update={"pv_kwp": 0.0})
    files = writer.write(record, job.facts, entry) if job.write else []
    return Imported(job=job, record=record, meters=read.meters, said=read.said, findings=found, files=files)


def limits_of(entry: HomeEntry) -> Limits:
    """Return what the home's load and sun cannot exceed, as far as its owner told."""
    pv_w = LOAD_MAX_W if entry.pv_kwp is None else PV_MAX_SHARE * 1000 * entry.pv_kwp
    if entry.fuse_a is None:
        return Limits(pv_w=pv_w)
    # what passes the fuse, and what the roof and the battery give at the same time
    beside_w = 1000 * ((entry.pv_kwp or 0.0) + (entry.battery.discharge_kw if entry.battery else 0.0))
    return Limits(load_w=fuse_w(entry.fuse_a) + beside_w, pv_w=pv_w)


def slot_length_s(job: Job) -> int:
    """Return the slots of the import: as told, else the community's, else the finest that the source tells of.

    Raises:
        ConfigError: If they contradict each other, or the source is too coarse for any.
    """
    step_s = job.source.step_s
    if step_s > 60 * max(_SLOT_MINUTES):
        raise ConfigError(
            f"{job.source.path}: one value every {step_s / 3600:.0f} h: a home's record needs one an hour"
        )
    if job.community is not None:
        if job.slot_minutes not in (None, job.community.slot_s // 60):
            raise ConfigError(
                f"--slot-minutes {job.slot_minutes}: {job.folder} has slots of {job.community.slot_s // 60} minutes: "
                "leave the option out, or import all homes into a new folder"
            )
        return job.community.slot_s
    if job.slot_minutes is not None:
        if 1440 % job.slot_minutes:
            raise ConfigError(f"--slot-minutes {job.slot_minutes} does not divide a day: use 15, 30 or 60")
        return 60 * job.slot_minutes
    return next(60 * minutes for minutes in _SLOT_MINUTES if 60 * minutes >= step_s)


def _hidden_battery(job: Job) -> list[Finding]:
    roles = {each.role for each in job.chosen}
    if job.entry.battery is None or roles & {"load", "battery", "battery_charge", "battery_discharge"}:
        return []
    text = (
        "the home has a battery, but none of its flows was given: what it charged counts as load; if it was there at "
        "the time, name --battery-charge and --battery-discharge"
    )
    return [Finding(kind="hidden_battery", slots=0, text=text, serious=True)]


def _spread(job: Job, slot_s: int) -> list[Finding]:
    if job.source.step_s <= slot_s:
        return []
    text = (
        f"the source has a value every {job.source.step_s // 60} minutes: slots of {slot_s // 60} minutes share it "
        "evenly, so short peaks are not in the record"
    )
    return [Finding(kind="spread", slots=0, text=text)]
