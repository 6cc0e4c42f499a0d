"""Steers the battery through the running slot: what the plan and the contracts want, given to the guard as leases."""

from collections.abc import Sequence
from datetime import datetime

from agent.config import HomeConfig
from agent.control.controller import Follow, Release, decide
from agent.control.envelope import Envelope
from agent.control.guard import Guard, GuardStatus
from agent.control.ports import NoticeSink
from agent.control.smoothing import SHARE_OF_SLOT, NetLoad
from agent.devices.battery import Battery
from agent.devices.device import Device
from agent.devices.reading import HomeReading
from coordinator.clock import Clock
from coordinator.slots import Slot

NO_BATTERY = GuardStatus(control="observe", target_w=None, reason="no battery to command")


def owner_envelope(config: HomeConfig) -> Envelope | None:
    battery = config.battery
    if battery is None:
        return None
    return Envelope(
        charge_w=1000 * battery.charge_kw,
        discharge_w=1000 * battery.discharge_kw,
        reserve_pct=battery.reserve_pct,
        max_pct=battery.max_pct,
    )


class Steering:
    """The battery of one home; a home without one, or without a device that can be commanded, has nothing to steer.

    Args:
        slot_s: Length of the slots.
    """

    def __init__(
        self, config: HomeConfig, devices: Sequence[Device], clock: Clock, slot_s: int, on_notice: NoticeSink
    ) -> None:
        self.guard: Guard | None = None
        self._envelope = owner_envelope(config)
        self._deadband_w = config.control.deadband_w
        self._net_load = NetLoad(time_constant_s=SHARE_OF_SLOT * slot_s)
        self._last_target_w: float | None = None
        controllable = [device for device in devices if device.profile.control is not None]
        if self._envelope is not None and controllable:
            self.guard = Guard(Battery(controllable[0]), self._envelope, clock, config.control, on_notice)

    @property
    def status(self) -> GuardStatus:
        return NO_BATTERY if self.guard is None else self.guard.status

    def steer(
        self, reading: HomeReading, *, now: datetime, slot: Slot, target_wh: float, so_far: tuple[float, float] | None
    ) -> None:
        """Give the guard the lease for this moment, or take it back.

        Args:
            target_wh: Net energy wanted from the grid in the whole slot, plan and contracts together.
            so_far: What the meter counted in the slot until now, import and export [Wh]; None when not known.
        """
        if self.guard is None or self._envelope is None:
            return
        decision = decide(
            reading,
            now=now,
            slot=slot,
            target_wh=target_wh,
            net_so_far_wh=None if so_far is None else so_far[0] - so_far[1],
            envelope=self._envelope,
            gate=self.guard.gate,
            last_target_w=self._last_target_w,
            deadband_w=self._deadband_w,
            net_load_w=self._net_load_w(reading),
        )
        match decision:
            case Follow(target_w=target_w, reason=reason):
                self._last_target_w = target_w
                self.guard.lease(target_w, reason)
            case Release(reason=reason):
                self._last_target_w = None
                self.guard.release(reason)

    def _net_load_w(self, reading: HomeReading) -> float | None:
        if reading.load_w is None or reading.pv_w is None:
            return None
        return self._net_load.add(reading.at, reading.load_w - reading.pv_w)
