"""Which units of a shared link are left alone for a while: a silent one costs the others a timeout each time. Pure."""

from dataclasses import dataclass

_FIRST_S = 1.0
_LAST_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rest:
    silences: int = 0
    until_s: float = 0.0
    why: str = ""


class Rests:
    """Lets silent units rest for growing times, where others wait behind the same link."""

    def __init__(self) -> None:
        self._rests: dict[int, _Rest] = {}
        self._units: set[int] = set()

    def why_not(self, unit: int, now_s: float) -> str | None:
        """Return why a unit must not be asked now: it was silent a moment ago; None when it may."""
        self._units.add(unit)
        rest = self._rests.get(unit)
        return rest.why if rest is not None and now_s < rest.until_s else None

    def answered(self, unit: int) -> None:
        """Note an answer."""
        self._rests.pop(unit, None)

    def silent(self, unit: int, now_s: float, why: str) -> None:
        """Note that a unit did not answer."""
        rest = self._rests.get(unit, _Rest())
        shared = len(self._units) > 1
        rest_s = min(_FIRST_S * 2.0 ** (rest.silences - 1), _LAST_S) if shared and rest.silences else 0.0
        self._rests[unit] = _Rest(silences=rest.silences + 1, until_s=now_s + rest_s, why=why)
