"""Energy, price and money as both sides of a contract compute them.

Traded energy is whole Wh (`int`, positive), prices on the wire are whole micro-units of the currency per kWh
(`int`, 1e-6 per kWh), money is an exact `Decimal`. Arrays inside a home are plain floats whose names carry the unit.
"""

from decimal import ROUND_HALF_EVEN, Decimal

MICRO = 1_000_000
"""Micro-units in one unit of the currency."""

_WH_MICRO = Decimal(1_000 * MICRO)


def to_micro(price_per_kwh: Decimal | float | str) -> int:
    """Return a price in micro-units per kWh, rounded half even (0.28 -> 280000)."""
    return int((Decimal(str(price_per_kwh)) * MICRO).to_integral_value(ROUND_HALF_EVEN))


def from_micro(price_micro: int) -> Decimal:
    """Return a price in units of the currency per kWh, exactly."""
    return Decimal(price_micro) / MICRO


def money(energy_wh: int, price_micro: int) -> Decimal:
    """Return what `energy_wh` costs at `price_micro` per kWh, exactly (no rounding: at most nine decimals)."""
    return Decimal(energy_wh * price_micro) / _WH_MICRO


def cents(amount: Decimal) -> Decimal:
    """Round an amount for a printed statement: half even, two decimals. Never used inside a computation."""
    return amount.quantize(Decimal("0.01"), ROUND_HALF_EVEN)


def round_ratio(numerator: int, denominator: int) -> int:
    """Return numerator / denominator rounded half even, in integers only, so every home gets the same result.

    Raises:
        ZeroDivisionError: If the denominator is zero.
    """
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    if twice > denominator or (twice == denominator and quotient % 2):
        quotient += 1
    return quotient
