"""`commonwatt check`: everything a home needs, looked at once, in words. Reads only."""

import os
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

from agent.check_brokers import try_brokers
from agent.check_devices import look_at_devices
from agent.config import HomeConfig, load_config
from agent.control.envelope import Envelope
from agent.data_folder import running_agent
from agent.devices.commissioning import record_path
from agent.devices.device import Device
from agent.findings import RUNS, Finding, good, wrong
from agent.guard_setup import longest_s, narrowed, owner_envelope
from agent.guard_state import RESUME, FileBrakes
from agent.planning.tariff import open_tariff
from agent.storage.home_store import HomeStore
from coordinator.charter import Charter
from coordinator.charter_file import load_charter
from coordinator.clock import Clock, WallClock
from coordinator.errors import ConfigError
from coordinator.identity import Identity
from coordinator.ledger_store import LedgerStore
from coordinator.quantities import from_micro
from coordinator.slots import Slot

__all__ = ["Finding", "check_home"]

FAR_APART = 60
"""Prices that differ by more are not in the same unit: 0.40 beside 0.01 is dear, 30 beside 0.08 is cents."""
DEAREST = {"EUR": Decimal(3), "USD": Decimal(3), "GBP": Decimal(3), "CHF": Decimal(3)}
"""No grid charges more per kWh all day."""


async def check_home(path: Path) -> list[Finding]:
    """Look at the settings in `path` and at all they name.

    Nothing is written to any device, nothing is published, no file is made.
    """
    try:
        config = load_config(path)
    except ConfigError as error:
        return [wrong("settings", str(error))]
    clock: Clock = config.clock.clock() if config.clock else WallClock()
    findings = [good("settings", f"{path}: {config.home.name}, {config.home.timezone}")]
    identity, charter, member = _membership(config, clock)
    findings.append(member)
    findings.append(_storage(config, identity))
    if (runs := running_agent(config.home.data_dir)) is not None:
        findings.append(good(RUNS, f"this home runs now ({runs})"))
    if charter is not None:
        findings.append(_tariff(config, charter, clock))
    on_devices, devices = await look_at_devices(config, clock)
    findings += on_devices
    if charter is not None and identity is not None and identity.id in charter.by_id:
        findings += await try_brokers(config, charter, identity, clock)
    findings.append(control_plan(config, devices))
    return findings


def _membership(config: HomeConfig, clock: Clock) -> tuple[Identity | None, Charter | None, Finding]:
    subject, key_file = "membership", config.community.key_file
    identity = charter = None
    try:
        identity = Identity.load(key_file)
        charter = load_charter(config.community.charter, clock.now())
    except (ConfigError, OSError) as error:
        return identity, charter, wrong(subject, _os_text(error, key_file))
    member = charter.by_id.get(identity.id)
    if member is None:
        text = f"{key_file} is no member of {charter.name!r}: use this home's own key, or a charter that names it"
        return identity, charter, wrong(subject, text)
    if member.name != config.home.name:
        text = f"home.name is {config.home.name!r}, but the charter calls this key's home {member.name!r}: write that"
        return identity, charter, wrong(subject, text)
    if mode := key_file.stat().st_mode & 0o077:
        text = f"{key_file} can be read by others (mode {mode:03o} too much): chmod 600 {key_file}"
        return identity, charter, wrong(subject, text)
    count = len(charter.homes)
    homes = f"{count} homes" if count > 1 else "1 home: nobody to trade with yet"
    return identity, charter, good(subject, f"{member.name} of {charter.name!r} ({homes})")


def _storage(config: HomeConfig, identity: Identity | None) -> Finding:
    """Open what is there; what is not there is not made, only looked whether it could be."""
    folder = config.home.data_dir
    try:
        there = folder
        while not there.exists():
            there = there.parent
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            return wrong("data", f"{folder} cannot be written by this user: choose another home.data_dir, or its owner")
        if not folder.exists():
            return good("data", f"{folder} will be made by `run`")
        found = [file for file, opened in _databases(folder, identity).items() if file.exists() and opened()]
    except (ConfigError, OSError) as error:
        return wrong("data", _os_text(error, folder))
    return good("data", f"{folder}, with {' and '.join(file.name for file in found) or 'nothing in it yet'}")


def _databases(folder: Path, identity: Identity | None) -> dict[Path, Callable[[], bool]]:
    def home() -> bool:
        HomeStore(folder / "home.db").close()
        return True

    def ledger() -> bool:
        if identity is not None:
            LedgerStore(folder / "ledger.db", identity.id).close()
        return identity is not None

    return {folder / "home.db": home, folder / "ledger.db": ledger}


def _os_text(error: Exception, path: Path) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or path} cannot be read ({error.strerror}): give it to the user that runs this"
    return str(error)


def _tariff(config: HomeConfig, charter: Charter, clock: Clock) -> Finding:
    """Look at the running slot and the whole horizon after it: that is what gets planned."""
    rules, now = charter.rules, clock.now()
    first, count = Slot.at(now, rules.slot_s), rules.horizon_slots + 1
    try:
        tariff = open_tariff(config.tariff, config.home.timezone, config.home.data_dir, live=True)
        prices = [(tariff.import_micro(slot), tariff.export_micro(slot)) for slot in first.horizon(count)]
    except ConfigError as error:
        return wrong("tariff", str(error))
    if trouble := tariff.trouble(now):
        return wrong("tariff", trouble)
    imports, exports = (sorted({from_micro(price) for price in column}) for column in zip(*prices, strict=True))
    hours = count * rules.slot_s / 3600
    taken, given = (f"{row[0]:f}" + (f" to {row[-1]:f}" if len(row) > 1 else "") for row in (imports, exports))
    said = f"from the grid {taken}, into it {given} {charter.currency} per kWh in the next {hours:.0f} h"
    if _are_cents(imports, exports, charter.currency):
        return wrong("tariff", f"{said}: are these cents? Write every price in {charter.currency}, as 0.30")
    return good("tariff", said)


def _are_cents(imports: Sequence[Decimal], exports: Sequence[Decimal], currency: str) -> bool:
    """Tell prices that cannot be: one in cents beside one in whole money, or all in cents.

    Args:
        imports: Sorted, as `exports`.
    """
    return imports[0] > FAR_APART * exports[-1] > 0 or imports[0] > DEAREST.get(currency, imports[0])


def control_plan(config: HomeConfig, devices: list[Device]) -> Finding:
    """Say what `run` will do with the battery.

    Args:
        devices: Those whose profile can be used.
    """
    control, battery, subject = config.control, config.battery, "control"
    charges = [device.name for device in devices if "battery_w" in device.profile.provides]
    commanded = next((device for device in devices if device.profile.control is not None), None)
    if battery is not None and not charges and len(devices) == len(config.devices):
        return wrong(subject, "[battery] is there, but no device reads one: add its device, or take [battery] out")
    try:
        limits, less = owner_envelope(config), narrowed(config)
    except ConfigError as error:
        return wrong(subject, str(error))
    if not control.enabled:
        return good(subject, "observe only: control.enabled is false")
    if limits is None:
        return wrong(subject, "control is enabled without a battery: fill in [battery], or write enabled = false")
    if commanded is None or commanded.profile.control is None:
        return wrong(subject, "control is enabled, but no device here can be commanded: write enabled = false")
    brakes = FileBrakes(config.home.data_dir)
    if (stopped := brakes.stopped()) is not None:
        return good(subject, f"observe only: {stopped}")
    if (given_up := brakes.given_up()) is not None:
        return wrong(subject, f"control was given up: {given_up}; look at the battery, then {RESUME}")
    if not record_path(config.home.data_dir, commanded.name).exists():
        return good(subject, f"observe only: {commanded.name} is not commissioned: `commonwatt commission` does it")
    return good(
        subject,
        f"commands the battery of {commanded.name}: {_limits(limits, less)}; {_bound(limits, config, commanded)}",
    )


def _limits(limits: Envelope, less: str | None) -> str:
    return (
        f"charging up to {limits.charge_w / 1000:g} kW and {limits.max_pct:g} %, giving up to "
        f"{limits.discharge_w / 1000:g} kW and down to {limits.reserve_pct:g} %{f' ({less})' if less else ''}"
    )


def _bound(limits: Envelope, config: HomeConfig, device: Device) -> str:
    """Say what happens at worst when all our programs end without a word."""
    assert device.profile.control is not None
    spec, most_w = device.profile.control.battery_w, max(limits.charge_w, limits.discharge_w)
    if spec.timer is None:
        return "NOTHING ends a command when this program ends without a word, as you unlocked it"
    bound_s = longest_s(config, device)
    at_most = f"within {bound_s} s, after {most_w * bound_s / 3600:.0f} Wh at most"
    return f"when this program ends without a word, the inverter is on its own {at_most}"
