"""From the owner's settings to the guard of the home's battery: the same in the guard's process and in the demo's."""

import math
import random
from collections.abc import Callable, Iterable, Sequence

from agent.config import HomeConfig
from agent.control.envelope import Envelope
from agent.control.grid import Connection, GridWatch
from agent.control.guard import Guard
from agent.control.ports import NoticeSink, Permit
from agent.devices.battery import Battery
from agent.devices.bounds import bounds
from agent.devices.commissioning import (
    AgreedEnvelope,
    CommissioningError,
    profile_id,
    read_record,
    read_signed,
    record_path,
)
from agent.devices.control_schema import ClampSpec
from agent.devices.device import Device
from agent.devices.opening import owner_profile
from agent.devices.poller import Polled
from agent.devices.reading import DeviceSample, HomeReading
from agent.guard_state import FileBrakes, open_budget
from coordinator.clock import Clock
from coordinator.errors import CommonwattError, ConfigError
from coordinator.identity import Identity

_PHASES_W = ("grid_l1_w", "grid_l2_w", "grid_l3_w")
_VOLTAGES = ("voltage_v", "voltage_l1_v", "voltage_l2_v", "voltage_l3_v")
_BOUNDLESS = ClampSpec(charge_w=math.inf, discharge_w=math.inf)
PV_SURPLUS, PV_NOISE_W = 1.3, 200.0
"""Panels give at most this many times their rating, at the edge of a cloud; and an inverter's zero is not exact."""


def owner_envelope(config: HomeConfig) -> Envelope | None:
    """Return the owner's limits, or where the commanded device bears less, its own; None without a battery.

    Powers are whole watts, as they are agreed to. A device that is told more than it bears does not obey, and then
    control would be given up.

    Raises:
        ConfigError: If a profile cannot be used, or owner and device together leave no room.
    """
    battery, device = config.battery, _bounds(config)
    if battery is None:
        return None
    low, high = device.soc_pct
    if max(battery.reserve_pct, low) >= min(battery.max_pct, high):
        raise ConfigError(
            f"[battery] keeps to {battery.reserve_pct:g} to {battery.max_pct:g} %, and the profile of its device to "
            f"{low:g} to {high:g} %: correct reserve_pct and max_pct, for nothing is left in between"
        )
    return Envelope(
        charge_w=math.floor(min(round(1000 * battery.charge_kw), device.charge_w)),
        discharge_w=math.floor(min(round(1000 * battery.discharge_kw), device.discharge_w)),
        reserve_pct=max(battery.reserve_pct, low),
        max_pct=min(battery.max_pct, high),
    )


def narrowed(config: HomeConfig) -> str | None:
    """Say where the commanded device bears less than [battery] allows; None where it does not.

    Raises:
        ConfigError: If a profile cannot be used.
    """
    battery, device = config.battery, _bounds(config)
    if battery is None:
        return None
    low, high = device.soc_pct
    limits = (
        ("charging with", battery.charge_kw, min(battery.charge_kw, device.charge_w / 1000), "kW"),
        ("giving", battery.discharge_kw, min(battery.discharge_kw, device.discharge_w / 1000), "kW"),
        ("down to", battery.reserve_pct, max(battery.reserve_pct, low), "%"),
        ("up to", battery.max_pct, min(battery.max_pct, high), "%"),
    )
    less = [f"{word} {kept:g} {unit}, not {asked:g}" for word, asked, kept, unit in limits if kept != asked]
    return f"by its profile the device bears less than [battery] allows: {'; '.join(less)}" if less else None


def _bounds(config: HomeConfig) -> ClampSpec:
    """Return what the device bears that `commanded` returns once control is enabled."""
    found = (bounds(owner_profile(settings)) for settings in config.devices.values())
    return next((each for each in found if each is not None), _BOUNDLESS)


def commanded(config: HomeConfig, devices: Iterable[Device]) -> Device | None:
    """Return the device whose battery may be commanded as soon as it is commissioned, if the owner wants that."""
    if config.battery is None or not config.control.enabled:
        return None
    return next((device for device in devices if device.profile.control is not None), None)


def open_guard(
    config: HomeConfig,
    devices: Sequence[Device],
    clock: Clock,
    public_key: bytes,
    on_notice: NoticeSink,
    alive: Callable[[], None] = lambda: None,
) -> Guard | None:
    """Return the guard of the home's battery; None where nothing may be commanded.

    Args:
        public_key: The home's own, by which the commissioning record must be signed.

    Raises:
        ConfigError: If what must outlive the guard cannot be read.
    """
    device, envelope = commanded(config, devices), owner_envelope(config)
    if device is None or envelope is None:
        return None
    brakes = FileBrakes(config.home.data_dir)
    budget = open_budget(config.home.data_dir, device.name, device.profile, brakes)
    without_timer = config.devices[device.name].unlock_no_reversion is not None
    return Guard(
        Battery(device, budget, without_timer=without_timer),
        envelope,
        clock,
        config.control,
        on_notice,
        permit=permit(config, device, envelope, public_key),
        brakes=brakes,
        grid=grid_watch(config),
        longest_s=longest_s(config, device),
        pv_max_w=math.inf if config.home.pv_kwp is None else PV_SURPLUS * 1000 * config.home.pv_kwp + PV_NOISE_W,
        alive=alive,
    )


def grid_watch(config: HomeConfig) -> GridWatch:
    """Return what watches the home's grid connection.

    This machine's start counts as the end of a power cut: the clock that never jumps counts from there. A simulated
    clock runs in a machine that simulates homes, and its start is none of theirs.
    """
    home = config.home
    watch = GridWatch(
        limit_w=math.inf if home.connection_kw is None else 1000 * home.connection_kw,
        fuse_a=math.inf if home.fuse_a is None else home.fuse_a,
        fresh_s=config.poll.stale_after_s,
        return_after_s=random.uniform(0, config.control.return_s),
    )
    if config.clock is None:
        watch.outage(0.0)
    return watch


def longest_s(config: HomeConfig, device: Device) -> int:
    """Return after how many seconds at most the device is on its own when all our programs end without a word.

    That is its timer as it will be set, or what it took when it was commissioned, if that was longer. A device without
    a timer has no such bound.
    """
    assert device.profile.control is not None
    set_s = min(config.control.reversion_s, device.profile.control.battery_w.lease_s)
    try:
        public_key = Identity.load(config.community.key_file).public_key
        record = read_signed(record_path(config.home.data_dir, device.name), public_key)
    except (CommonwattError, OSError):
        return set_s
    return max(set_s, record.reversion_s or 0)


def permit(config: HomeConfig, device: Device, envelope: Envelope, public_key: bytes) -> Permit:
    """Return what looks whether the device that answers now is the one that was commissioned, with these limits."""
    path = record_path(config.home.data_dir, device.name)

    async def look() -> str | None:
        identity = await device.read_identity()
        try:
            record = read_record(path, public_key, profile_id(device.profile), identity.device_id(device.where))
        except CommissioningError as error:
            return str(error)
        if not _within(envelope, record.envelope):
            agreed = record.envelope
            return (
                f"[battery] allows more than was agreed when it was commissioned (charging {agreed.charge_w} W up to "
                f"{agreed.max_pct:g} %, giving {agreed.discharge_w} W down to {agreed.reserve_pct:g} %): write that, "
                "or run `commonwatt commission` again"
            )
        return None

    return look


def _within(envelope: Envelope, agreed: AgreedEnvelope) -> bool:
    power = envelope.charge_w <= agreed.charge_w and envelope.discharge_w <= agreed.discharge_w
    return power and envelope.reserve_pct >= agreed.reserve_pct and envelope.max_pct <= agreed.max_pct


def connection(reading: HomeReading, devices: Iterable[Polled], battery: str | None, fresh_s: float) -> Connection:
    """Return what is known of the grid connection now.

    What flows there, its phases, voltages and frequency are the meter's to say: a battery's pack has volts of its own,
    and so has the grid that an inverter makes for itself during a power cut.

    Args:
        battery: Name of the device whose battery is commanded; any other battery counts as load. None is no device.
        fresh_s: Age up to which what a device said counts.
    """
    fresh = [
        (device, sample)
        for device in devices
        if (sample := device.latest) is not None and reading.monotonic_s - sample.monotonic_s <= fresh_s
    ]
    meter = next((sample for device, sample in fresh if "grid_w" in device.profile.provides), None)
    own = next((sample for device, sample in fresh if device.name == battery), None)
    at_grid = _sure(meter)
    grid_w, battery_w, net_load_w = at_grid.get("grid_w"), _sure(own).get("battery_w"), None
    if reading.quality == "valid" and grid_w is not None and battery_w is not None:
        net_load_w = grid_w + battery_w
    # The one that is doubtful may be the one that bears most; one that is absent is not connected.
    doubted = meter is not None and any(name in meter.doubtful for name in _PHASES_W)
    return Connection(
        monotonic_s=reading.monotonic_s,
        net_load_w=net_load_w,
        frequency_hz=at_grid.get("frequency_hz"),
        battery_w=None if net_load_w is None else battery_w,
        phases_w=() if doubted else tuple(at_grid[name] for name in _PHASES_W if name in at_grid),
        volts=tuple(at_grid[name] for name in _VOLTAGES if name in at_grid),
    )


def _sure(sample: DeviceSample | None) -> dict[str, float]:
    """Return what may be believed of a sample."""
    if sample is None:
        return {}
    return {name: value for name, value in sample.values.items() if value is not None and name not in sample.doubtful}
