"""A device made of nothing but its profile: every register the profile names, showing what a house's values make of it.

It reads the profile as plain data and encodes with code of its own, so that it is a second opinion on what the agent
decodes. What the profile does not name it does not have, and refuses.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.simulator.frames import READ_HOLDING, ExceptionCode, ModbusError
from agent.simulator.sunspec_model import ModelImage, Point

Data = Mapping[str, Any]
Values = Mapping[str, float]
"""By point name, in the point's unit and the house's sign (+ flows into the house bus)."""

FORMATS = {"u16": "H", "i16": "h", "u32": "I", "i32": "i", "u64": "Q", "i64": "q", "f32": "f", "f64": "d"}
OUT_OF_THE_HOUSE = ("export", "consumption", "charge")
SUNS = (0x5375, 0x6E53)
BASE = 40000
EXPONENTS = {
    "Hz_SF": -2,
    "ChaState_SF": -2,
    "Pct_SF": -1,
    "SoC_SF": -2,
    "V_SF": -1,
    "A_SF": -2,
    "WH_SF": 2,
    "WHRtg_SF": 2,
    "MinRsvPct_SF": -2,
}
"""Scale factors of the simulated SunSpec models; all others are 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawPlace:
    """Where a point's raw value lies: its registers, the high word first."""

    functions: tuple[int, ...]
    addresses: tuple[int, ...]
    kind: str

    def encode(self, raw: float) -> list[int]:
        """Return the words of a raw value, high word first; whole numbers are held inside the type."""
        letter = FORMATS[self.kind]
        if self.kind[0] != "f":
            bits = 16 * len(self.addresses)
            low, high = (0, (1 << bits) - 1) if self.kind[0] == "u" else (-(1 << bits - 1), (1 << bits - 1) - 1)
            raw = min(max(round(raw), low), high)
        return list(struct.unpack(f">{len(self.addresses)}H", struct.pack(f">{letter}", raw)))

    def decode(self, words: Sequence[int]) -> float:
        """Return the raw value of words, high word first."""
        data = struct.pack(f">{len(words)}H", *words)
        return float(struct.unpack(f">{FORMATS[self.kind]}", data)[0])


class ProfileDevice:
    """The registers of one device.

    Args:
        profile: A profile's data after the installer's choices, as in its file.
        show: Returns the house's values now; points without one keep a value that fits their unit.
    """

    def __init__(self, profile: Data, show: Callable[[], Values]) -> None:
        self._points: dict[str, Data] = profile["points"]
        self._show = show
        self._words: dict[tuple[int, int], int] = {}
        self._models: dict[str, ModelImage] = {}
        self._starts: dict[str, int] = {}
        self._writable: dict[int, str] = {}
        self.places: dict[str, RawPlace] = {}
        self.scales: dict[str, int] = {}
        """Address of the scale factor register of a point, where it has one."""
        self.proofs: list[tuple[int, range]] = []
        """Function and registers of what identifies the device."""
        self.writes: list[tuple[int, tuple[int, ...]]] = []
        """Address and values of every write that was taken."""
        self._lay_blocks(profile)
        self._lay_models(profile)
        self._prove(profile.get("identify", ()))
        for name, spec in self._points.items():
            self._put(name, usual_value(name, spec))
            if spec.get("access") == "rw":
                self._writable |= dict.fromkeys(self.places[name].addresses, name)

    def read(self, function: int, address: int, count: int) -> Sequence[int]:
        """Return registers of one moment (see `ModbusDevice`)."""
        for name, value in self._show().items():
            if name in self._points and self._points[name].get("access", "r") == "r":
                self._put(name, value)
        try:
            return [self._words[function, at] for at in range(address, address + count)]
        except KeyError:
            raise ModbusError(ExceptionCode.ILLEGAL_ADDRESS) from None

    def write(self, address: int, values: Sequence[int]) -> None:
        """Take a write of points that may be written, each of them whole."""
        touched = range(address, address + len(values))
        names = {self._writable.get(at) for at in touched}
        if None in names or any(set(self.places[name].addresses) - set(touched) for name in names if name):
            raise ModbusError(ExceptionCode.ILLEGAL_ADDRESS)
        for at, value in zip(touched, values, strict=True):
            for function in (3, 4):
                if (function, at) in self._words:
                    self._words[function, at] = value
        self.writes.append((address, tuple(values)))

    def value(self, name: str) -> float:
        """Return what a point's registers say, in its unit and the house's sign."""
        place, spec = self.places[name], self._points[name]
        words = [self._words[place.functions[0], at] for at in place.addresses]
        return place.decode(words) * self._factor(spec)

    @property
    def counters(self) -> dict[str, float]:
        """Energy counters, with the Wh of one raw step."""
        return {name: abs(self._factor(spec)) for name, spec in self._points.items() if spec.get("unit") == "Wh"}

    def _lay_blocks(self, profile: Data) -> None:
        blocks = profile.get("blocks", {})
        for block in blocks.values():
            for at in range(block["addr"], block["addr"] + block["count"]):
                self._words.setdefault((block["fc"], at), 0)
        for name, spec in self._points.items():
            if "block" in spec:
                function, size = blocks[spec["block"]]["fc"], struct.calcsize(FORMATS[spec["type"]]) // 2
                near = list(spec.get("regs") or range(spec["addr"], spec["addr"] + size))
                high_first = near if spec.get("regs") or spec.get("words", "big") == "big" else near[::-1]
                self.places[name] = RawPlace(functions=(function,), addresses=tuple(high_first), kind=spec["type"])

    def _lay_models(self, profile: Data) -> None:
        sunspec = profile.get("sunspec")
        if sunspec is None:
            return
        base = sunspec.get("base", [BASE])[0]
        at = base + len(SUNS)
        for handle, wanted in sunspec["models"].items():
            used = [spec.get("module", 1) for spec in self._points.values() if spec.get("model") == handle]
            modules = max(used, default=1)
            model = ModelImage(wanted["id"][0], modules)
            scales = {point.scale_factor for point in model.points.values() if point.scale_factor in model.points}
            model.set_scales(**{str(name): EXPONENTS.get(str(name), 0) for name in scales})
            self._models[handle], self._starts[handle] = model, at
            at += len(model.registers)
        self._words |= {(READ_HOLDING, base + index): word for index, word in enumerate(SUNS)}
        self._words |= {(READ_HOLDING, at): 0xFFFF, (READ_HOLDING, at + 1): 0}
        for handle, model in self._models.items():
            self._words |= {(READ_HOLDING, self._starts[handle] + i): word for i, word in enumerate(model.registers)}
        for name, spec in self._points.items():
            if "model" in spec:
                point, start = self._point(spec), self._starts[spec["model"]]
                addresses = tuple(range(start + point.offset, start + point.offset + point.size))
                self.places[name] = RawPlace(functions=(READ_HOLDING,), addresses=addresses, kind=_kind(point))
                if point.scale_factor in self._models[spec["model"]].points:
                    scale = self._models[spec["model"]].points[str(point.scale_factor)]
                    self.scales[name] = start + scale.offset

    def _point(self, spec: Data) -> Point:
        points, module = self._models[spec["model"]].points, spec.get("module")
        if module is None:
            return points[spec["point"]]
        inner = "" if module == 1 else f"{module}."
        return next(point for name, point in points.items() if name.endswith(f".{inner}{spec['point']}"))

    def _prove(self, proofs: Sequence[Data]) -> None:
        """Show what identifies the device."""
        for proof in proofs:
            if "model" in proof:
                point = self._models[proof["model"]].points[proof["point"]]
                start, words = self._starts[proof["model"]] + point.offset, point.encode(proof["starts_with"])
                self._words |= {(READ_HOLDING, start + index): word for index, word in enumerate(words)}
                self.proofs.append((READ_HOLDING, range(start, start + len(words))))
                continue
            if "starts_with" in proof:
                text = proof["starts_with"].encode().ljust(2 * proof["length"], b"\0")
                words = struct.unpack(f">{proof['length']}H", text)
            else:
                low, high = proof.get("within", (0, 0))
                raw = proof["one_of"][0] if "one_of" in proof else (low + high) / 2
                size = struct.calcsize(FORMATS[proof["type"]]) // 2
                place = RawPlace(functions=(), addresses=tuple(range(size)), kind=proof["type"])
                words = tuple(place.encode(raw)[:: 1 if proof.get("words", "big") == "big" else -1])
            self._words |= {(proof["fc"], proof["addr"] + index): word for index, word in enumerate(words)}
            self.proofs.append((proof["fc"], range(proof["addr"], proof["addr"] + len(words))))

    def _put(self, name: str, value: float) -> None:
        place, spec = self.places[name], self._points[name]
        if "bit" in spec:
            raw: float = int(value) << spec["bit"]
        else:
            raw = value / self._factor(spec)
        for at, word in zip(place.addresses, place.encode(raw), strict=True):
            for function in place.functions:
                self._words[function, at] = word

    def _factor(self, spec: Data) -> float:
        """Return what turns a raw value into the point's unit and the house's sign."""
        factor = float(spec.get("scale", 1.0)) * (-1 if spec.get("sign") in OUT_OF_THE_HOUSE else 1)
        if "model" in spec and self._point(spec).scale_factor is not None:
            scale = str(self._point(spec).scale_factor)
            factor *= 10.0 ** (EXPONENTS.get(scale, 0) if scale in self._models[spec["model"]].points else int(scale))
        if "scale_from" in spec:
            factor *= 10.0 ** self.value(spec["scale_from"])
        return float(factor)


def _kind(point: Point) -> str:
    size = {1: "16", 2: "32", 4: "64"}[point.size]
    if point.kind.startswith("float"):
        return f"f{size}"
    return f"{'i' if point.kind.startswith('int') or point.kind == 'sunssf' else 'u'}{size}"


USUAL = {"W": 1000.0, "Wh": 1_204_600.0, "V": 231.0, "A": 4.2, "Hz": 50.0, "%": 55.0, "s": 0.0}


def usual_value(name: str, spec: Data) -> float:
    """Return a value that a point may well have: by its unit, inside its range."""
    if "one_of" in spec:
        return float(next(iter(spec["one_of"])))
    value = USUAL.get(spec.get("unit", ""), 1.0)
    low, high = spec.get("range", (value, value))
    return float(min(max(value, low), high))
