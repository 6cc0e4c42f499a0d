"""One device behind a link: identify it, read it as one sample, and carry out control steps for the guard."""

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from agent.devices.commissioning import DeviceIdentity
from agent.devices.decoding import Decoder
from agent.devices.errors import DeviceError, LinkDownError, WriteIgnoredError, WrongDeviceError
from agent.devices.judge import Judge
from agent.devices.layout import (
    Frame,
    Place,
    derive,
    encode_point,
    find_models,
    place_points,
    plan_frames,
)
from agent.devices.link import ModbusLink
from agent.devices.nameplate import read_nameplate
from agent.devices.night import Night
from agent.devices.proof import expected, in_words, proves, shown
from agent.devices.reader import FrameReader
from agent.devices.reading import DeviceSample
from agent.devices.registers import scale_factor
from agent.devices.schema import IdentifySpec, Profile
from agent.devices.sunspec import ModelAt, model_points, scan
from coordinator.clock import Clock


class Device:
    """One device.

    Args:
        name: How the owner calls it.
        unit: Modbus unit id; None takes the profile's.
    """

    def __init__(self, name: str, profile: Profile, link: ModbusLink, clock: Clock, unit: int | None = None) -> None:
        self.name = name
        self.profile = profile
        self.link = link
        self.unit = profile.link.unit if unit is None else unit
        self.latest: DeviceSample | None = None
        self._clock = clock
        self._generation = 0
        self._identified = False
        self._identifying = asyncio.Lock()
        self._chain: list[ModelAt] = []
        self._says = ""
        self._identity: DeviceIdentity | None = None
        self._places: Mapping[str, Place] = {}
        self._readable = [name for name, spec in profile.points.items() if spec.access == "r"]
        self._decoder = Decoder(self._readable, {})
        self._reader = FrameReader(profile, self._read)
        self._judge = Judge(profile)
        self._night = Night(profile)

    @property
    def where(self) -> str:
        """The device in words, for errors."""
        return f"unit {self.unit} at {self.link.url}"

    @property
    def now(self) -> datetime:
        """The moment, in UTC."""
        return self._clock.now()

    async def identify(self) -> None:
        """Connect if needed, find the device's models and prove that it is the one of the profile.

        Raises:
            WrongDeviceError: Another device answers.
            DeviceError: The link failed.
        """
        self._identified = False
        self._identity = None
        self._generation = await self.link.open()
        chain: list[ModelAt] = []
        if self.profile.sunspec is not None:
            chain = await scan(self._read_holding, self.profile.sunspec.base, self.where)
        models = find_models(self.profile, chain)
        for handle, spec in (self.profile.sunspec.models if self.profile.sunspec else {}).items():
            if handle not in models and not spec.optional:
                wanted = " or ".join(map(str, spec.id))
                has = ", ".join(str(model.model_id) for model in chain)
                raise WrongDeviceError(f"{self.where} has no SunSpec model {wanted}, only {has}: try another profile")
        self._says = ""
        for proof in self.profile.identify:
            self._says = await self._prove(proof, models) or self._says
        self._chain = chain
        self._places = place_points(self.profile, models)
        self._decoder = Decoder(self._readable, self._places)
        self._reader.begin(self._places)
        self._identified = True

    async def read_identity(self) -> DeviceIdentity:
        """Return what the device says of itself; asked anew after each connect, because another may answer then.

        Raises:
            DeviceError: The device could not be read or is not the right one.
        """
        await self._ensure_identified()
        if self._identity is None:
            self._identity = await read_nameplate(self._read_holding, self._chain, self._says)
        return self._identity

    async def poll(self) -> DeviceSample:
        """Read all values of the profile that are due.

        Raises:
            DeviceError: The device could not be read or is not the right one; `latest` keeps the last good sample.
        """
        try:
            self.latest = await self._poll()
        except DeviceError as error:
            now_s = self._clock.monotonic()
            if not self._night.failed(now_s, error):
                raise
            self.latest = self._sleeping(self._clock.now(), now_s)
        return self.latest

    async def _poll(self) -> DeviceSample:
        await self._ensure_identified()
        started_at, started_s = self._clock.now(), self._clock.monotonic()
        words, live = await self._reader.read_due(started_s)
        ended_at, ended_s = self._clock.now(), self._clock.monotonic()
        at, at_s = started_at + (ended_at - started_at) / 2, (started_s + ended_s) / 2
        values = self._decoder.values(words)
        asleep = self._night.seen(at_s, values | derive(self.profile, values))
        doubtful = self._judge.judge(at, at_s, values, live)
        counters, held = self._judge.counters(at, values)
        values |= counters
        return DeviceSample(
            name=self.name,
            at=at,
            monotonic_s=started_s,
            values=values | derive(self.profile, values) | (self._night.zeros() if asleep else {}),
            doubtful=doubtful | held,
            asleep=asleep,
        )

    def _sleeping(self, at: datetime, at_s: float) -> DeviceSample:
        """Return what is known of a device that does not answer because it sleeps."""
        unknown: dict[str, float | None] = dict.fromkeys(self.profile.provides)
        values = unknown | self._judge.held_counters() | self._night.zeros()
        return DeviceSample(name=self.name, at=at, monotonic_s=at_s, values=values, asleep=True)

    async def read_points(self, names: Iterable[str]) -> dict[str, float | None]:
        """Return the named points; those the device lacks are None.

        Raises:
            DeviceError: The device could not be read or is not the right one.
        """
        wanted = list(names)
        await self._ensure_identified()
        words: dict[Frame, list[int]] = {}
        for frame in plan_frames(self.profile, self._places, wanted):
            words[frame] = await self._read(frame.fc, frame.address, frame.count)
        return Decoder(wanted, self._places).values(words)

    async def write_point(
        self,
        name: str,
        value: float,
        generation: int | None = None,
        not_after_s: float = math.inf,
        leaving: Callable[[], None] = lambda: None,
    ) -> None:
        """Write one point, in its unit and the house's sign. Only the guard's steps may come here.

        Args:
            generation: The only connection over which it may be written; None is any.
            not_after_s: The last moment at which the write may leave, on the clock that never jumps.
            leaving: Called when it leaves: from then on it may have been carried out, whatever is answered.

        Raises:
            WriteIgnoredError: The device cannot take this value: it lacks the point, or the value is out of range.
            DeviceError: The link failed, or the device refused.
        """
        await self._ensure_identified()
        if generation not in (None, self._generation):
            raise LinkDownError(f"{self.where} was connected anew: it is looked at again before anything is written")
        place = self._places.get(name)
        scale: float | None = None if place is None else 1.0
        if place is not None and place.scale_address is not None:
            scale = scale_factor((await self._read(place.frame.fc, place.scale_address, 1))[0])
        if place is None or scale is None:
            raise WriteIgnoredError(f"{self.where} has no {name} to write")
        try:
            words = encode_point(place, value, scale)
        except ValueError as error:
            raise WriteIgnoredError(f"{self.where} cannot take {name}: {error}") from None
        single = len(words) == 1 and 6 in self.profile.limits.functions
        at = place.addresses[0]
        await self.link.write(
            self._generation, self.unit, at, words, single=single, not_after_s=not_after_s, leaving=leaving
        )

    async def _ensure_identified(self) -> None:
        async with self._identifying:
            if not self._identified or not self.link.connected or self.link.generation != self._generation:
                await self.identify()

    async def _read(self, fc: int, address: int, count: int) -> list[int]:
        # Tied to the connection over which the device was identified: after a reconnect somebody else may answer.
        return await self.link.read(self._generation, self.unit, fc, address, count)

    async def _read_holding(self, address: int, count: int) -> list[int]:
        return await self._read(3, address, count)

    async def _prove(self, proof: IdentifySpec, models: Mapping[str, ModelAt]) -> str:
        """Return the text by which the device is known; empty where a number proves it."""
        if proof.model is not None and proof.point is not None:
            point = model_points(models[proof.model].model_id)[proof.point]
            words = await self._read_holding(models[proof.model].address + point.offset, point.size)
        else:
            assert proof.fc is not None
            assert proof.addr is not None
            words = await self._read(proof.fc, proof.addr, proof.size)
        value = shown(proof, words)
        if proves(proof, value):
            return value if isinstance(value, str) else ""
        if proof.starts_with is not None:
            raise WrongDeviceError(f"{self.where} says it is {in_words(value)}, not {expected(proof)}: another device?")
        raise WrongDeviceError(
            f"{self.where} shows {in_words(value)} at register {proof.addr} where a {self.profile.title} shows "
            f"{expected(proof)}: is it another device, or the wrong profile?"
        )
