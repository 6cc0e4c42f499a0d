"""Finding devices: who answers at an address, what it is, and which profiles fit it. Reads only, and politely.

One connection per host at a time, one request in flight, a pause after each, a bounded list of units. Only the reading
functions 3 and 4 ever leave; a device is asked for nothing but SunSpec's marker, what identifies profiles, and one
poll by each profile that fits.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from agent.devices.address import Address, Line
from agent.devices.commissioning import DeviceIdentity
from agent.devices.device import Device
from agent.devices.errors import DeviceError, DeviceRefusedError, LinkDownError, NoAnswerError
from agent.devices.layout import Frame
from agent.devices.link import ModbusLink
from agent.devices.link_limits import LinkLimits
from agent.devices.nameplate import read_nameplate
from agent.devices.opening import link_limits
from agent.devices.profile import available_profiles, load_profile
from agent.devices.scan_match import Candidate, Match, Traces, match, proof_frames
from agent.devices.scan_targets import Door
from agent.devices.sunspec import BASES, ModelAt, scan
from coordinator.clock import Clock

HOSTS_AT_ONCE = 16
"""Connections at once, each to another host: a home's router bears that."""
GAP_S = 0.1
TIMEOUT_S = 1.0
FIRST_TRIES = 3
"""Some dongles ignore their first request, or are ready seconds after the connection only."""
MOST_SILENCES = 6
"""A unit that falls silent this often ignores what it does not know; it is left alone then."""
NOBODY = 231
"""A unit id that no profile and no installer uses: who answers to it answers to all."""
MORE_UNITS = (2, 126, 200)
"""A second device behind a gateway, SMA's SunSpec unit, Fronius' meter."""
Sure = Literal["certain", "likely", "possible"]
_ORDER: tuple[Sure, ...] = ("certain", "likely", "possible")
_NEARLY_ALL = 0.8
_NO_PATH = (10, 11)
_PROBES = (Frame(3, BASES[0], 2), Frame(4, 0, 2))
_ENDLESS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A profile that fits a device.

    Attributes:
        chosen: Answers to the profile's questions that differ from its first ones.
        evidence: One line for each proof.
        sure: `certain` when the device says a name that the profile knows, `likely` when it shows numbers other than 0
            that fit and nearly all values, else `possible`: another device may show the same by chance.
        plausible: How many of the profile's values the device showed, and how many there are.
        values: What it showed, in the house's sign.
    """

    profile: str
    title: str
    chosen: Mapping[str, str]
    evidence: tuple[str, ...]
    sure: Sure
    plausible: tuple[int, int]
    values: Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A unit that answers. `models` are the ids of its SunSpec models."""

    url: str
    unit: int
    line: Line | None
    says: DeviceIdentity
    models: tuple[int, ...]
    proposals: tuple[Proposal, ...]


@dataclass(slots=True)
class Outcome:
    """What a scan found.

    Attributes:
        mute: Addresses that let us in and answered nothing.
    """

    found: list[Found] = field(default_factory=list)
    mute: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What a scan knows beforehand.

    Attributes:
        units: Unit ids to ask; of several devices at one address each has its own.
        lines: Settings of a serial line to try.
    """

    candidates: Sequence[Candidate]
    units: Sequence[int]
    lines: Sequence[Line] = (Line(),)
    timeout_s: float = TIMEOUT_S
    gap_s: float = GAP_S


def all_candidates() -> list[Candidate]:
    """Return every profile that comes with the product, once for each word order that it asks about."""
    candidates = []
    for name in available_profiles():
        profile = load_profile(name)
        words = profile.parameters["words"].values[1:] if "words" in profile.parameters else ()
        candidates.append(Candidate(profile=profile, chosen={}))
        candidates += [Candidate(profile=load_profile(name, {"words": each}), chosen={"words": each}) for each in words]
    return candidates


def usual_doors(candidates: Iterable[Candidate]) -> list[Door]:
    """Return the ports at which devices of these profiles listen, the most usual first."""
    links = [each.profile.link.tcp for each in candidates]
    ports = [(tcp.port, tcp.framing == "rtu") for tcp in links if tcp is not None]
    return [Door(port=port, rtu=rtu) for port, rtu in sorted(set(ports), key=lambda each: (-ports.count(each), each))]


def usual_units(candidates: Iterable[Candidate]) -> list[int]:
    """Return the unit ids of devices of these profiles as they are delivered, 1 first."""
    return sorted({each.profile.link.unit for each in candidates} | set(MORE_UNITS))


def usual_lines(candidates: Iterable[Candidate]) -> list[Line]:
    """Return the settings of serial lines of these profiles, the most usual first."""
    links = [each.profile.link.rtu for each in candidates]
    used = [(rtu.baud, rtu.format) for rtu in links if rtu is not None]
    return [Line(baud=baud, format=form) for baud, form in sorted(set(used), key=lambda each: -used.count(each))]


async def scan_all(
    hosts: Sequence[Sequence[Address]],
    search: Search,
    clock: Clock,
    outcome: Outcome,
    on_done: Callable[[Address], None] = lambda address: None,
) -> None:
    """Look at every address, a few hosts at a time; `outcome` grows as devices are found.

    Args:
        on_done: Called after each address.
    """
    gate = asyncio.Semaphore(HOSTS_AT_ONCE)

    async def look(addresses: Sequence[Address]) -> None:
        async with gate:
            for address in addresses:
                await scan_address(address, search, clock, outcome)
                on_done(address)

    await asyncio.gather(*(look(addresses) for addresses in hosts))


async def scan_address(address: Address, search: Search, clock: Clock, outcome: Outcome) -> None:
    """Look who answers at one address."""
    for line in search.lines if address.kind == "serial" else (None,):
        visit = _Visit(address, search, clock, line)
        try:
            found = await visit.look()
        except LinkDownError:
            return
        finally:
            await visit.link.close()
        if found:
            outcome.found += found
            return
    outcome.mute.append(address.url)


class _Visit:
    """One connection to one address."""

    def __init__(self, address: Address, search: Search, clock: Clock, line: Line | None) -> None:
        limits = LinkLimits(timeout_s=search.timeout_s, gap_s=search.gap_s, silences=_ENDLESS)
        self.link = ModbusLink(address.url, clock, limits, line)
        self._search = search
        self._clock = clock
        self._line = line
        self._generation = 0

    async def look(self) -> list[Found]:
        """Return every unit that answers.

        Raises:
            LinkDownError: Nobody lets us in, or we were thrown out before anybody had answered.
        """
        self._generation = await self.link.open()
        found: list[Found] = []
        for number, unit in enumerate(self._search.units):
            try:
                if not await self._answers(unit, FIRST_TRIES if number == 0 else 1):
                    continue
                found.append(await self._identify(unit))
                if self.link.address.kind == "tcp" and await self._answers(NOBODY):
                    return found
            except LinkDownError:
                if not found:
                    raise
                return found
        return found

    async def _answers(self, unit: int, tries: int = 1) -> bool:
        """Return whether anybody is there: a refusal is an answer, unless a gateway says that nobody is."""
        for probe in _PROBES * tries:
            try:
                await self.link.read(self._generation, unit, probe.fc, probe.address, probe.count)
            except DeviceRefusedError as refusal:
                return refusal.code not in _NO_PATH
            except LinkDownError:
                raise
            except DeviceError:
                continue
            return True
        return False

    async def _identify(self, unit: int) -> Found:
        chain, says = await self._sunspec(unit)
        words = await self._proofs(unit)
        traces = Traces(says=says, chain=chain, words=words)
        matches = [found for each in self._search.candidates if (found := match(each, traces)) is not None]
        polled = [(each, await self._poll(each, unit)) for each in matches]
        return Found(
            url=self.link.url,
            unit=unit,
            line=self._line,
            says=says,
            models=tuple(model.model_id for model in chain),
            proposals=tuple(sorted((_proposal(each, values) for each, values in polled if values), key=_rank)),
        )

    async def _sunspec(self, unit: int) -> tuple[list[ModelAt], DeviceIdentity]:
        async def read(address: int, count: int) -> list[int]:
            return await self.link.read(self._generation, unit, 3, address, count)

        try:
            chain = await scan(read, BASES, f"unit {unit}")
            return chain, await read_nameplate(read, chain, "")
        except LinkDownError:
            raise
        except DeviceError:
            return [], DeviceIdentity()

    async def _proofs(self, unit: int) -> dict[Frame, list[int]]:
        """Read what identifies any of the profiles."""
        words: dict[Frame, list[int]] = {}
        silences = 0
        for frame in proof_frames(self._search.candidates):
            if silences >= MOST_SILENCES:
                break
            try:
                words[frame] = await self.link.read(self._generation, unit, frame.fc, frame.address, frame.count)
            except LinkDownError:
                raise
            except NoAnswerError:
                silences += 1
            except DeviceError:
                continue
        return words

    async def _poll(self, found: Match, unit: int) -> dict[str, float | None]:
        """Return what a profile makes of the device; empty when that cannot be read."""
        profile = found.candidate.profile
        self.link.limits = self.link.limits.slower(link_limits(profile, self.link.url, self.link.line))
        try:
            sample = await Device(profile.profile, profile, self.link, self._clock, unit).poll()
        except LinkDownError:
            raise
        except DeviceError:
            return {}
        return {name: None if name in sample.doubtful else value for name, value in sample.values.items()}


def _proposal(found: Match, values: Mapping[str, float | None]) -> Proposal:
    profile = found.candidate.profile
    named = [
        f"register {spec.addr} reads 0x{int(value):04X}: {spec.one_of[int(value)]}"
        for name, spec in profile.points.items()
        if spec.one_of and profile.pace(name) == "once" and (value := values.get(name)) is not None
    ]
    known = sum(value is not None for value in values.values())
    plain: Sure = "likely" if found.numbers and known >= _NEARLY_ALL * len(values) else "possible"
    return Proposal(
        profile=profile.profile,
        title=profile.title,
        chosen=found.candidate.chosen,
        evidence=(*found.evidence, *named),
        sure="certain" if found.texts or named else plain,
        plausible=(known, len(values)),
        values=values,
    )


def _rank(proposal: Proposal) -> tuple[int, float, int, str]:
    """Sort by proof, then by the share of values that are plausible, then by how many these are."""
    known, whole = proposal.plausible
    return _ORDER.index(proposal.sure), -known / whole, -known, proposal.profile
