"""A device whose registers say what they should not, and that makes of writes what it likes."""

from collections.abc import Mapping, Sequence

from agent.simulator.frames import ExceptionCode, ModbusDevice, ModbusError
from agent.simulator.knobs import DeviceKnobs
from agent.simulator.profile_device import ProfileDevice, RawPlace

Words = dict[int, int]
"""One read: word by address."""

_JUMP = 1000.0


class FaultyDevice:
    """Stands between a device and its line; behaves while `on` is False.

    Args:
        inner: The device.
        layout: Where the device's points lie; may be `inner` itself.
    """

    def __init__(self, inner: ModbusDevice, layout: ProfileDevice, knobs: DeviceKnobs) -> None:
        self.writes: list[tuple[int, tuple[int, ...]]] = []
        """Address and values of every write that was asked for."""
        self._inner = inner
        self._places = layout.places
        self._scales = layout.scales
        self._proofs = layout.proofs
        self._counters = layout.counters
        self._knobs = knobs
        self._on = True
        self._reads: dict[tuple[int, int, int], int] = {}
        self._before: dict[str, list[int]] = {}
        self._frozen: dict[tuple[int, int, int], list[int]] = {}
        self._first: dict[str, float] = {}
        self._counted: dict[str, int] = {}

    @property
    def on(self) -> bool:
        """Whether the fault acts."""
        return self._on

    @on.setter
    def on(self, on: bool) -> None:
        self._on = on
        self._reads.clear()
        self._frozen.clear()
        self._first.clear()
        self._counted.clear()

    def read(self, function: int, address: int, count: int) -> Sequence[int]:
        """Return registers (see `ModbusDevice`)."""
        honest = list(self._inner.read(function, address, count))
        words = dict(enumerate(honest, start=address))
        here = {
            name: place
            for name, place in self._places.items()
            if function in place.functions and all(at in words for at in place.addresses)
        }
        before = {name: self._before.get(name, _get(words, place)) for name, place in here.items()}
        self._before |= {name: _get(words, place) for name, place in here.items()}
        if not self._on:
            return honest
        frame = (function, address, count)
        self._reads[frame] = self._reads.get(frame, 0) + 1
        if self._knobs.frozen:
            return self._frozen.setdefault(frame, honest)
        self._refuse_missing(words, function)
        self._change(words, here, before, self._reads[frame])
        for proof_function, registers in self._proofs:
            if self._knobs.identity_gone and proof_function == function:
                words |= {at: 0xFFFF for at in registers if at in words}
        return [words[at] for at in range(address, address + count)]

    def write(self, address: int, values: Sequence[int]) -> None:
        """Take a write as the knobs say (see `ModbusDevice`)."""
        self.writes.append((address, tuple(values)))
        if self._on and self._knobs.writes == "refuse":
            raise ModbusError(ExceptionCode.DEVICE_FAILURE)
        if self._on and self._knobs.writes == "first_word" and len(values) > 1:
            values = [values[0], *self._inner.read(3, address, len(values))[1:]]
        self._inner.write(address, values)

    def _refuse_missing(self, words: Words, function: int) -> None:
        for name in self._knobs.missing:
            place = self._places.get(name)
            if place is not None and function in place.functions and any(at in words for at in place.addresses):
                raise ModbusError(ExceptionCode.ILLEGAL_ADDRESS)

    def _change(self, words: Words, here: Mapping[str, RawPlace], before: Mapping[str, list[int]], reads: int) -> None:
        knobs = self._knobs
        now_and_then = reads % knobs.every == 0
        for name, place in here.items():
            raw = place.decode(_get(words, place))
            if name in knobs.absent:
                _put(words, place, _sentinel(place.kind))
            if name in dict(knobs.shows) and now_and_then:
                _put(words, place, place.encode(dict(knobs.shows)[name]))
            if name in dict(knobs.times):
                _put(words, place, place.encode(raw * dict(knobs.times)[name]))
            if name in knobs.negated:
                _put(words, place, place.encode(-raw))
            if name in knobs.torn and now_and_then:
                _put(words, place, [*_get(words, place)[:1], *before[name][1:]])
            if knobs.counters is not None and name in self._counters:
                _put(words, place, place.encode(self._count(name, raw)))
            if knobs.swap_words:
                _put(words, place, _get(words, place)[::-1])
        if knobs.scale_apart and reads % 2:
            self._shift_scales(words, here)

    def _count(self, name: str, raw: float) -> float:
        """Return what a counter shows instead of `raw`."""
        first = self._first.setdefault(name, raw)
        self._counted[name] = self._counted.get(name, 0) + 1
        match self._knobs.counters:
            case "drop":
                return 0.0 if self._counted[name] <= self._knobs.counter_reads else raw
            case "reset":
                return raw - first
            case "negative":
                return -raw
            case "jump":
                return raw * _JUMP if self._counted[name] == 1 else raw
            case _:
                step = 1000.0 / self._counters[name]
                return raw // step * step

    def _shift_scales(self, words: Words, here: Mapping[str, RawPlace]) -> None:
        """Show every scale factor one higher, and what it belongs to a tenth."""
        shifted: set[int] = set()
        for name, place in here.items():
            at = self._scales.get(name)
            if at is not None and at in words:
                _put(words, place, place.encode(place.decode(_get(words, place)) / 10))
                shifted.add(at)
        for at in shifted:
            words[at] = words[at] + 1 & 0xFFFF


def _get(words: Words, place: RawPlace) -> list[int]:
    return [words[at] for at in place.addresses]


def _put(words: Words, place: RawPlace, values: Sequence[int]) -> None:
    words |= dict(zip(place.addresses, values, strict=True))


def _sentinel(kind: str) -> list[int]:
    size = {"16": 1, "32": 2, "64": 4}[kind[1:]]
    if kind[0] == "f":
        return [0x7FC0, *[0] * (size - 1)]
    return [0x8000, *[0] * (size - 1)] if kind[0] == "i" else [0xFFFF] * size
