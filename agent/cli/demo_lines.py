"""What a demo leaves on the screen or in a log file, line by line."""

from datetime import datetime

from rich.console import Console

from agent.demo.director import Progress


class Lines:
    """What stays on the screen, once each: how many start, which part ended.

    For a log file instead of a terminal also a line per simulated hour, and every warning.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._terminal = console.is_terminal
        self._hour: datetime | None = None
        self._seen: set[tuple[str, datetime, str]] = set()
        self._ended: set[tuple[str, str]] = set()
        self._starting = -1

    def show(self, progress: Progress) -> None:
        self._show_ended(progress)
        if self._terminal:
            return
        if not progress.begun and progress.homes_there != self._starting:
            self._starting = progress.homes_there
            self._console.print(f"starting: {progress.homes_there} of {len(progress.settled.homes)} homes are there")
        self._show_notices(progress)
        self._show_hour(progress)

    def _show_ended(self, progress: Progress) -> None:
        for home, part in progress.ended.keys() - self._ended:
            why = progress.ended[home, part]
            self._console.print(f"the {part} of {home} {why}. The others trade on.", style="yellow", markup=False)
        self._ended = set(progress.ended)

    def _show_notices(self, progress: Progress) -> None:
        zone = progress.settled.dashboard.zone
        for name, home in progress.picture.homes.items():
            for notice in reversed(home.notices.log if home.notices else []):
                key = (name, notice.at, notice.text)
                if notice.level != "info" and key not in self._seen:
                    self._seen.add(key)
                    self._console.print(f"{notice.at.astimezone(zone):%H:%M}  {name}: {notice.text}", markup=False)

    def _show_hour(self, progress: Progress) -> None:
        zone = progress.settled.dashboard.zone
        hour = progress.now.replace(minute=0, second=0, microsecond=0)
        if hour != self._hour and progress.now >= progress.settled.street.start_at:
            self._hour = hour
            books = [home.savings for home in progress.picture.homes.values() if home.savings]
            saved = sum(float(b.bill_alone - b.bill_traded) for b in books)
            bought_wh = sum(b.bought_wh for b in books)
            self._console.print(
                f"{hour.astimezone(zone):%Y-%m-%d %H:%M}  {progress.slots_settled}/{progress.slots} slots settled, "
                f"{bought_wh / 1000:.1f} kWh traded, {saved:.2f} {progress.settled.street.currency} saved"
                + ("" if progress.speed == progress.settled.clock.speed else f", at {progress.speed:.0f}x")
            )
