"""Looks at every device once, for `check`. Reads only: no write function code ever leaves."""

import asyncio
import contextlib
from collections.abc import Sequence

from agent.config import HomeConfig
from agent.devices.balance import OF_THE_HOME, DevicePart, check_home, combine
from agent.devices.device import Device
from agent.devices.errors import DeviceError, LinkDownError, NoAnswerError, WrongDeviceError
from agent.devices.opening import LinkPool, open_device
from agent.devices.reading import HomeReading
from agent.findings import Finding, good, wrong
from agent.live_words import device_words, home_words
from coordinator.clock import Clock
from coordinator.errors import ConfigError


async def look_at_devices(config: HomeConfig, clock: Clock) -> tuple[list[Finding], list[Device]]:
    """Identify and read every device, all at the same time.

    Returns:
        What was found, and the devices whose profile can be used, closed again.
    """
    findings: list[Finding] = []
    devices: list[Device] = []
    pool = LinkPool(clock)
    for name, settings in config.devices.items():
        try:
            devices.append(open_device(name, settings, pool, clock))
        except ConfigError as error:
            findings.append(wrong(name, str(error)))
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(pool.close)
        findings += await asyncio.gather(*(_look_at(device) for device in devices))
    if len(devices) == len(config.devices):
        findings.append(_balance(config, devices, clock))
    return findings, devices


async def _look_at(device: Device) -> Finding:
    try:
        try:
            sample = await device.poll()
        except NoAnswerError:
            sample = await device.poll()  # one lost answer is no news
    except DeviceError as error:
        return wrong(device.name, f"{error}: {_cure(error)}" if _cure(error) else str(error))
    # Other values may be absent for good reasons: an input that nothing is connected to, a model the device lacks.
    unknown = sorted(name for name in device.profile.provides & OF_THE_HOME if sample.values.get(name) is None)
    if unknown:
        return wrong(
            device.name,
            f"{device.where} does not show {', '.join(unknown)}: choose the profile of your device, "
            f"not {device.profile.profile}",
        )
    return good(device.name, f"{device_words(sample.values)} ({device.where}, {device.profile.title})")


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


def _balance(config: HomeConfig, devices: Sequence[Device], clock: Clock) -> Finding:
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
