"""A plant bound to a clock: every look at it first brings it up to the present."""

from collections.abc import Mapping
from datetime import timedelta

from agent.simulator.plant import Plant
from agent.simulator.setpoint import ActivePowerControl
from coordinator.clock import Clock


class LivePlant:
    """The plant and the setpoint of its inverter, as the devices see them.

    A reversion takes place at its exact moment even when nobody looked at that moment.
    """

    def __init__(self, plant: Plant, clock: Clock) -> None:
        self.plant = plant
        self.clock = clock
        self.control = ActivePowerControl()

    def sync(self) -> Plant:
        """Bring the plant to now, through a reversion on the way if its timer ran out."""
        now, now_s = self.clock.now(), self.clock.monotonic()
        if (deadline_s := self.control.deadline_s) is not None and self.control.expired(now_s):
            self.plant.advance(now - timedelta(seconds=(now_s - deadline_s) * self.clock.speed))
            self._obey(self.control.reverted())
        self.plant.advance(now)
        return self.plant

    def write(self, changes: Mapping[str, int]) -> None:
        """Carry out one write request to model 704, values by point name."""
        self.sync()
        self._obey(self.control.written(changes, self.clock.monotonic()))

    def remaining_s(self) -> int:
        """Return the seconds left on the reversion timer."""
        return self.control.remaining_s(self.clock.monotonic())

    def _obey(self, control: ActivePowerControl) -> None:
        self.control = control
        self.plant.ac_setpoint_w = control.target_w
