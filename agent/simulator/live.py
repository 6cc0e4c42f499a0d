"""A plant bound to a clock: every look at it first brings it up to the present."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from agent.simulator.knobs import DeviceKnobs
from agent.simulator.plant import Plant
from agent.simulator.setpoint import ActivePowerControl
from coordinator.clock import Clock


class LivePlant:
    """The plant and the setpoint of its inverter, as the devices see them.

    A reversion takes place at its exact moment even when nobody looked at that moment.

    Args:
        knobs: What the inverter makes wrong of its commands.
    """

    def __init__(self, plant: Plant, clock: Clock, knobs: DeviceKnobs | None = None) -> None:
        self.plant = plant
        self.clock = clock
        self.control = ActivePowerControl()
        self.knobs = knobs or DeviceKnobs()
        self._takes_back: tuple[float, ActivePowerControl] | None = None

    def sync(self) -> Plant:
        """Bring the plant to now, through a reversion on the way if its timer ran out."""
        now, now_s = self.clock.now(), self.clock.monotonic()
        if self._takes_back is not None and now_s >= self._takes_back[0]:
            self.plant.advance(now - timedelta(seconds=(now_s - self._takes_back[0]) * self.clock.speed))
            self._obey(self._takes_back[1])
            self._takes_back = None
        if (deadline_s := self.control.deadline_s) is not None and self.control.expired(now_s):
            self.plant.advance(now - timedelta(seconds=(now_s - deadline_s) * self.clock.speed))
            self._obey(self.control.reverted())
        self.plant.advance(now)
        return self.plant

    def write(self, changes: Mapping[str, int]) -> None:
        """Carry out one write request to model 704, values by point name."""
        self.sync()
        before, now_s = self.control, self.clock.monotonic()
        control = before.written(changes, now_s)
        if control.deadline_s is not None and self.knobs.timer_factor != 1.0:
            lasts_s = (control.deadline_s - now_s) * self.knobs.timer_factor
            control = replace(control, deadline_s=now_s + lasts_s if lasts_s else None)
        if self.knobs.writes == "undo":
            self._takes_back = (now_s + self.knobs.undo_after_s, before)
        elif self.knobs.leaves_after_s is not None:
            self._takes_back = (now_s + self.knobs.leaves_after_s, replace(control, enabled=False, deadline_s=None))
        self._obey(control)

    def remaining_s(self) -> int:
        """Return the seconds left on the reversion timer."""
        return self.control.remaining_s(self.clock.monotonic())

    def _obey(self, control: ActivePowerControl) -> None:
        self.control = control
        target_w = None if self.knobs.writes == "ack_only" else control.target_w
        self.plant.ac_setpoint_w = None if target_w is None else target_w * self.knobs.setpoint_factor
