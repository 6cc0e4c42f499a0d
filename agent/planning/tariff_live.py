"""The tariff of a running home: its file may grow, and a day-ahead price that is not there yet ends nothing."""

from datetime import datetime
from pathlib import Path

from agent.planning.tariff_file import FileRates, read_tariff
from coordinator.errors import ConfigError

_DAY_S = 86_400


class GrowingRates:
    """A tariff file that is read again when it changes; past its end the price of the same time a day earlier holds.

    Args:
        path: The file.

    Raises:
        ConfigError: If the file cannot be used now; a later change that cannot be used leaves what was read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = _stamp(path)
        self._rates: FileRates = read_tariff(path)
        self._unread = ""

    @property
    def step_s(self) -> int:
        return self._rates.step_s

    def at(self, second: int) -> tuple[int, int]:
        """Return import and export price (micro-units per kWh) at a Unix second.

        Raises:
            ConfigError: If the file holds no price for this time of any earlier day.
        """
        self._read_again()
        for earlier in range(second, self._rates.first_s - 1, -_DAY_S):
            if (found := self._rates.find(earlier)) is not None:
                return found
        return self._rates.at(second)

    def trouble(self, now: datetime) -> str:
        """Return what the owner must do for right prices, or nothing."""
        if self._unread:
            return f"{self._unread}; going on with what was read before"
        until = self._rates.known_until
        if now < until:
            return ""
        return f"{self._path}: no prices since {until:%Y-%m-%d %H:%M} UTC: the day before's are used; add rows"

    def _read_again(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._rates, self._unread = read_tariff(self._path), ""
        except ConfigError as error:
            self._unread = str(error)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return found.st_mtime_ns, found.st_size
