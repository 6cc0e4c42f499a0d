"""What a guard under test is given: a device that may be written to, and brakes that live as long as the test."""

from dataclasses import dataclass

from coordinator.errors import ConfigError


async def permitted() -> str | None:
    return None


@dataclass
class MemoryBrakes:
    """Implements `agent.control.ports.Brakes`; on a disk that may be full."""

    by_a_person: str | None = None
    why_given_up: str | None = None
    full: bool = False

    def prove(self) -> None:
        if self.full:
            raise ConfigError("control-given-up cannot be written (No space left on device)")

    def stopped(self) -> str | None:
        return self.by_a_person

    def given_up(self) -> str | None:
        return self.why_given_up

    def give_up(self, why: str) -> None:
        self.prove()
        self.why_given_up = why

    def resume(self) -> None:
        self.by_a_person = self.why_given_up = None
