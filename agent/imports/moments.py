"""Times as files write them: with an offset, as Unix seconds, or as local clocks show them.

A local time without offset names two moments when clocks go back: the lines' order tells which. When clocks go forward
it may name none; such a line is left out and counted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from coordinator.errors import ConfigError
from coordinator.zones import known_zone

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  local times are counted from here without an offset
_QUARTER_S = 900
_SECONDS_DIGITS, _MS_DIGITS = (9, 10), (12, 13)

FORMATS = (
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d.%m.%y %H:%M",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%d-%m-%Y %H:%M:%S",
    "%d-%m-%Y %H:%M",
    "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y %I:%M %p",
    "%m/%d/%Y %I:%M:%S %p",
    "%Y%m%d %H:%M",
)
"""Tried in turn on what is no ISO 8601."""


def zone_of(text: str) -> tzinfo:
    """Return the zone that an option names: an IANA name or an offset such as +01:00.

    Raises:
        ConfigError: If there is none.
    """
    if text[:1] in ("+", "-"):
        try:
            return timezone(datetime.fromisoformat(f"2000-01-01T00:00{text}").utcoffset() or timedelta(0))
        except ValueError:
            raise ConfigError(f"{text!r} is no offset from UTC: write it like +01:00") from None
    try:
        return ZoneInfo(known_zone(text))
    except ValueError as error:
        raise ConfigError(str(error)) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A time of a file: Unix seconds, or local ones (those of a clock without offset, counted from 1970)."""

    seconds: float
    local: bool


Reader = Callable[[str], Shown]
"""Raises ValueError for what is no time."""


def reader_of(samples: Sequence[str], time_format: str | None) -> Reader:
    """Return how the times of a column are written.

    Args:
        time_format: As for `strptime`, if the owner told it.

    Raises:
        ConfigError: If nothing reads all samples, or two readings of them contradict each other.
    """
    if time_format is not None:
        return _strict(_by_format(time_format), samples, f"--time-format {time_format}")
    for reader in (_number, _iso):
        if _reads(reader, samples):
            return reader
    fitting = [each for each in FORMATS if _reads(_by_format(each), samples)]
    if not fitting:
        raise ConfigError(
            f"{samples[0]!r} is no time that is understood: tell its form, as --time-format '%d.%m.%Y %H:%M'"
        )
    first, *others = (_by_format(each) for each in fitting)
    if any(first(text) != other(text) for other in others for text in samples):
        raise ConfigError(
            f"{samples[0]!r} can be read in two ways: tell its form, --time-format '{fitting[0]}' or '{fitting[-1]}'"
        )
    return first


def are_times(samples: Sequence[str]) -> bool:
    """Return whether all samples can be read as times, in one way or more."""
    return any(_reads(reader, samples) for reader in (_number, _iso, *map(_by_format, FORMATS)))


def _strict(reader: Reader, samples: Sequence[str], said: str) -> Reader:
    for text in samples:
        try:
            reader(text)
        except ValueError:
            raise ConfigError(f"{said} does not read {text!r}: correct it") from None
    return reader


def _reads(reader: Reader, samples: Sequence[str]) -> bool:
    try:
        for text in samples:
            reader(text)
    except ValueError:
        return False
    return True


def _number(text: str) -> Shown:
    digits = len(text.partition(".")[0])
    if digits not in _SECONDS_DIGITS + _MS_DIGITS:
        raise ValueError(text)
    return Shown(seconds=float(text) / (1000 if digits in _MS_DIGITS else 1), local=False)


def _iso(text: str) -> Shown:
    return _shown(datetime.fromisoformat(text))


def _by_format(form: str) -> Reader:
    return lambda text: _shown(datetime.strptime(text, form))  # noqa: DTZ007  may be local, on purpose


def _shown(at: datetime) -> Shown:
    if at.tzinfo is None:
        return Shown(seconds=(at - _EPOCH).total_seconds(), local=True)
    return Shown(seconds=at.timestamp(), local=False)


class Clock:
    """Turns the times of one file, in their order, into Unix seconds.

    Args:
        zone: Whose clocks showed times without offset.
    """

    def __init__(self, zone: tzinfo) -> None:
        self.nonexistent = 0
        """Local times that clocks skipped."""
        self._zone = zone
        self._offsets: dict[int, tuple[float, float]] = {}
        self._last = float("-inf")

    def seconds(self, shown: Shown) -> float | None:
        """Return Unix seconds; None for a local time that never was."""
        found = shown.seconds if not shown.local else self._of_local(shown.seconds)
        if found is not None:
            self._last = found
        return found

    def _of_local(self, local_s: float) -> float | None:
        before, after = self._offset(int(local_s // _QUARTER_S))
        early, late = local_s - before, local_s - after
        if early == late:
            return early
        if early > late:
            self.nonexistent += 1
            return None
        return early if early > self._last else late

    def _offset(self, quarter: int) -> tuple[float, float]:
        """Return the offsets from UTC that a local quarter of an hour may have: the earlier and the later reading."""
        found = self._offsets.get(quarter)
        if found is None:
            local = _EPOCH + timedelta(seconds=quarter * _QUARTER_S)
            both = [local.replace(tzinfo=self._zone, fold=fold).utcoffset() or timedelta(0) for fold in (0, 1)]
            found = self._offsets[quarter] = both[0].total_seconds(), both[1].total_seconds()
        return found


def utc_words(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
