"""Rules between the parts of a profile. A wrong profile ends in a wrong setpoint, so every breach is refused."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from agent.devices.schema import ControlSpec, Profile
from agent.devices.sunspec import model_points

REQUIRED: dict[str, tuple[str, ...]] = {
    "meter": ("grid_w", "import_wh", "export_wh"),
    "pv": ("pv_w",),
    "hybrid": ("pv_w", "battery_w", "soc_pct"),
    "battery": ("battery_w", "soc_pct"),
}
"""Values without which a device of a kind is of no use to the home."""
UNITS = {"grid_w": "W", "pv_w": "W", "battery_w": "W", "import_wh": "Wh", "export_wh": "Wh", "soc_pct": "%"}


class Problem(NamedTuple):
    """One broken rule: where, what is wrong, and what to do."""

    key: str
    cause: str
    cure: str


def find_problems(profile: Profile, file_stem: str) -> list[Problem]:
    """Return every broken rule, in the order of the file."""
    return [problem for rule in _RULES for problem in rule(profile, file_stem)]


def _header(profile: Profile, file_stem: str) -> Iterator[Problem]:
    if profile.profile != file_stem:
        yield Problem("profile", f"is {profile.profile!r}", f"give it the file's name, {file_stem!r}")
    if not profile.identify and profile.sunspec is None:
        yield Problem("identify", "nothing tells this device from another one", "name a register and its range")
    for name in REQUIRED[profile.kind]:
        if name not in profile.provides:
            yield Problem("points", f"a device of kind {profile.kind} must give {name}", f"add {name}")


def _blocks(profile: Profile, _: str) -> Iterator[Problem]:
    limits = profile.limits
    for name, block in profile.blocks.items():
        key = f"blocks.{name}"
        if block.fc not in limits.functions:
            yield Problem(f"{key}.fc", f"function {block.fc} is not allowed", "add it to limits.functions")
        if block.count > limits.max_read:
            yield Problem(f"{key}.count", f"{block.count} registers, limit {limits.max_read}", "split the block")
        if limits.even_counts and block.count % 2:
            yield Problem(f"{key}.count", f"{block.count} is odd and limits.even_counts is set", "make it even")
        if block.addr + block.count > 0x10000:
            yield Problem(f"{key}.count", "reaches beyond register 65535", "make it shorter")


def _points(profile: Profile, _: str) -> Iterator[Problem]:
    for name, point in profile.points.items():
        key = f"points.{name}"
        if point.unit == "W" and point.sign is None:
            yield Problem(f"{key}.sign", "is missing", "say what a positive value means: import, production, ...")
        if point.access == "rw" and point.memory is None:
            yield Problem(f"{key}.memory", "is missing on a writable point", "say volatile, stored or unknown")
        if name in UNITS and point.unit != UNITS[name]:
            yield Problem(f"{key}.unit", f"is {point.unit!r}", f"{name} must come in {UNITS[name]}: use scale")
        if point.block is not None and point.addr is not None:
            block = profile.blocks.get(point.block)
            if block is None:
                yield Problem(f"{key}.block", f"there is no block {point.block!r}", "name one of blocks")
            elif point.addr < block.addr or point.addr + point.size > block.addr + block.count:
                last = block.addr + block.count - 1
                yield Problem(
                    f"{key}.addr", f"lies outside block {point.block} ({block.addr} to {last})", "widen the block"
                )
        elif point.model is not None:
            yield from _model_point(profile, key, point.model, point.point)


def _model_point(profile: Profile, key: str, handle: str, point: str | None) -> Iterator[Problem]:
    models = profile.sunspec.models if profile.sunspec else {}
    if handle not in models:
        yield Problem(f"{key}.model", f"there is no model {handle!r}", "name one of sunspec.models")
        return
    for model_id in models[handle].id:
        if point not in model_points(model_id):
            yield Problem(f"{key}.point", f"SunSpec model {model_id} has no point {point!r}", "check the model's list")


def _identify(profile: Profile, _: str) -> Iterator[Problem]:
    for index, proof in enumerate(profile.identify):
        if proof.model is not None:
            yield from _model_point(profile, f"identify.{index}", proof.model, proof.point)


def _derived(profile: Profile, _: str) -> Iterator[Problem]:
    for name, derived in profile.derived.items():
        for term in derived.sum:
            if term[1:] not in profile.points or profile.points[term[1:]].access != "r":
                yield Problem(f"derived.{name}.sum", f"there is no point {term[1:]!r} to read", "name one of points")
        if name in profile.points:
            yield Problem(f"derived.{name}", "is a point, too", "keep one of them")


def _control(profile: Profile, _: str) -> Iterator[Problem]:
    if profile.control is None:
        return
    control = profile.control.battery_w
    key = "control.battery_w"
    if not profile.limits.functions & {6, 16}:
        yield Problem("limits.functions", "has no function to write with", "add 6 or 16")
    if control.refresh_s * 3 > control.lease_s:
        cure = f"at most {control.lease_s // 3}: two refreshes may be lost"
        yield Problem(f"{key}.refresh_s", f"is {control.refresh_s} for a lease of {control.lease_s} s", cure)
    if control.when_we_vanish.by == "nobody":
        cure = "leave control out: the battery would stay at our last command for ever"
        yield Problem(f"{key}.when_we_vanish.by", "is nobody", cure)
    if control.timer not in control.confirm.read_back:
        yield Problem(f"{key}.confirm.read_back", "leaves out the timer", f"add {control.timer}")
    for name in (control.timer, *control.confirm.read_back):
        if name not in profile.points or profile.points[name].access != "rw":
            yield Problem(key, f"{name} is no writable point", "add it to points with access: rw")
    yield from _steps(profile, control, key)


def _steps(profile: Profile, control: ControlSpec, key: str) -> Iterator[Problem]:
    for part in ("prepare", "cycle", "release"):
        for step in getattr(control, part):
            point = profile.points.get(step.write)
            if point is None or point.access != "rw":
                cure = "add it to points with access: rw"
                yield Problem(f"{key}.{part}", f"{step.write} is no writable point", cure)
            elif part == "cycle" and point.memory == "stored":
                cure = "write it in prepare: a loop would wear out its memory"
                yield Problem(f"{key}.cycle", f"{step.write} is stored for good by the device", cure)
    if any(step.value == "=ac_w" for step in control.cycle) and "pv_w" not in profile.provides:
        yield Problem(f"{key}.cycle", "=ac_w needs the point pv_w", "add pv_w")


_RULES: tuple[Callable[[Profile, str], Iterator[Problem]], ...] = (
    _header,
    _blocks,
    _points,
    _identify,
    _derived,
    _control,
)
