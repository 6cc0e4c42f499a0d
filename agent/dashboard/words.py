"""How figures are said to people: one wording for the page and the terminal. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from zoneinfo import ZoneInfo

from agent.dashboard import time_words
from agent.dashboard.topics import Accuracy, Market, Trade
from coordinator.quantities import cents

UNKNOWN = "–"

IDLE_W = 20.0
"""Flows below this are said to be none: meters and inverters flutter by about as much."""

_SYMBOLS = {"EUR": "€", "GBP": "£", "USD": "$"}
_MINOR = {"EUR": "ct", "GBP": "p", "USD": "¢", "CHF": "Rp"}

TRADE_STATUS: dict[str, str] = {"offered": "offered", "bound": "agreed", "counted": "settled", "void": "cancelled"}

PRICE_RULES: dict[str, str] = {
    "marginal": "one price for all, where supply meets demand",
    "midpoint": "halfway between the grid's buying and selling price",
    "sdr": "by the ratio of supply to demand",
}


SEEN = "what it would buy or sell per slot, its trades, and how its meter differed from them; never its load"
SEEN_SHARING = (
    "what it would buy or sell per slot, its trades, how its meter differed from them, and every few seconds how far "
    "it is from its plan: that something large was switched on, not what. Its settings can switch that off "
    "([control] share)"
)


SEEN_MASKED = (
    "the sum of all bids, never its own; each partner the trades with it; whoever carries the messages, who speaks to "
    "whom and when"
)


def seen(*, masked: bool, sharing: bool) -> str:
    """Say what neighbours learn of a home."""
    if masked:
        return SEEN_MASKED
    return SEEN_SHARING if sharing else SEEN


def power(watts: float | None) -> str:
    """Say an amount of power without its direction: "1.2 kW", "340 W"."""
    if watts is None:
        return UNKNOWN
    amount = abs(watts)
    if amount < 995:
        return f"{round(amount / 10) * 10 if amount >= 100 else round(amount)} W"
    return f"{amount / 1000:.1f} kW"


def energy(watt_hours: float | None) -> str:
    """Say an amount of energy without its direction: "1.25 kWh", "340 Wh"."""
    if watt_hours is None:
        return UNKNOWN
    amount = abs(watt_hours)
    return f"{round(amount)} Wh" if amount < 1000 else f"{amount / 1000:.{2 if amount < 10_000 else 1}f} kWh"


def percent(value: float | Decimal | None) -> str:
    return UNKNOWN if value is None else f"{value:.0f} %"


def amount(value: Decimal | None, currency: str) -> str:
    """Say an amount of money: "€3.42", "−€0.45", "CHF 3.42"; "3.42" where the currency is not known."""
    if value is None:
        return UNKNOWN
    rounded = cents(value)
    sign = "−" if rounded < 0 else ""
    symbol = _SYMBOLS.get(currency, f"{currency} ".lstrip())
    return f"{sign}{symbol}{abs(rounded):,.2f}"


def price(value: Decimal | float | None, currency: str) -> str:
    """Say a price per kWh in the currency's small unit where it has one: "21.4 ct", "XYZ 0.214"; "0.214" of none."""
    if value is None:
        return UNKNOWN
    exact = Decimal(str(value))
    if minor := _MINOR.get(currency):
        return f"{(exact * 100).quantize(Decimal('0.1'), ROUND_HALF_EVEN)} {minor}".replace("-", "−")
    return f"{currency} {exact.quantize(Decimal('0.001'), ROUND_HALF_EVEN)}".lstrip().replace("-", "−")


def generation(watts: float | None) -> str:
    """Say what the panels make."""
    return "nothing" if watts is not None and watts < IDLE_W else power(watts)


def battery(watts: float | None) -> str:
    """Say what a battery does; positive discharges."""
    if watts is None:
        return UNKNOWN
    if abs(watts) < IDLE_W:
        return "resting"
    return f"{'giving' if watts > 0 else 'charging'} {power(watts)}"


def meter(watts: float | None) -> str:
    """Say what crosses the meter; positive comes in."""
    if watts is None:
        return UNKNOWN
    if abs(watts) < IDLE_W:
        return "nothing"
    return f"{power(watts)} {'in' if watts > 0 else 'out'}"


def trading(watts: float | None) -> str:
    """Say what the running contracts move; positive is bought."""
    if watts is None:
        return UNKNOWN
    if abs(watts) < 1:
        return "not trading"
    return f"{'buying' if watts > 0 else 'selling'} {power(watts)}"


def trade(item: Trade) -> str:
    return f"{'bought' if item.energy_wh > 0 else 'sold'} {energy(item.energy_wh)}"


def flow(seller: str, buyer: str, energy_wh: int) -> str:
    """Say an arrow of the picture."""
    return f"{seller} sells {energy(energy_wh)} to {buyer} in this period."


def trade_status(item: Trade) -> str:
    """Say what became of a trade; one of the round after the slot is told apart once it counts."""
    return "balanced afterwards" if item.trade == "residual" and item.status == "counted" else TRADE_STATUS[item.status]


def balancing(homes: int, shared_w: float) -> str:
    """Say what the home does together with its neighbours within the slot; `shared_w` is + given for them."""
    if homes == 0:
        return "Balancing alone: no neighbour tells how far it is from its plan."
    who = f"Balancing with {homes} neighbour{'' if homes == 1 else 's'}"
    if abs(shared_w) < IDLE_W:
        return f"{who}."
    return f"{who}: this battery {'gives' if shared_w > 0 else 'takes'} {power(shared_w)} for them."


def market(of: Market | None, now: datetime, zone: ZoneInfo) -> str:
    """Say why the home traded in a slot or did not, and in which slot."""
    if of is None or not of.reason:
        return ""
    return f"{time_words.span(of.slot_start_at, of.slot_end_at, now, zone)}: {of.reason}"


def saving_percent(before: Decimal | None, after: Decimal | None) -> Decimal | None:
    """Return how much less `after` is, in percent of `before`; None where a share of the bill has no meaning."""
    if before is None or after is None or before <= 0:
        return None
    return (before - after) / before * 100


def compared(before: Decimal | None, after: Decimal | None, than: str, currency: str, digits: int = 0) -> str:
    """Say a comparison of two bills: "18 % less than without trading", "€1.20 less than without battery".

    Args:
        digits: Of a share of at least 1 %; a smaller one has one.
    """
    if before is None or after is None:
        return ""
    if cents(before - after) == 0:  # less cannot be seen in any of the amounts
        return f"the same as {than}"
    share = saving_percent(before, after)
    if share is None or not Decimal("0.05") < abs(share) <= 100:
        shown = amount(abs(before - after), currency)
    else:
        shown = f"{abs(share):.{digits if abs(share) >= 1 else 1}f} %"
    return f"{shown} {'less' if after < before else 'more'} than {than}"


def bill(value: Decimal | None, currency: str) -> str:
    """Say a bill: "€3.42", or "earned €0.45" when it is negative."""
    if value is None or cents(value) >= 0:
        return amount(value, currency)
    return f"earned {amount(-value, currency)}"


def mean_power(energy_wh: float | None, length: timedelta) -> float | None:
    """Return the mean power of a slot in W."""
    return None if energy_wh is None else energy_wh / (length.total_seconds() / 3600)


def accuracy(of: Accuracy) -> str:
    """Say how yesterday's forecast did, next to the easiest guess."""
    said = f"Yesterday's load forecast, made at midnight, was off by {of.mae_w:.0f} W on average"
    if of.mean_w > 0:
        said += f" ({100 * of.mae_w / of.mean_w:.0f} % of the load)"
    if of.mae_day_w is not None:
        said += f"; repeating the day before would have been off by {of.mae_day_w:.0f} W"
    return said + "."


def gave_way(missed: Sequence[str]) -> str:
    """Say what the owner's wishes do not get."""
    return f"Not everything that was wished for can be had: {'; '.join(missed)}." if missed else ""
