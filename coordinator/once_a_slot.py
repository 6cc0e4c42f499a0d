"""When something is done that is done once in every slot, whatever the clock did meanwhile. Pure."""

from datetime import datetime, timedelta

from coordinator.slots import Slot


class OnceASlot:
    """See the module's text.

    Args:
        slot_s: Length of a slot.
        offset: From a slot's start to the moment, negative before the start.
        memory_slots: What was done in a slot up to so far ahead was done; farther ahead a wrong clock did it.
    """

    def __init__(self, slot_s: int, offset: timedelta, memory_slots: int) -> None:
        self._slot_s = slot_s
        self._length = timedelta(seconds=slot_s)
        self._offset = offset
        self._memory_s = memory_slots * slot_s
        self._done = 0
        self._due_at: datetime | None = None

    def due_at(self, now: datetime) -> datetime:
        """Return when it is to be done next."""
        if self._due_at is None or not now <= self._due_at <= now + self._length:
            self._due_at = self._next(now).start_at + self._offset  # asked for after every message
        return self._due_at

    def begin(self, now: datetime) -> Slot | None:
        """Return the slot in which it is to be done now, once; None while it is not due."""
        if now < self.due_at(now):
            return None
        slot = self._next(now)
        self._done, self._due_at = slot.key, None
        return slot

    def _next(self, now: datetime) -> Slot:
        slot = Slot.at(now - self._offset, self._slot_s)
        return Slot(self._done, self._slot_s).shifted(1) if 0 <= self._done - slot.key <= self._memory_s else slot
