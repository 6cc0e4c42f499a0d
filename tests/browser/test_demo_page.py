"""The demo's page in a real browser says what the demo's report says."""

import asyncio
import os
import shutil
import socket
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from agent.demo.director import Demo
from agent.demo.options import DemoOptions

pytestmark = [pytest.mark.chromium, pytest.mark.mosquitto]

CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--headless=new",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
FIGURES = ("bill_no_battery", "bill_alone", "bill_traded", "bought_wh", "sold_wh", "contracts")
WIDTHS = (1280, 390)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def shown(page: Page, testid: str) -> Decimal:
    """Return a figure of the page; it must be visible to a person, too."""
    element = page.locator(f'[data-testid="{testid}"]')
    element.scroll_into_view_if_needed()
    assert element.is_visible(), f"{testid} cannot be seen"
    assert element.inner_text().strip(), f"{testid} shows nothing"
    return Decimal(element.get_attribute("data-value") or "NaN")


def read_page(url: str, report: dict[str, Any], shots: Path) -> dict[int, dict[str, Decimal]]:
    """Open the page as a visitor does and return, for each width, all its figures of money and trade."""
    names = [home["name"] for home in report["homes"]]
    last = f'[data-testid="{names[-1]}.contracts"][data-value="{report["homes"][-1]["contracts"]}"]'
    ids = [f"{name}.{figure}" for name in names for figure in (*FIGURES, "saved")]
    ids += [f"community.{figure}" for figure in ("saved", "bill_no_battery", "bill_alone", "bill_traded")]
    found: dict[int, dict[str, Decimal]] = {}
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM_ARGS)
        page = chromium.new_page()
        page.goto(url)
        page.wait_for_selector(last, timeout=10_000)
        page.wait_for_selector(".chart svg")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 850})
            page.wait_for_timeout(300)
            page.screenshot(path=shots / f"demo_{width}.png", full_page=True)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 850})
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            found[width] = {testid: shown(page, testid) for testid in ids}
        chromium.close()
    return found


@pytest.mark.timeout(240)
def test_bills_trades_contracts_and_savings_on_the_page_are_those_of_the_report(tmp_path: Path) -> None:
    shots = Path(os.environ.get("COMMONWATT_SHOTS", tmp_path))
    found: dict[int, dict[str, Decimal]] = {}
    port = free_port()

    async def scenario() -> dict[str, Any]:
        demo = Demo(DemoOptions(folder=tmp_path / "demo", hours=1.0, page_port=port))

        async def look(report: dict[str, Any]) -> None:
            found.update(await asyncio.to_thread(read_page, f"http://127.0.0.1:{port}", report, shots))

        return await demo.run(at_end=look)

    report = asyncio.run(scenario())
    assert report["slots"] == 4
    assert report["contracts_counted"] > 0
    assert found.keys() == set(WIDTHS)
    for page in found.values():
        for home in report["homes"]:
            name = home["name"]
            assert {key: float(page[f"{name}.{key}"]) for key in FIGURES} == {key: home[key] for key in FIGURES}
            assert float(page[f"{name}.saved"]) == pytest.approx(home["bill_alone"] - home["bill_traded"], abs=1e-9)
        sums = {key: sum(home[key] for home in report["homes"]) for key in FIGURES}
        for key in ("bill_no_battery", "bill_alone", "bill_traded"):
            assert float(page[f"community.{key}"]) == pytest.approx(sums[key], abs=1e-9)
        assert float(page["community.saved"]) == pytest.approx(sums["bill_alone"] - sums["bill_traded"], abs=1e-9)
        assert sums["contracts"] == 2 * report["contracts_counted"]
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), 1)
