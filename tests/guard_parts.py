"""What a guard under test is given: a device that may be written to, and brakes that live as long as the test."""

from dataclasses import dataclass


async def permitted() -> str | None:
    return None


@dataclass
class MemoryBrakes:
    """Implements `agent.control.ports.Brakes`."""

    by_a_person: str | None = None
    why_given_up: str | None = None

    def stopped(self) -> str | None:
        return self.by_a_person

    def given_up(self) -> str | None:
        return self.why_given_up

    def give_up(self, why: str) -> None:
        self.why_given_up = why

    def resume(self) -> None:
        self.by_a_person = self.why_given_up = None
