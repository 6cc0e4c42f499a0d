"""The battery of a device as the guard commands it: the profile's control steps, carried out and read back."""

import contextlib
import math
from collections.abc import Iterable, Mapping
from functools import partial

from agent.devices.budget import WriteBudget
from agent.devices.control_schema import ControlSpec, Direction, StepSpec
from agent.devices.device import Device
from agent.devices.errors import DeviceRefusedError, WriteIgnoredError
from agent.devices.reading import DeviceSample
from coordinator.errors import ConfigError

_READ_BACK_TOLERANCE_W = 1.0
"""A setpoint may come back rounded by the device's scale factor; a kept old value differs by more."""
_LOOK_REQUESTS = 40
"""More than one look needs: to identify a device with many models, and write and read back a timer and a command."""
_READ_BACK_TOLERANCE = 0.5
"""Of everything else: switches, modes and seconds come back as they were written."""


class Battery:
    """Commands one device's battery. Made for the guard: nobody else may hold one.

    Args:
        budget: Counts the writes of each register; without it, within this process only.
        without_timer: Whether the owner unlocked a device that has no timer to end our command.

    Raises:
        ConfigError: If the device's profile has no control.
    """

    def __init__(self, device: Device, budget: WriteBudget | None = None, *, without_timer: bool = False) -> None:
        if device.profile.control is None:
            raise ConfigError(f"{device.name}: profile {device.profile.profile} controls no battery; choose another")
        self.name = device.name
        self._device = device
        self._spec: ControlSpec = device.profile.control.battery_w
        self._budget = budget or WriteBudget(device.profile)
        self._without_timer = without_timer
        self._timer: str | None = self._spec.timer
        self._left: tuple[int, dict[str, float]] = (0, {})

    @property
    def latest(self) -> DeviceSample | None:
        """The freshest sample of the device."""
        return self._device.latest

    @property
    def generation(self) -> int:
        """Grows with each new connection: what was prepared before may be gone; 0 while there is none."""
        return self._device.link.generation if self._device.link.connected else 0

    @property
    def includes_pv(self) -> bool:
        """Whether a setpoint is pv + battery, and so must follow the sun."""
        return self._spec.includes_pv

    @property
    def reverts(self) -> bool:
        """Whether the device ends our command by itself when we vanish."""
        return self._timer is not None

    @property
    def spent(self) -> str | None:
        """Which register of a command may not be written any more today, in words; None while all may."""
        return self._spent(self._budget.spent(self._commands, self._device.now.date()))

    @property
    def pace_s(self) -> float:
        """Seconds between commands that may still be given today until the day ends."""
        return self._budget.pace_s(self._commands, self._device.now)

    @property
    def reversion_max_s(self) -> int:
        """The longest reversion timer that the profile allows."""
        return self._spec.lease_s

    @property
    def look_s(self) -> float:
        """What one look of the guard takes at most; the poller asks over the same link, in turn with it."""
        limits = self._device.link.limits
        return limits.connect_wait_s + 2 * _LOOK_REQUESTS * limits.request_s

    @property
    def refresh_s(self) -> int:
        return self._spec.refresh_s

    @property
    def effect_after_s(self) -> float:
        return self._spec.confirm.effect.after_s

    @property
    def effect_abs_w(self) -> float:
        return self._spec.confirm.effect.abs_w

    @property
    def effect_rel(self) -> float:
        return self._spec.confirm.effect.rel

    async def prepare(self, reversion_s: int) -> str | None:
        """Set what the device does when we vanish; return why it must not be commanded, or None when all is well.

        Raises:
            DeviceError: The link failed; nothing is known.
        """
        generation = self.generation
        try:
            if await self._timer_s() is None:
                if not self._without_timer:
                    return f"{self._device.where} has no timer that ends our command when we vanish"
                self._timer = None
            timer = _variables(0.0, 0.0, reversion_s)
            await self._write(self._spec.prepare, timer, "idle", generation, only_changes=True)
        except (WriteIgnoredError, DeviceRefusedError) as error:
            return str(error)
        shown_s = await self._timer_s()
        if self._timer is not None and (shown_s is None or not 0 < shown_s <= reversion_s):
            return f"{self._device.where} shows its timer at {shown_s} s after {reversion_s} s was written"
        return None

    async def command(
        self, battery_w: float, pv_w: float, reversion_s: int, not_after_s: float = math.inf
    ) -> str | None:
        """Set the battery's power and restart the device's timer, the switch last; then read back.

        Args:
            battery_w: Wanted power, + discharges, within `bounds` of the device [W].
            pv_w: PV power behind the same inverter now [W].
            reversion_s: The device's timer [s].
            not_after_s: The last moment at which a write of it may leave; what is not sent by then is not sent at all.

        Returns:
            None when the device shows what was written, else what it did instead.

        Raises:
            DeviceError: The link failed; whether the device took the command is unknown.
        """
        # Whoever answers after a reconnect was not looked at: a command never goes on over another connection.
        generation = self.generation
        direction: Direction = "discharge" if battery_w > 0 else "charge" if battery_w < 0 else "idle"
        try:
            await self._require()
            values = _variables(battery_w, pv_w, reversion_s)
            written = await self._write(self._spec.cycle, values, direction, generation, not_after_s)
            left = {name: written[name] for name in self._spec.confirm.read_back if name in written}
            await self._confirm(left)
            self._left = generation, left
        except (WriteIgnoredError, DeviceRefusedError) as error:
            return str(error)
        return None

    async def overwritten(self) -> str | None:
        """Return which register no longer shows what the last command left there, in words; None when all do.

        A timer may count down, so only a longer one counts.

        Raises:
            DeviceError: The link failed; nothing is known.
        """
        generation, left = self._left
        if generation != self.generation:
            return None
        shown = await self._device.read_points(left)
        for name, value in left.items():
            back = shown[name]
            counts_down = name == self._timer and back is not None and back < value
            if not counts_down and self._differs(name, back, value):
                return (
                    f"{self._device.where} shows {name} {back} where our last command left {value:g}: somebody else "
                    "writes to it, or it ended the command by itself"
                )
        return None

    async def release(self) -> str | None:
        """Hand the battery back to the device's own control, and read back.

        Returns:
            None when the device shows what was written, else what it did instead.

        Raises:
            DeviceError: The link failed; the device's own timer will release the battery.
        """
        try:
            generation = self.generation or None
            await self._confirm(await self._write(self._spec.release, {}, "idle", generation, within_budget=False))
        except (WriteIgnoredError, DeviceRefusedError) as error:
            return str(error)
        return None

    def close(self) -> None:
        """Keep what must outlive this process; harmless when it cannot be kept, the count is then too high."""
        with contextlib.suppress(ConfigError):
            self._budget.close()

    @property
    def _commands(self) -> list[str]:
        """The registers that each command writes."""
        return [step.write for step in self._spec.cycle if self._has(step.write)]

    def _has(self, name: str) -> bool:
        return name != self._spec.timer or self._timer is not None

    def _spent(self, name: str | None) -> str | None:
        if name is None:
            return None
        return f"{name} was written as often today (UTC) as its memory bears; the battery stays on its own"

    async def _timer_s(self) -> float | None:
        """Return what the timer is set to, in the profile's unit; None when the device has none."""
        return None if self._timer is None else (await self._device.read_points([self._timer]))[self._timer]

    async def _require(self) -> None:
        """Check what the owner has to have set at the device; it may have been taken back without a word."""
        shown = await self._device.read_points([need.point for need in self._spec.require])
        for need in self._spec.require:
            if shown[need.point] != need.equals:
                raise WriteIgnoredError(
                    f"{self._device.where} shows {need.point} {shown[need.point]} where control needs {need.equals:g}"
                )

    async def _write(
        self,
        steps: Iterable[StepSpec],
        values: Mapping[str, float],
        direction: Direction,
        generation: int | None,
        not_after_s: float = math.inf,
        *,
        only_changes: bool = False,
        within_budget: bool = True,
    ) -> dict[str, float]:
        wanted = {step.write: _value(step, values, direction) for step in steps if self._has(step.write)}
        known = await self._device.read_points(wanted) if only_changes else {}
        changes = {name: value for name, value in wanted.items() if known.get(name) != value}
        today = self._device.now.date()
        # All of a command or nothing of it: half of one would be another command.
        if within_budget and (spent := self._spent(self._budget.spent(changes, today))) is not None:
            raise WriteIgnoredError(spent)
        try:
            self._budget.reserve(changes, today)
        except ConfigError:
            if within_budget:
                raise  # what cannot be counted is not written; but nothing keeps us from a release
        for name, value in changes.items():
            # Counted when it leaves: what is never acknowledged, or oddly, was written all the same.
            await self._device.write_point(name, value, generation, not_after_s, partial(self._budget.written, name))
        return wanted

    async def _confirm(self, written: dict[str, float]) -> None:
        shown = await self._device.read_points(written)
        for name, value in written.items():
            back = shown[name]
            if self._differs(name, back, value):
                raise WriteIgnoredError(f"{self._device.where} shows {name} {back} after {value:g} was written")

    def _differs(self, name: str, shown: float | None, written: float) -> bool:
        in_watts = self._device.profile.points[name].unit == "W"
        return shown is None or abs(shown - written) > (_READ_BACK_TOLERANCE_W if in_watts else _READ_BACK_TOLERANCE)


def _variables(battery_w: float, pv_w: float, reversion_s: int) -> dict[str, float]:
    return {
        "=reversion_s": float(reversion_s),
        "=reversion_min": float(reversion_s // 60),
        "=battery_w": battery_w,
        "=ac_w": pv_w + battery_w,
        "=charge_w": max(-battery_w, 0.0),
        "=discharge_w": max(battery_w, 0.0),
        "=magnitude_w": abs(battery_w),
    }


def _value(step: StepSpec, values: Mapping[str, float], direction: Direction) -> float:
    if step.case is not None:
        return step.case[direction]
    assert step.value is not None
    return values[step.value] if isinstance(step.value, str) else step.value
