"""Looks at every device once, for `check`. Reads only: no write function code ever leaves."""

import asyncio
import contextlib
from collections.abc import Sequence

from agent.config import HomeConfig
from agent.devices.balance import OF_THE_HOME, DevicePart, check_home, combine
from agent.devices.device import Device
from agent.devices.errors import DeviceError, LinkDownError, NoAnswerError, WrongDeviceError
from agent.devices.opening import LinkPool, open_device
from agent.devices.poller import Polled
from agent.devices.reading import DeviceSample, HomeReading
from agent.findings import Finding, good, wrong
from agent.guard_link import GuardLink, RemoteDevice, is_served
from agent.guard_server import SOCKET
from agent.live_words import device_words, home_words
from coordinator.clock import Clock
from coordinator.errors import ConfigError

GUARD_READS_S = 10.0
"""How long the guard may take to have read every device once, or to say why it cannot."""


async def look_at_devices(config: HomeConfig, clock: Clock) -> tuple[list[Finding], list[Device]]:
    """Look at every device, all at the same time: identify and read it, or ask the guard that does so already.

    Returns:
        What was found, and the devices whose profile can be used, closed.
    """
    findings: list[Finding] = []
    devices: list[Device] = []
    pool = LinkPool(clock)
    for name, settings in config.devices.items():
        try:
            devices.append(open_device(name, settings, pool, clock))
        except ConfigError as error:
            findings.append(wrong(name, str(error)))
    whole = len(devices) == len(config.devices)
    if await is_served(config.home.data_dir / SOCKET):
        # It alone has the links: many devices allow one connection only, and would throw out the guard's.
        seen: Sequence[Polled] = await _ask_guard(config, clock, findings) if whole else ()
    else:
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(pool.close)
            findings += await asyncio.gather(*(_look_at(device) for device in devices))
        seen = devices if whole else ()
    if seen:
        findings.append(_balance(config, seen, clock))
    return findings + _fuses(config, devices), devices


async def _ask_guard(config: HomeConfig, clock: Clock, findings: list[Finding]) -> Sequence[Polled]:
    """Note what the running guard says of itself and the devices; return these as it reads them."""
    link = GuardLink(config, clock)
    await link.listen(GUARD_READS_S)
    if link.status is None:
        findings.append(wrong("guard", f"it runs, but says nothing at {link.path}: start it again"))
        return ()
    findings.append(
        good("guard", f"it runs, and was asked in place of the devices it reads; it says: {link.status.reason}")
    )
    findings += [_heard(device) for device in link.devices]
    return link.devices


def _heard(device: RemoteDevice) -> Finding:
    if device.trouble is not None:
        return wrong(device.name, f"the guard cannot read it: {device.trouble}")
    if device.latest is None:
        return wrong(device.name, "the guard has not read it yet: ask again in a minute")
    return _judged(device, device.latest, "the guard's reading")


async def _look_at(device: Device) -> Finding:
    try:
        try:
            sample = await device.poll()
        except NoAnswerError:
            sample = await device.poll()  # one lost answer is no news
    except DeviceError as error:
        return wrong(device.name, f"{error}: {_cure(error)}" if _cure(error) else str(error))
    return _judged(device, sample, device.where)


def _judged(device: Polled, sample: DeviceSample, where: str) -> Finding:
    # Other values may be absent for good reasons: an input that nothing is connected to, a model the device lacks.
    unknown = sorted(name for name in device.profile.provides & OF_THE_HOME if sample.values.get(name) is None)
    if unknown:
        cure = f"choose the profile of your device, not {device.profile.profile}"
        return wrong(device.name, f"{where} does not show {', '.join(unknown)}: {cure}")
    return good(device.name, f"{device_words(sample.values)} ({where}, {device.profile.title})")


def _fuses(config: HomeConfig, devices: Sequence[Device]) -> list[Finding]:
    needed = {"grid_w", "grid_l1_w", "voltage_l1_v"}
    if config.home.fuse_a is None or any(needed <= device.profile.provides for device in devices):
        return []
    cure = "which none here does: use connection_kw"
    return [wrong("fuse", f"home.fuse_a needs a meter that shows power and voltage of its phases, {cure}")]


def _cure(error: DeviceError) -> str:
    match error:
        case LinkDownError() if "no answer" in str(error):
            return "switch it on, check its cable and network, and correct url"
        case NoAnswerError() | LinkDownError():
            return ""  # the text asks the right question already
        case WrongDeviceError():
            return "" if "?" in str(error) else "correct url, unit or profile"
        case _:
            return "check that url, unit and profile are those of this device"


def _balance(config: HomeConfig, devices: Sequence[Polled], clock: Clock) -> Finding:
    """Say what the home does by all devices together."""
    try:
        check_home([(device.name, device.profile.provides) for device in devices])
    except ConfigError as error:
        return wrong("home", str(error))
    parts = [DevicePart(name=device.name, provides=device.profile.provides, sample=device.latest) for device in devices]
    reading = combine(
        parts, now=clock.now(), monotonic_s=clock.monotonic(), stale_after_s=max(config.poll.stale_after_s, 60.0)
    )
    silent = [device.name for device in devices if device.latest is None]
    if silent:
        return wrong("home", f"what it uses is unknown without {' and '.join(silent)}: correct that first")
    if _powers_known(reading) and reading.load_w is None:
        return wrong(
            "home",
            f"it would use less than nothing (grid {reading.grid_w:.0f} W, sun {reading.pv_w:.0f} W, battery "
            f"{reading.battery_w:.0f} W): turn the meter round or its sign, or name the generator that is missing",
        )
    if reading.quality != "valid":
        return wrong("home", f"no value of {', '.join(reading.missing)}: correct the devices above")
    return good("home", home_words(reading))


def _powers_known(reading: HomeReading) -> bool:
    return None not in (reading.grid_w, reading.pv_w, reading.battery_w)
