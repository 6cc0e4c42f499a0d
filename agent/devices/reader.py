"""Which frames of a device are due, and what becomes of one that is refused: the others are read all the same."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from agent.devices.errors import DeviceRefusedError
from agent.devices.layout import Frame, Place, plan_frames
from agent.devices.schema import Pace, Profile

Words = dict[Frame, list[int]]
ReadFrame = Callable[[int, int, int], Awaitable[list[int]]]
"""Reads registers: `await read(fc, address, count)`."""

SLOW_S = 30.0
"""Seconds between two reads of a slow frame."""
REFUSED_AGAIN_S = 300.0
"""Seconds after which registers that the device said not to have are asked for again."""
BUSY_PAUSES_S = (0.1, 0.3)
"""Pauses before a busy device is asked again; after them the poll fails and values grow stale, never 0."""
BUSY = frozenset({4, 5, 6})


class FrameReader:
    """Reads one device's frames at their pace.

    Args:
        read: Reads registers over the connection on which the device was identified.
    """

    def __init__(self, profile: Profile, read: ReadFrame) -> None:
        self._profile = profile
        self._read = read
        self._places: Mapping[str, Place] = {}
        self._plan: dict[Pace, list[Frame]] = {}
        self._kept: dict[Frame, tuple[float, list[int]]] = {}
        self._lacking: dict[Frame, tuple[float, DeviceRefusedError]] = {}

    def begin(self, places: Mapping[str, Place]) -> None:
        """Begin anew after a connect: it may be another device, or another firmware."""
        self._places = places
        self._plan_frames(merge=True)
        self._kept.clear()
        self._lacking.clear()

    async def read_due(self, now_s: float) -> tuple[Words, tuple[tuple[int, ...], ...]]:
        """Return the words of all frames, slow ones as last read, and those of the fast frames alone.

        Raises:
            DeviceRefusedError: The device refused every fast frame, is busy, or a gateway cannot reach it.
            DeviceError: The link failed.
        """
        words: Words = {}
        refused: dict[Frame, DeviceRefusedError] = {}
        fast = self._plan["fast"]
        for frame in fast:
            try:
                words[frame] = await self._read_unless_lacking(frame, now_s)
            except DeviceRefusedError as error:
                if error.code in BUSY:
                    raise
                refused[frame] = error
        if refused:
            self._note_refused(refused, now_s, alive=bool(words))
        live = tuple(tuple(words[frame]) for frame in fast if frame in words)
        for frame in self._plan["slow"]:
            await self._read_seldom(frame, now_s, SLOW_S)
        for frame in self._plan["once"]:
            await self._read_seldom(frame, now_s, None)
        return words | {frame: kept for frame, (_, kept) in self._kept.items()}, live

    def _note_refused(self, refused: Mapping[Frame, DeviceRefusedError], now_s: float, *, alive: bool) -> None:
        """Tell a device that lacks some registers, as firmware and dongles do, from one that refuses everything.

        Raises:
            DeviceRefusedError: Nothing at all was answered: the unit is away, or another device.
        """
        # Spans of SunSpec models are read one by one from now on: perhaps only one of them is missing.
        self._plan_frames(merge=False)
        if not alive:
            raise next(iter(refused.values()))
        for frame, error in refused.items():
            self._lacking.setdefault(frame, (now_s + REFUSED_AGAIN_S, error))

    def _plan_frames(self, *, merge: bool) -> None:
        points, profile = self._profile.points, self._profile
        readable = [name for name, spec in points.items() if spec.access == "r"]
        paces: tuple[Pace, ...] = ("fast", "slow", "once")
        self._plan = {
            pace: plan_frames(
                profile, self._places, [name for name in readable if profile.pace(name) == pace], merge=merge
            )
            for pace in paces
        }

    async def _read_seldom(self, frame: Frame, now_s: float, every_s: float | None) -> None:
        """Keep a frame's words, read again when they are due; `every_s` None reads it once."""
        kept = self._kept.get(frame)
        if kept is not None and (every_s is None or now_s - kept[0] < every_s):
            return
        try:
            self._kept[frame] = (now_s, await self._read_unless_lacking(frame, now_s))
        except DeviceRefusedError as error:
            self._kept.pop(frame, None)
            self._lacking.setdefault(frame, (now_s + REFUSED_AGAIN_S, error))

    async def _read_unless_lacking(self, frame: Frame, now_s: float) -> list[int]:
        """Read a frame, unless the device said a short while ago that it lacks it.

        Raises:
            DeviceRefusedError: It was refused, now or then.
        """
        until_s, refusal = self._lacking.get(frame, (now_s, None))
        if refusal is not None:
            if now_s < until_s:
                raise refusal
            del self._lacking[frame]
        return await self._patiently(frame)

    async def _patiently(self, frame: Frame) -> list[int]:
        for pause_s in BUSY_PAUSES_S:
            try:
                return await self._read(frame.fc, frame.address, frame.count)
            except DeviceRefusedError as error:
                if error.code not in BUSY:
                    raise
            await asyncio.sleep(pause_s)
        return await self._read(frame.fc, frame.address, frame.count)
