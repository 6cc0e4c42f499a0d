"""That control was given up holds, whatever becomes of the disk."""

from agent.control.ports import Brakes
from coordinator.errors import ConfigError


class SureBrakes:
    """Keeps in this process what its brakes cannot keep now, and tries again at each look."""

    def __init__(self, brakes: Brakes) -> None:
        self._brakes = brakes
        self._unkept: str | None = None

    def prove(self) -> None:
        """Show that it could be kept that control was given up.

        Raises:
            ConfigError: It could not.
        """
        self._brakes.prove()

    def stopped(self) -> str | None:
        """Return why a person stopped control, or None."""
        return self._brakes.stopped()

    def given_up(self) -> str | None:
        """Return why control was given up until a person resets it, or None."""
        if self._unkept is not None:
            self.give_up(self._unkept)
        return self._unkept or self._brakes.given_up()

    def give_up(self, why: str) -> str | None:
        """Note that control was given up; return why that is kept only while this process lives, or None."""
        self._unkept = why
        try:
            self._brakes.give_up(why)
        except ConfigError as error:
            return str(error)
        self._unkept = None
        return None
