"""The battery of a device as the guard commands it: the profile's control steps, carried out and read back."""

from collections.abc import Iterable

from agent.devices.device import Device
from agent.devices.errors import DeviceRefusedError, WriteIgnoredError
from agent.devices.reading import DeviceSample
from agent.devices.schema import ControlSpec, StepSpec
from coordinator.errors import ConfigError

_READ_BACK_TOLERANCE_W = 1.0
"""A setpoint may come back rounded by the device's scale factor; a kept old value differs by more."""


class Battery:
    """Commands one device's battery. Made for the guard: nobody else may hold one.

    Raises:
        ConfigError: If the device's profile has no control.
    """

    def __init__(self, device: Device) -> None:
        if device.profile.control is None:
            raise ConfigError(f"{device.name}: profile {device.profile.profile} controls no battery; choose another")
        self.name = device.name
        self._device = device
        self._spec: ControlSpec = device.profile.control.battery_w

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
    def reversion_max_s(self) -> int:
        """The longest reversion timer that the profile allows."""
        return self._spec.lease_s

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
        timer = self._spec.timer
        try:
            if (await self._device.read_points([timer]))[timer] is None:
                return f"{self._device.where} has no timer that ends our command when we vanish"
            await self._write(self._spec.prepare, {"=reversion_s": float(reversion_s)}, only_changes=True)
        except (WriteIgnoredError, DeviceRefusedError) as error:
            return str(error)
        shown_s = (await self._device.read_points([timer]))[timer]
        if shown_s is None or not 0 < shown_s <= reversion_s:
            return f"{self._device.where} shows its timer at {shown_s} s after {reversion_s} s was written"
        return None

    async def command(self, battery_w: float, pv_w: float, reversion_s: int) -> str | None:
        """Set the battery's power and restart the device's timer, the switch last; then read back.

        Args:
            battery_w: Wanted power, + discharges [W].
            pv_w: PV power behind the same inverter now [W].
            reversion_s: The device's timer [s].

        Returns:
            None when the device shows what was written, else what it did instead.

        Raises:
            DeviceError: The link failed; whether the device took the command is unknown.
        """
        values = {"=reversion_s": float(reversion_s), "=battery_w": battery_w, "=ac_w": pv_w + battery_w}
        try:
            written = await self._write(self._spec.cycle, values)
            await self._confirm({name: written[name] for name in self._spec.confirm.read_back if name in written})
        except (WriteIgnoredError, DeviceRefusedError) as error:
            return str(error)
        return None

    async def release(self) -> str | None:
        """Hand the battery back to the device's own control, and read back.

        Returns:
            None when the device shows what was written, else what it did instead.

        Raises:
            DeviceError: The link failed; the device's own timer will release the battery.
        """
        try:
            await self._confirm(await self._write(self._spec.release, {}))
        except (WriteIgnoredError, DeviceRefusedError) as error:
            return str(error)
        return None

    async def _write(
        self, steps: Iterable[StepSpec], values: dict[str, float], *, only_changes: bool = False
    ) -> dict[str, float]:
        written: dict[str, float] = {}
        known = await self._device.read_points([step.write for step in steps]) if only_changes else {}
        for step in steps:
            value = values[step.value] if isinstance(step.value, str) else step.value
            if known.get(step.write) != value:
                await self._device.write_point(step.write, value)
            written[step.write] = value
        return written

    async def _confirm(self, written: dict[str, float]) -> None:
        shown = await self._device.read_points(written)
        for name, value in written.items():
            back = shown[name]
            if back is None or abs(back - value) > _READ_BACK_TOLERANCE_W:
                raise WriteIgnoredError(f"{self._device.where} shows {name} {back} after {value:g} was written")
