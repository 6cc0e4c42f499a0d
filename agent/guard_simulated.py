"""The commissioning record of a simulated inverter: demo and tests command it through the same gate as a real one."""

from datetime import datetime
from pathlib import Path

from agent.config import BatterySection, HomeConfig
from agent.devices.commissioning import (
    AgreedEnvelope,
    CommissioningStep,
    DeviceIdentity,
    make_record,
    record_path,
    write_record,
)
from agent.devices.profile import load_profile
from agent.simulator.sunspec_device import HYBRID, MAKER
from coordinator.identity import Identity


def commission_simulated(config: HomeConfig, data_dir: Path, identity: Identity, serial: str, at: datetime) -> None:
    """Write the records of a home's simulated hybrid inverters; harmless where there is none.

    Args:
        serial: What the simulated inverter shows: the name of its home.
        at: Now, UTC.

    Raises:
        CommissioningError: If the record cannot be written.
    """
    if config.battery is None:
        return
    step = CommissioningStep(what="simulated", by="agent", at=at, answer="made by the program that simulates it")
    for name, settings in config.devices.items():
        profile = load_profile(settings.profile, settings.parameters)
        if profile.control is None:
            continue
        record = make_record(
            identity,
            profile,
            DeviceIdentity(manufacturer=MAKER, model=HYBRID, serial=serial),
            f"unit {settings.unit or profile.link.unit} at {settings.url}",
            reversion_s=config.control.reversion_s,
            envelope=_agreed(config.battery),
            steps=[step],
        )
        write_record(record_path(data_dir, name), record, identity)


def _agreed(battery: BatterySection) -> AgreedEnvelope:
    return AgreedEnvelope(
        charge_w=round(1000 * battery.charge_kw),
        discharge_w=round(1000 * battery.discharge_kw),
        reserve_pct=battery.reserve_pct,
        max_pct=battery.max_pct,
    )
