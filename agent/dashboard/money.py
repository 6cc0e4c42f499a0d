"""The two cards that answer "what did it bring?" and "what does a kilowatt-hour cost next door?"."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from agent.dashboard import words
from agent.dashboard.cells import attributes, box, mark, show, text, variable
from coordinator.quantities import cents

_BILLS = (
    ("bill_no_battery", "Without battery"),
    ("bill_alone", "Battery, no trading"),
    ("bill_traded", "With trading"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bills:
    """The three bills side by side; None until the first slot is settled."""

    currency: str
    no_battery: Decimal | None
    alone: Decimal | None
    traded: Decimal | None
    contracts: int | None
    bought_wh: int
    sold_wh: int | None
    """None where bought and sold are the same energy (the whole neighbourhood)."""

    @property
    def saved(self) -> Decimal | None:
        return None if self.alone is None or self.traded is None else self.alone - self.traded


class SavingsCard:
    """A big number, what it is compared with, and three bars."""

    def __init__(self, scope: str) -> None:
        self._bars: dict[str, tuple[ui.element, TextElement]] = {}
        with box("card savings"):
            self._title = text("Saved by trading", "label", "h2")
            self._saved = text("", "big", "div", testid=f"{scope}.saved")
            self._against_alone = text("", "compare", "div")
            self._against_none = text("", "compare", "div")
            with box("bars"):
                for key, name in _BILLS:
                    with box(f"bar-row {key}"):
                        text(name, "bar-name")
                        with box("bar-track"):
                            bar = box("bar")
                        self._bars[key] = bar, text("", "bar-value num", testid=f"{scope}.{key}")
            self._facts = text("", "fine", "div")

    def update(self, bills: Bills) -> None:
        known = bills.saved is not None
        losing = bills.saved is not None and cents(bills.saved) < 0  # by what is shown: a tenth of a cent is nothing
        show(self._title, "Trading has cost so far" if losing else "Saved by trading so far")
        shown = None if bills.saved is None else abs(bills.saved)
        show(self._saved, words.amount(shown, bills.currency), bills.saved)
        mark(self._saved, "loss", losing)
        waiting = "" if known else "First figures when the first trading period has ended."
        alone = words.compared(bills.alone, bills.traded, "without trading", bills.currency)
        show(self._against_alone, alone or waiting)
        show(self._against_none, words.compared(bills.no_battery, bills.traded, "without battery", bills.currency))
        values = {"bill_no_battery": bills.no_battery, "bill_alone": bills.alone, "bill_traded": bills.traded}
        self._show_bars(values, bills.currency)
        exchanged = f"{words.energy(bills.bought_wh)} exchanged"
        if bills.sold_wh is not None:
            exchanged = f"{words.energy(bills.bought_wh)} bought, {words.energy(bills.sold_wh)} sold"
        if bills.contracts is not None:
            exchanged += " in 1 contract" if bills.contracts == 1 else f" in {bills.contracts:,} contracts"
        show(self._facts, exchanged)

    def _show_bars(self, values: Mapping[str, Decimal | None], currency: str) -> None:
        """Draw bills from one common zero: to the right what is paid, to the left what is earned."""
        known = [float(value) for value in values.values() if value is not None]
        low, high = min([0.0, *known]), max([0.0, *known])
        span = high - low or 1.0
        for key, (bar, said) in self._bars.items():
            value = values[key]
            show(said, words.bill(value, currency), value)
            end = float(value or 0)
            variable(bar, "--from", f"{(min(0.0, end) - low) / span * 100:.1f}%")
            variable(bar, "--share", f"{abs(end) / span * 100:.1f}%")


class PriceCard:
    """The neighbourhood price between what the grid pays and what it asks: the whole point of trading in one line."""

    def __init__(self, scope: str) -> None:
        with box("card price"):
            text("Price between neighbours, now", "label", "h2")
            with box("price-line"):
                self._price = text("", "big", testid=f"{scope}.price")
                self._unit = text("", "unit")
            with box("scale") as scale, box("scale-track"):
                self._dot = box("scale-dot")
            self._scale = scale
            with box("scale-ends"):
                with box("scale-end"):
                    text("Grid pays", "fine", "div")
                    self._low = text("", "num", "div")
                with box("scale-end right"):
                    text("Grid asks", "fine", "div")
                    self._high = text("", "num", "div")
            self._volume = text("", "fine", "div")

    def update(
        self,
        price: Decimal | None,
        low: tuple[Decimal, ...],
        high: tuple[Decimal, ...],
        volume: str,
        currency: str,
        missing: str = "no agreement for this period",
    ) -> None:
        show(self._price, words.price(price, currency), price)
        show(self._unit, "per kWh" if price is not None else missing)
        show(self._low, _range(low, currency))
        show(self._high, _range(high, currency))
        show(self._volume, volume)
        mark(self._scale, "empty", price is None or not low or not high)
        if price is not None and low and high and high[-1] > low[0]:
            place = float((price - low[0]) / (high[-1] - low[0]) * 100)
            variable(self._dot, "--place", f"{min(100.0, max(0.0, place)):.1f}%")
        attributes(self._scale, {"aria-hidden": "true"})


def _range(prices: tuple[Decimal, ...], currency: str) -> str:
    said = list(dict.fromkeys(words.price(p, currency) for p in prices))
    return " – ".join(said) or words.UNKNOWN
