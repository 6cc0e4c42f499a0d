"""Which of a device's values may be acted upon: what one poll alone cannot tell. Pure.

Range and sentinels are judged where a value is decoded (it is absent then). Here a value is held against the one
before, against other values of the same poll, and against time. Doubtful values are kept and named, never corrected.
"""

from collections.abc import Hashable, Mapping
from datetime import datetime

from agent.devices.counter import SteadyCounter
from agent.devices.schema import CheckSpec, PointSpec, Profile

Values = dict[str, float | None]


class Judge:
    """Remembers one device's values from poll to poll."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._counters = {
            name: SteadyCounter(
                spec.counter.max_w,
                resets=spec.counter.on_drop == "new_epoch",
                wraps_at_wh=_wraps_at_wh(spec),
                resolution_wh=spec.counter.resolution,
            )
            for name, spec in profile.points.items()
            if spec.counter is not None
        }
        self._most = {name: spec.max_step for name, spec in profile.points.items() if spec.max_step is not None}
        self._steady: dict[str, float] = {}
        self._waiting: dict[str, float] = {}
        self._live: Hashable = None
        self._live_since_s = 0.0

    def judge(self, at: datetime, at_s: float, values: Mapping[str, float | None], live: Hashable) -> dict[str, str]:
        """Return why which values are doubtful, by name.

        Args:
            at_s: The moment on the clock that never jumps [s].
            values: The points of this poll; counters are told apart, see `counters`.
            live: All words of the fast frames: what changes all the time on a device that measures.
        """
        doubtful = self._steps(values)
        for check in self._profile.checks:
            missed = _missed(check, values)
            if missed is not None:
                doubtful[check.equals] = missed
        frozen_s = self._frozen_s(at_s, live)
        if self._profile.frozen_after_s is not None and frozen_s >= self._profile.frozen_after_s:
            why = f"nothing has changed for {frozen_s / 60:.0f} min"
            doubtful |= {name: why for name in values if self._profile.pace(name) == "fast"}
        for name, spec in self._profile.derived.items():
            why_part = next((doubtful[part] for part in spec.inputs if part in doubtful), None)
            if why_part is not None:
                doubtful[name] = why_part
        return doubtful

    def counters(self, at: datetime, values: Mapping[str, float | None]) -> tuple[Values, dict[str, str]]:
        """Return the steady counters in place of the raw ones, and which of them are only held."""
        steady: Values = {}
        held: dict[str, str] = {}
        for name, counter in self._counters.items():
            raw_wh = values.get(name)
            if raw_wh is None:
                continue
            steady[name], strange = counter.add(at, raw_wh)
            if strange:
                held[name] = f"the counter jumped to {raw_wh:.0f} Wh"
        return steady, held

    def held_counters(self) -> Values:
        """Return the counters as last known, for a device that sleeps."""
        return {name: counter.value_wh for name, counter in self._counters.items()}

    def _steps(self, values: Mapping[str, float | None]) -> dict[str, str]:
        """A jump counts once the next poll confirms it: a torn or misread value is gone by then."""
        doubtful: dict[str, str] = {}
        for name, most in self._most.items():
            value = values.get(name)
            if value is None:
                continue
            last, waiting = self._steady.get(name, value), self._waiting.pop(name, None)
            confirmed = waiting is not None and abs(value - waiting) <= most
            if abs(value - last) <= most or confirmed:
                self._steady[name] = value
            else:
                self._waiting[name] = value
                doubtful[name] = f"it jumped from {last:g} to {value:g}"
        return doubtful

    def _frozen_s(self, at_s: float, live: Hashable) -> float:
        if live != self._live:
            self._live, self._live_since_s = live, at_s
        return at_s - self._live_since_s


def _wraps_at_wh(spec: PointSpec) -> float | None:
    """Return where a whole-number register starts again at zero; 64 bits never get there, floats stand still before."""
    return 2.0 ** (16 * spec.size) * abs(spec.scale) if spec.type in ("u16", "u32") else None


def _missed(check: CheckSpec, values: Mapping[str, float | None]) -> str | None:
    """Return how two ways to the same figure differ, or None; what is absent contradicts nothing."""
    parts = [values.get(name) for name in check.inputs]
    known = [part for part in parts if part is not None]
    whole = values.get(check.equals)
    if whole is None or len(known) < len(parts):
        return None
    made = sum(known) if check.sum is not None else known[0] * known[1]
    if abs(made - whole) <= max(check.within.abs, check.within.rel * abs(whole)):
        return None
    return f"it shows {whole:g} where {' and '.join(check.inputs)} make {made:g}"
