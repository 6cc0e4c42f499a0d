"""Writes an imported home into a community folder; a new folder, or one more home of an existing one."""

import gzip
import json
import math
import os
import re
import shutil
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.imports.record import HomeRecord
from agent.planning import tariff_file
from agent.planning.tariff import Tariff, TariffSettings, open_tariff
from agent.simulator import trace
from agent.simulator.community import FILE, Community, CommunityFile, HomeEntry
from coordinator.errors import ConfigError
from coordinator.slots import Slot
from coordinator.toml_file import read_toml

_HOMES = re.compile(r"(?m)^(?=[ \t]*\[\[homes\]\])")
_AHEAD_DAYS = 1
"""A written tariff knows a day more than the record: plans look ahead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommunityFacts:
    """What is told of a community; only a new one needs all of it."""

    name: str
    timezone: str
    currency: str
    country: str | None = None
    latitude: float | None = None
    longitude: float | None = None


def file_name(home: str) -> str:
    """Return a home's name as that of a file."""
    return re.sub(r"[^\w.-]+", "-", home).strip("-.") or "home"


class Writer:
    """Puts one home into a folder. Nothing is written before `write`, and nothing existing is lost without `force`.

    Args:
        community: What the folder holds; None for a new one.
        tariff: The home's own, or the new community's; None takes the existing community's.

    Raises:
        ConfigError: If a file or a home of that name exists, or a tariff does not cover the record.
    """

    def __init__(
        self, folder: Path, community: Community | None, home: str, tariff: TariffSettings | None, *, force: bool
    ) -> None:
        self._folder, self._community, self._home, self._tariff = folder, community, home, tariff
        self.trace = Path("homes") / f"{file_name(home)}.csv.gz"
        ending = "".join(tariff.file.suffixes[-2:]) if tariff and tariff.file else ".csv.gz"
        name = "tariff" if community is None else f"tariff-{file_name(home)}"
        self.tariff = None if tariff is None else Path(f"{name}{ending}")
        known = [] if community is None else [each.name for each in community.homes]
        if force:
            return
        if home in known:
            raise ConfigError(f"{folder}: there is a home {home}: choose another --home, or --force to replace it")
        for path in (self.trace, self.tariff):
            if path is not None and (folder / path).exists():
                raise ConfigError(f"{folder / path} exists: choose another --home, or --force to overwrite it")

    def write(self, record: HomeRecord, facts: CommunityFacts, entry: HomeEntry) -> list[Path]:
        """Write the home; return the files.

        Raises:
            ConfigError: If the folder cannot be written, or a tariff does not cover the record.
        """
        first, end = self._span(record)
        own = None if self._tariff is None else open_tariff(self._tariff, facts.timezone, Path())
        for tariff in [*([own] if own else []), *self._other_tariffs(facts.timezone)]:
            _check_covers(tariff, first, end)
        try:
            return self._write(record, self._text(facts, entry, record.first.length_s), own, first, end)
        except OSError as error:
            raise ConfigError(
                f"{self._folder}: cannot be written ({error.strerror or error}): name another folder"
            ) from None

    def _write(self, record: HomeRecord, text: str, own: Tariff | None, first: Slot, end: Slot) -> list[Path]:
        folder = self._folder
        (folder / "homes").mkdir(parents=True, exist_ok=True)
        draft = folder / f"{FILE}.new"
        draft.write_text(text, encoding="utf-8")
        try:
            read_toml(draft, CommunityFile)
        except ConfigError:
            draft.unlink()
            raise
        files = [folder / self.trace]
        _write_rows(files[0], trace.HEADER, _trace_rows(record))
        if self.tariff is not None and self._tariff is not None and own is not None:
            files.append(folder / self.tariff)
            if self._tariff.file is not None:
                shutil.copyfile(self._tariff.file, files[-1])
            else:
                _write_rows(files[-1], tariff_file.HEADER, _tariff_rows(own, first, end))
        os.replace(draft, folder / FILE)
        return [*files, folder / FILE]

    def _span(self, record: HomeRecord) -> tuple[Slot, Slot]:
        """Return the first slot of the whole community's record with this home, and the one after its last."""
        first, end = record.first, record.first.shifted(record.slots)
        if (community := self._community) is None:
            return first, end
        begun = Slot.at(community.start_at, community.slot_s)
        return min(first, begun), max(end, begun.shifted(community.slots))

    def _other_tariffs(self, timezone: str) -> Iterator[Tariff]:
        homes = () if self._community is None else self._community.homes
        for path in sorted({home.tariff_path for home in homes if home.name != self._home or self._tariff is None}):
            yield open_tariff(TariffSettings(file=path), timezone, Path())

    def _text(self, facts: CommunityFacts, entry: HomeEntry, slot_s: int) -> str:
        """Return community.toml with the home in it; what else stands there stays as it is."""
        if self._community is None:
            return "\n".join([*_head(facts, slot_s, self.tariff), "", *_block(entry)]) + "\n"
        text = (self._folder / FILE).read_text(encoding="utf-8")
        head, *blocks = _HOMES.split(text)
        if not blocks:
            raise ConfigError(f"{self._folder / FILE}: homes are not written as [[homes]]: rewrite them so")
        mine = "\n".join(_block(entry)) + "\n"
        if entry.name in (names := [_name_in(block) for block in blocks]):
            blocks[names.index(entry.name)] = f"{mine}\n" if names[-1] != entry.name else mine
        else:
            blocks.append(f"\n{mine}" if text.endswith("\n") else f"\n\n{mine}")
        return head + "".join(blocks)


def _check_covers(tariff: Tariff, first: Slot, end: Slot) -> None:
    try:
        for slot in (first, end.shifted(-1)):
            tariff.import_micro(slot)
    except ConfigError as error:
        raise ConfigError(
            f"{error} With this home the community's record runs from {first.start_at:%Y-%m-%d} to "
            f"{end.start_at:%Y-%m-%d}: a part of the home's can be taken with --from and --to."
        ) from None


def _name_in(block: str) -> str:
    """Return the name of the home that a part of community.toml describes."""
    name: str = tomllib.loads(block)["homes"][0]["name"]
    return name


def _head(facts: CommunityFacts, slot_s: int, tariff: Path | None) -> list[str]:
    pairs = {
        "name": facts.name,
        "timezone": facts.timezone,
        "slot_minutes": slot_s // 60,
        "currency": facts.currency,
        "tariff": str(tariff),
        "country": facts.country,
        "latitude": facts.latitude,
        "longitude": facts.longitude,
    }
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in pairs.items() if value is not None]


def _block(entry: HomeEntry) -> list[str]:
    pairs = entry.model_dump(mode="json", exclude_defaults=True, exclude={"battery"})
    lines = ["[[homes]]", *(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in pairs.items())]
    if entry.battery is not None:
        inner = ", ".join(f"{key} = {json.dumps(value)}" for key, value in entry.battery.model_dump().items())
        lines.append(f"battery = {{ {inner} }}")
    return lines


def _trace_rows(record: HomeRecord) -> Iterable[str]:
    for slot, load_w, pv_w in zip(record.first.horizon(record.slots), record.load_w, record.pv_w, strict=True):
        yield f"{_time(slot)},{_number(load_w)},{_number(pv_w)}"


def _tariff_rows(tariff: Tariff, first: Slot, end: Slot) -> Iterable[str]:
    slots = (end.key - first.key + _AHEAD_DAYS * 86_400) // first.length_s
    for slot, *prices in zip(first.horizon(slots), *tariff.prices(first, slots), strict=True):
        yield ",".join([_time(slot), *(f"{price:.6g}" for price in prices)])


def _time(slot: Slot) -> str:
    return f"{slot.start_at:%Y-%m-%dT%H:%M:%SZ}"


def _number(power_w: float) -> str:
    """Return watts to a thousandth, so that a year's energy is right to a Wh; nothing where it is missing."""
    return "" if math.isnan(power_w) else f"{power_w:.3f}".rstrip("0").rstrip(".")


def _write_rows(path: Path, header: list[str], rows: Iterable[str]) -> None:
    """Write a gzipped CSV file, whole or not at all; the same rows give the same bytes."""
    draft = path.with_name(f"{path.name}.new")
    with draft.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0) as file:
        file.write((",".join(header) + "\n").encode())
        for row in rows:
            file.write((row + "\n").encode())
    os.replace(draft, path)
