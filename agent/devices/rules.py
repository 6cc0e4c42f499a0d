"""Rules between the parts of a profile. A wrong profile ends in a wrong setpoint, so every breach is refused."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from agent.devices.control_schema import ControlSpec, StepSpec
from agent.devices.schema import PointSpec, Profile
from agent.devices.sunspec import model_points

REQUIRED: dict[str, tuple[str, ...]] = {
    "meter": ("grid_w", "import_wh", "export_wh"),
    "pv": ("pv_w",),
    "hybrid": ("pv_w", "battery_w", "soc_pct"),
    "battery": ("soc_pct",),
    "load": ("power_w",),
}
"""Values without which a device of a kind is of no use to the home."""
UNITS = {"_w": "W", "_wh": "Wh", "_pct": "%", "_v": "V", "_a": "A", "_hz": "Hz", "_s": "s"}
"""The unit that the end of a point's name promises."""
STORED_WRITES_PER_DAY = 24
"""What a register bears whose memory is flash, or may be: ten years of that are 88,000 writes."""


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
    if "grid_w" in profile.provides and not {"import_wh", "export_wh"} <= profile.provides:
        cure = "add import_wh and export_wh, or call it own_grid_w: without counters nothing can be settled"
        yield Problem("points", "grid_w is given without its counters", cure)


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
        if point.unit == "W" and point.sign is None and not _is_size(profile, name):
            yield Problem(f"{key}.sign", "is missing", "say what a positive value means: import, production, ...")
        if point.access == "rw" and point.regs is not None:
            yield Problem(f"{key}.regs", "cannot be written in one request", "leave access: rw out")
        if point.access == "rw" and point.memory is None:
            yield Problem(f"{key}.memory", "is missing on a writable point", "say volatile, stored or unknown")
        unit = next((unit for end, unit in UNITS.items() if name.endswith(end)), point.unit)
        if point.unit != unit:
            yield Problem(f"{key}.unit", f"is {point.unit!r}", f"{name} must come in {unit}: use scale")
        if point.counter is not None and point.unit != "Wh":
            yield Problem(f"{key}.counter", "is on a point that is no energy", "remove it, or give unit Wh")
        if point.range is not None and point.range[0] >= point.range[1]:
            yield Problem(f"{key}.range", "is empty", "write the lower end first")
        if point.block is not None:
            yield from _in_block(profile, key, point)
        elif point.model is not None:
            yield from _model_point(profile, key, point.model, point.point, point.module)


def _is_size(profile: Profile, name: str) -> bool:
    """Whether a value in W is a size and no flow: a rating, a limit, or a magnitude whose direction lies elsewhere."""
    magnitudes = {derived.magnitude for derived in profile.derived.values()}
    return name in magnitudes or any(part in ("max", "rated", "limit") for part in name.split("_"))


def _in_block(profile: Profile, key: str, point: PointSpec) -> Iterator[Problem]:
    block = profile.blocks.get(point.block or "")
    if block is None:
        yield Problem(f"{key}.block", f"there is no block {point.block!r}", "name one of blocks")
        return
    last = block.addr + block.count - 1
    if min(point.addresses) < block.addr or max(point.addresses) > last:
        place = "regs" if point.regs else "addr"
        yield Problem(f"{key}.{place}", f"lies outside block {point.block} ({block.addr} to {last})", "widen the block")
    if point.scale_from is not None:
        scale = profile.points.get(point.scale_from)
        if scale is None or scale.block != point.block:
            cure = "read both in one block: a scale factor belongs to the values of its moment"
            yield Problem(f"{key}.scale_from", f"{point.scale_from!r} is no point of block {point.block}", cure)


def _model_point(
    profile: Profile, key: str, handle: str, point: str | None, module: int | None = None
) -> Iterator[Problem]:
    models = profile.sunspec.models if profile.sunspec else {}
    if handle not in models:
        yield Problem(f"{key}.model", f"there is no model {handle!r}", "name one of sunspec.models")
        return
    for model_id in models[handle].id:
        if point not in model_points(model_id, module):
            yield Problem(f"{key}.point", f"SunSpec model {model_id} has no point {point!r}", "check the model's list")


def _identify(profile: Profile, _: str) -> Iterator[Problem]:
    for index, proof in enumerate(profile.identify):
        key = f"identify.{index}"
        if proof.model is not None:
            yield from _model_point(profile, key, proof.model, proof.point)
        elif proof.fc not in profile.limits.functions:
            yield Problem(f"{key}.fc", f"function {proof.fc} is not allowed", "add it to limits.functions")
        elif profile.limits.even_counts and proof.size % 2:
            yield Problem(key, f"reads {proof.size} registers and limits.even_counts is set", "choose another proof")


def _derived(profile: Profile, _: str) -> Iterator[Problem]:
    for name, derived in profile.derived.items():
        key = f"derived.{name}"
        for part in derived.inputs:
            yield from _read_each_poll(profile, f"{key}.sum", part)
        if name in profile.points:
            yield Problem(key, "is a point, too", "keep one of them")
        if derived.magnitude in profile.points and derived.direction in profile.points:
            one, other = profile.points[derived.magnitude], profile.points[derived.direction]
            if one.block is None or one.block != other.block:
                cure = "read both in one block: apart, a change of direction gives the wrong sign"
                yield Problem(key, f"{derived.magnitude} and {derived.direction} come from different moments", cure)


def _checks(profile: Profile, _: str) -> Iterator[Problem]:
    for index, check in enumerate(profile.checks):
        for name in (*check.inputs, check.equals):
            yield from _read_each_poll(profile, f"checks.{index}", name)


def _read_each_poll(profile: Profile, key: str, name: str) -> Iterator[Problem]:
    if name not in profile.points or profile.points[name].access != "r":
        yield Problem(key, f"there is no point {name!r} to read", "name one of points")
    elif profile.points[name].block in (None, *profile.blocks) and profile.pace(name) != "fast":
        yield Problem(key, f"{name} is not of the same poll as the others", "give its block every: fast")


def _asleep(profile: Profile, _: str) -> Iterator[Problem]:
    for name in profile.asleep.zero if profile.asleep else ():
        if name not in profile.provides or name.endswith("_wh"):
            yield Problem("asleep.zero", f"{name} is no power of this device", "name the powers that are 0 at night")


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
    if (control.when_we_vanish.by == "nobody") != (control.timer is None):
        cure = (
            "name the timer that ends our command, or write timer: null and by: nobody, which needs the owner's unlock"
        )
        yield Problem(f"{key}.when_we_vanish.by", f"is {control.when_we_vanish.by}, timer {control.timer}", cure)
    timer = [] if control.timer is None else [control.timer]
    for name in set(timer) - set(control.confirm.read_back):
        yield Problem(f"{key}.confirm.read_back", "leaves out the timer", f"add {name}")
    for name in (*timer, *control.confirm.read_back):
        if name not in profile.points or profile.points[name].access != "rw":
            yield Problem(key, f"{name} is no writable point", "add it to points with access: rw")
    for need in control.require:
        if need.point not in profile.points or profile.points[need.point].access != "r":
            cure = "add it to points with access: r; what the owner sets is never written"
            yield Problem(f"{key}.require", f"{need.point} is no point that is only read", cure)
    if control.confirm.effect.point not in profile.provides:
        cure = "name the value in which the effect is seen"
        yield Problem(f"{key}.confirm.effect.point", f"there is no {control.confirm.effect.point}", cure)
    yield from _steps(profile, control, key)


_MAY_COMMAND = {704: "WSet", 124: ""}
"""SunSpec models that command power, and how the names of their points that do so begin: 704 holds reactive power and
power factor too. All others that can be written are settings of protection and grid code, which are never touched."""


def _grid_code(profile: Profile, _: str) -> Iterator[Problem]:
    models = profile.sunspec.models if profile.sunspec else {}
    for name, point in profile.points.items():
        if point.access != "rw" or point.model is None or point.model not in models:
            continue
        for model_id in models[point.model].id:
            if not (point.point or "").startswith(_MAY_COMMAND.get(model_id, "\0")):
                cure = "leave access: rw out; only power is ever commanded"
                yield Problem(f"points.{name}", f"would write SunSpec model {model_id} {point.point}", cure)


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
            elif part == "cycle" and point.memory == "unknown" and control.write_budget_per_day is None:
                cure = f"say how many writes a day it bears; unknown memory counts as stored ({STORED_WRITES_PER_DAY})"
                yield Problem(f"{key}.write_budget_per_day", f"is missing and the memory of {step.write} unknown", cure)
    # At its reserve, or under an operator's limit, a battery is commanded 0 W; on its own it would keep neither.
    rest = {step.write: _at_rest(step) for step in control.cycle}
    if all(rest.get(step.write) == _at_rest(step) for step in control.release):
        cure = "name a command that holds the battery at 0 W, or leave control out"
        yield Problem(f"{key}.cycle", "commands 0 W by what hands the battery back", cure)
    if any(step.value == "=ac_w" for step in control.cycle) and "pv_w" not in profile.provides:
        yield Problem(f"{key}.cycle", "=ac_w needs the point pv_w", "add pv_w")


_POWERS = ("=battery_w", "=charge_w", "=discharge_w", "=magnitude_w")


def _at_rest(step: StepSpec) -> float | None:
    """Return what a step writes where the battery is to rest; None where the sun or the timer decides that."""
    if step.case is not None:
        return step.case["idle"]
    if isinstance(step.value, str):
        return 0.0 if step.value in _POWERS else None
    return step.value


_RULES: tuple[Callable[[Profile, str], Iterator[Problem]], ...] = (
    _header,
    _blocks,
    _points,
    _identify,
    _derived,
    _checks,
    _asleep,
    _control,
    _grid_code,
)
