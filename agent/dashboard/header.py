"""The top of every page: whose page it is, what time it is there, how long the trading period still runs; warnings."""

from collections.abc import Sequence
from decimal import Decimal
from zoneinfo import ZoneInfo

from agent.dashboard import icons, time_words, words
from agent.dashboard.cells import Rows, box, icon, mark, show, text, variable
from agent.dashboard.figures import CommunityFigures

_WARNINGS_SHOWN = 4


class Header:
    """Title, simulation badge, clock of the community and the running trading period."""

    def __init__(self, title: str, zone: ZoneInfo, demo: bool, back: str | None) -> None:
        self._zone, self._demo = zone, demo
        with box("top", tag="header"):
            with box("brand"):
                icon(icons.MARK, "mark")
                with box("brand-text"):
                    if back is not None:
                        with box("back", tag="a", href="/"):
                            text(f"← {back}")
                    text(title, "title", "h1")
            if demo:
                text("Simulation", "badge").props["title"] = "Simulated homes; real agents, real protocols"
            with box("when"):
                self._clock = text("", "clock num", "div", testid="community.now")
                self._slot = text("", "fine num", "div")
                with box("slot-track") as self._track:
                    self._bar = box("slot-bar")
        with box("glance", aria_hidden="true"):  # on a phone only: the cards that say the same are below the picture
            with box("glance-item saved"):
                text("Saved", "fine")
                self._saved = text("", "num")
            with box("glance-item price"):
                text("Price now", "fine")
                self._price = text("", "num")
        with box("banner", role="status") as self._banner:
            icon(icons.WARNING)
            self._warnings = Rows("banner-rows", ("banner-home", "banner-text"), "")

    def update(self, community: CommunityFigures, warnings: Sequence[tuple[str, str]], *, silent: bool) -> None:
        """Show the time and what is wrong; `silent` says that no home is heard, whose clock is a simulation's own."""
        now, start_at, end_at = community.now, community.slot_start_at, community.slot_end_at
        show(
            self._clock,
            time_words.date_and_time(now, self._zone) if now else "waiting for the homes",
            now.isoformat() if now else None,
        )
        known = now is not None and start_at is not None and end_at is not None
        stopped = silent and self._demo
        mark(self._track, "gone", not known or stopped)
        if stopped:
            show(self._slot, "no home is heard" if known else "")
        elif now is not None and start_at is not None and end_at is not None:
            left = time_words.remaining(end_at - now)
            show(self._slot, f"trading period {time_words.span(start_at, end_at, now, self._zone)}, {left} left")
            variable(self._bar, "--share", f"{(now - start_at) / (end_at - start_at) * 100:.0f}%")
        mark(self._banner, "gone", not warnings)
        shown = list(warnings[:_WARNINGS_SHOWN])
        if len(warnings) > len(shown):
            shown.append(("", f"and {len(warnings) - len(shown)} more"))
        self._warnings.show(shown)

    def glance(self, saved: str, price: Decimal | None, currency: str) -> None:
        """Show the two figures that everybody looks for first."""
        show(self._saved, saved)
        show(self._price, words.price(price, currency))
