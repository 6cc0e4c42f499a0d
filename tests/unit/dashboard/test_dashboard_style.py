"""The page's colours, as text on what lies behind it (WCAG 2.2, 1.4.3: 4.5 to 1 for text of this size)."""

import re
from pathlib import Path

import pytest

CSS = (Path(__file__).parents[3] / "agent" / "dashboard" / "style.css").read_text(encoding="utf-8")
LIGHT, DARK = (
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
)
LEAST = 4.5


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_measure_is_that_of_the_standard() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_every_colour_that_text_has_can_be_read(theme: dict[str, str]) -> None:
    text = set(re.findall(r"[{;] *color: var\(--([\w-]+)\)", CSS))
    assert {"ink", "muted", "sun", "battery", "load", "trade", "alert"} <= text
    pairs = {(name, behind) for name in text for behind in ("card", "paper")}
    pairs |= {("alert", "alert-wash"), ("trade", "trade-wash")}
    unreadable = {pair: contrast(theme[pair[0]], theme[pair[1]]) for pair in pairs}
    assert {pair: ratio for pair, ratio in unreadable.items() if ratio < LEAST} == {}
