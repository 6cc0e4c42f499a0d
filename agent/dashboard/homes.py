"""One row per home: what it makes, stores, uses and trades, and what its bill came to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import quote

from nicegui.elements.mixins.text_element import TextElement

from agent.dashboard import time_words, words
from agent.dashboard.cells import Value, box, mark, show, text, variable
from agent.dashboard.figures import HomeFigures
from coordinator.quantities import cents

_COLUMNS = (
    ("pv", "Makes"),
    ("battery", "Stores"),
    ("load", "Uses"),
    ("meter", "At the meter"),
    ("trade", "With neighbours"),
    ("bill_no_battery", "Bill without battery"),
    ("bill_alone", "Bill without trading"),
    ("bill_traded", "Bill with trading"),
    ("saved", "Saved"),
    ("contracts", "Contracts"),
)


_MONEY = ("bill_no_battery", "bill_alone", "bill_traded", "saved")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cell:
    main: TextElement
    sub: TextElement
    more: TextElement


class HomeRow:
    """One home's figures. Built only where they are shown once per page: the test ids must stay unique."""

    def __init__(self, name: str, bills: bool = True) -> None:
        """Build the row; without `bills` where the savings card of the same home stands beside it."""
        sub_ids = {"battery": ("soc_pct", None), "trade": ("price", None), "contracts": ("bought_wh", "sold_wh")}
        main_ids = {"pv": "pv_w", "battery": "battery_w", "load": "load_w", "meter": "grid_w", "trade": "trading_w"}
        self._cells: dict[str, _Cell] = {}
        with box("home-row") as self._row:
            with box("cell cell-name"):
                with box("home-link", tag="a", href=f"/home/{quote(name, safe='')}"):
                    text(name, "home-name")
                self._status = text("", "fine", "div")
            for key, title in _COLUMNS if bills else [c for c in _COLUMNS if c[0] not in _MONEY]:
                with box(f"cell cell-{key}"):
                    text(title, "cell-title")
                    main = text("", "main num", "div", testid=f"{name}.{main_ids.get(key, key)}")
                    first, second = sub_ids.get(key, (None, None))
                    sub = text("", "sub num", "div", testid=first and f"{name}.{first}")
                    more = text("", "sub num", "div", testid=second and f"{name}.{second}")
                    if key == "battery":
                        with box("gauge") as self._gauge:
                            self._level = box("gauge-level")
                self._cells[key] = _Cell(main=main, sub=sub, more=more)

    def update(self, home: HomeFigures) -> None:
        mark(self._row, "stale", home.stale)
        show(self._status, _status(home))
        self._show_powers(home)
        self._show_books(home)

    def _set(self, key: str, content: str, value: Value, sub: tuple[str, Value] = ("", None)) -> None:
        cell = self._cells[key]
        show(cell.main, content, value)
        show(cell.sub, *sub)
        mark(cell.main, "none", content in {words.UNKNOWN, "nothing", "resting", "not trading"})

    def _show_powers(self, home: HomeFigures) -> None:
        self._set("pv", words.generation(home.pv_w) if home.has_pv else words.UNKNOWN, home.pv_w)
        stores = words.battery(home.battery_w) if home.has_battery else words.UNKNOWN
        level = f"{words.percent(home.soc_pct)} full" if home.soc_pct is not None else ""
        self._set("battery", stores, home.battery_w, (level, home.soc_pct))
        mark(self._gauge, "gone", home.soc_pct is None)
        variable(self._level, "--share", f"{home.soc_pct or 0:.0f}%")
        self._set("load", words.power(home.load_w), home.load_w)
        self._set("meter", words.meter(home.grid_w), home.grid_w)
        priced = f"at {words.price(home.price, home.currency)}" if home.price is not None else ""
        self._set("trade", words.trading(home.trading_w), home.trading_w, (priced, home.price))

    def _show_books(self, home: HomeFigures) -> None:
        books = home.savings
        if "saved" in self._cells:
            self._show_bills(home)
        bought = (f"bought {words.energy(books.bought_wh)}", books.bought_wh) if books else ("", None)
        self._set("contracts", words.UNKNOWN if home.contracts is None else str(home.contracts), home.contracts, bought)
        sold = (f"sold {words.energy(books.sold_wh)}", books.sold_wh) if books else ("", None)
        show(self._cells["contracts"].more, *sold)

    def _show_bills(self, home: HomeFigures) -> None:
        books = home.savings
        amounts: dict[str, Decimal | None] = {
            "bill_no_battery": books.bill_no_battery if books else None,
            "bill_alone": books.bill_alone if books else None,
            "bill_traded": books.bill_traded if books else None,
            "saved": home.saved,
        }
        for key, bill in amounts.items():
            self._set(key, words.amount(bill, home.currency), bill)
        # By what is shown: a tenth of a cent is neither.
        mark(self._cells["saved"].main, "gain", home.saved is not None and cents(home.saved) > 0)
        mark(self._cells["saved"].main, "loss", home.saved is not None and cents(home.saved) < 0)


def _status(home: HomeFigures) -> str:
    """Say when a home was last heard, and only when that matters."""
    if home.heard_s is None:
        return "not heard yet" if home.link_up else "cannot be heard"
    if home.stale:
        return f"last heard {time_words.ago(home.heard_s)}" if home.heard_s > 5 else "its readings are old"
    return ""


class HomesTable:
    """The rows under one header; on a phone each row becomes a card with its own titles."""

    def __init__(self, names: Sequence[str]) -> None:
        with box("card homes"):
            text("Homes", "label", "h2")
            with box("homes-grid"):
                with box("home-row header", aria_hidden="true"):  # each row says its own titles
                    text("", "cell cell-name")
                    for key, title in _COLUMNS:
                        text(title, f"cell cell-{key}")
                self._rows = {name: HomeRow(name) for name in names}

    def update(self, homes: Mapping[str, HomeFigures]) -> None:
        for name, row in self._rows.items():
            row.update(homes[name])
