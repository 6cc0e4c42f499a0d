"""The page in a real browser, fed by a real broker."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import fake_homes
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

pytestmark = [pytest.mark.chromium, pytest.mark.mosquitto]

ROOT = Path(__file__).parents[2]
NOW = fake_homes.START + timedelta(hours=5, minutes=7)
ATTACK = "</script><img src=x onerror=\"document.title='owned'\">`${document.title='owned'}`"
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--headless=new",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
RUN = """
import sys
from agent.dashboard.page import run_dashboard
from agent.dashboard.settings import DashboardSettings
run_dashboard(DashboardSettings.model_validate_json(sys.argv[1]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    url: str
    process: subprocess.Popen[bytes]
    start_s: float


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        assert process.poll() is None, f"{process.args} ended early"
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"nothing listens on {port}")


def serve(settings: dict[str, Any], cwd: Path) -> Served:
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, json.dumps(settings)], cwd=cwd, env={"PYTHONPATH": str(ROOT)}
    )
    wait_for(settings["port"], process)
    url = f"http://127.0.0.1:{settings['port']}"
    with urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:
        assert (answer.status, answer.read()) == (200, b"ok")
    return Served(url=url, process=process, start_s=time.monotonic() - began)


def stop(process: subprocess.Popen[bytes]) -> int:
    process.terminate()
    try:
        return process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A mosquitto with the topics of six homes, some of whose words attack the page."""
    binary = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    assert binary, "mosquitto is not installed"
    port = free_port()
    config = tmp_path_factory.mktemp("broker") / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    process = subprocess.Popen([binary, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(port, process)
    client, publish = fake_homes.connect(port)
    for message in fake_homes.topics(NOW):
        fake_homes.send(publish, message)
    yield port
    client.disconnect()
    client.loop_stop()
    stop(process)


@pytest.fixture(scope="module")
def served(broker: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    source = [{"home": name, "url": f"mqtt://127.0.0.1:{broker}"} for name in fake_homes.NAMES]
    settings = {"title": "Lindenweg", "port": free_port(), "demo": True, "timezone": "Europe/Berlin", "sources": source}
    cwd = tmp_path_factory.mktemp("cwd")
    page = serve(settings, cwd)
    yield page
    assert stop(page.process) == 0
    assert list(cwd.iterdir()) == [], "the page left files behind"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM_ARGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh tab."""
    context = browser.new_context(viewport={"width": 1280, "height": 850})
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def street(browser: Browser, served: Served) -> Iterator[Page]:
    """The page of all homes, opened once and looked at by several tests."""
    context = browser.new_context(viewport={"width": 1280, "height": 850})
    tab = context.new_page()
    tab.goto(served.url)
    tab.wait_for_selector('[data-testid="home-6.contracts"][data-value]')
    tab.wait_for_selector(".lines.wide .shaft[d^=M]", state="attached")
    tab.wait_for_selector(".chart svg")
    yield tab
    context.close()


def value(page: Page, testid: str) -> str | None:
    return page.locator(f'[data-testid="{testid}"]').get_attribute("data-value")


def overhang(page: Page, width: int) -> int:
    """Return by how many pixels the content is wider than a window of `width`."""
    page.set_viewport_size({"width": width, "height": 844})
    page.wait_for_timeout(300)
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


def test_every_figure_of_every_home_equals_what_the_home_published(street: Page) -> None:
    for home in fake_homes.HOMES:
        state, books = fake_homes.state(home, NOW), fake_homes.savings(home, NOW)
        for field in ("grid_w", "pv_w", "battery_w", "load_w", "soc_pct", "trading_w"):
            published = getattr(state, field)
            assert value(street, f"{home.name}.{field}") == (None if published is None else str(published))
        for field in ("bill_no_battery", "bill_alone", "bill_traded"):
            assert Decimal(value(street, f"{home.name}.{field}") or "nan") == getattr(books, field)
        for field in ("bought_wh", "sold_wh", "contracts"):
            assert int(value(street, f"{home.name}.{field}") or -1) == getattr(books, field)
        assert Decimal(value(street, f"{home.name}.price") or "nan") == fake_homes.street_price(
            fake_homes.slot_start(NOW)
        )


def test_the_neighbourhoods_money_is_the_sum_of_its_homes(street: Page) -> None:
    books = [fake_homes.savings(home, NOW) for home in fake_homes.HOMES]
    alone, traded = sum(b.bill_alone for b in books), sum(b.bill_traded for b in books)
    assert Decimal(value(street, "community.bill_alone") or "nan") == alone
    assert Decimal(value(street, "community.bill_traded") or "nan") == traded
    assert Decimal(value(street, "community.saved") or "nan") == alone - traded
    assert street.locator('[data-testid="community.saved"]').inner_text().startswith("€")


def test_every_trade_of_the_running_slot_is_an_arrow(street: Page) -> None:
    pairs = {(seller, buyer) for seller, buyer, _ in fake_homes.trades_of(fake_homes.slot_start(NOW))}
    drawn = street.eval_on_selector_all(".lines.wide .shaft", "all => all.filter(e => e.getAttribute('d')).length")
    assert len(pairs) > 0
    assert drawn == len(pairs)
    said = street.locator(".card.picture .unseen").inner_text().splitlines()
    assert {tuple(line.split(" sells ")[:1] + line.split(" to ")[1:]) for line in said} == {
        (seller, f"{buyer} in this period.") for seller, buyer in pairs
    }, "and a sentence for those who hear the page"


@pytest.mark.parametrize("width", [390, 1280])
def test_every_figure_of_the_table_has_its_title_also_for_those_who_hear_the_page(street: Page, width: int) -> None:
    street.set_viewport_size({"width": width, "height": 844})
    cells = street.locator(".home-row:not(.header)").first.locator(".cell:not(.cell-name)")
    assert cells.count() == 10
    for cell in cells.all():
        title = cell.locator(".cell-title")
        assert title.inner_text() == title.text_content() != "", "read aloud, if not always seen"


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_sticks_out_sideways_on_the_neighbourhoods_page(street: Page, width: int) -> None:
    assert overhang(street, width) <= 0


@pytest.mark.parametrize("path", ["/", "/home/home-3"])
def test_a_page_loads_nothing_from_elsewhere_logs_no_error_and_fits_a_phone(
    served: Served, page: Page, path: str
) -> None:
    requested: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.on("websocket", lambda websocket: requested.append(websocket.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(served.url + path)
    page.wait_for_selector(".chart svg")
    page.wait_for_timeout(800)
    here = served.url.removeprefix("http://")
    assert requested
    assert [url for url in requested if not url.startswith((f"http://{here}/", f"ws://{here}/", "data:"))] == []
    assert errors == []
    assert overhang(page, 390) <= 0


def test_a_home_says_how_it_balances_with_neighbours_and_what_they_see(served: Served, page: Page) -> None:
    home = next(home for home in fake_homes.HOMES if home.battery_w)
    page.goto(f"{served.url}/home/{home.name}")
    page.wait_for_selector(".facts .row-line")
    page.locator(".card.picture").get_by_text(
        "Balancing with 5 neighbours: this battery gives 320 W for them."
    ).wait_for()
    assert "every few seconds how far it is from its plan" in page.locator(".facts").inner_text()
    assert page.get_by_text("Neighbours: 4 of 5").count() == 1, "without the home itself, and home-4 is away"
    assert home.name not in page.locator(".rows.peers").inner_text()


def test_words_of_neighbours_stay_text(broker: int, page: Page, tmp_path: Path) -> None:
    client, publish = fake_homes.connect(broker)
    name = "<img src=x onerror=alert(1)>`${1}`"
    home = fake_homes.FakeHome(name=name, pv_peak_w=900, battery_w=500, base_w=100, evening_w=0)
    trade = fake_homes.market(fake_homes.HOMES[0], NOW).trades[0].model_copy(update={"partner": ATTACK})
    peers = fake_homes.peers(home, NOW)
    plan = fake_homes.plan(home, NOW)
    attacked = [
        fake_homes.state(home, NOW).model_copy(update={"reason": ATTACK}),
        fake_homes.market(home, NOW, 0).model_copy(update={"reason": ATTACK, "trades": [trade]}),
        peers.model_copy(
            update={
                "community": ATTACK,
                "price_rule": ATTACK,
                "members": [peers.members[1].model_copy(update={"name": ATTACK})],
            }
        ),
        plan.model_copy(update={"slots": [plan.slots[0].model_copy(update={"reason": ATTACK})]}),
        fake_homes.notice_of(home, NOW, ATTACK),
    ]
    for message in attacked:
        fake_homes.send(publish, message)
    source = {"home": home.name, "url": f"mqtt://127.0.0.1:{broker}"}
    single = serve({"title": ATTACK, "port": free_port(), "sources": [source]}, tmp_path)
    try:
        page.goto(single.url)
        page.wait_for_selector(".trades .row-line")
        page.wait_for_timeout(600)
        assert page.title() == ATTACK
        assert page.locator("img[src=x]").count() == 0
        shown = page.locator("main.page").inner_text()
        assert shown.count(ATTACK) >= 8
    finally:
        stop(single.process)
        client.disconnect()
        client.loop_stop()


def test_a_changed_figure_reaches_an_open_page_and_silence_greys_it(street: Page, broker: int) -> None:
    client, publish = fake_homes.connect(broker)
    later = fake_homes.state(fake_homes.HOMES[5], NOW).model_copy(update={"load_w": 4321.5})
    fake_homes.send(publish, later)
    street.wait_for_selector('[data-testid="home-6.load_w"][data-value="4321.5"]', timeout=5000)
    assert street.locator('[data-testid="home-6.load_w"]').inner_text() == "4.3 kW"
    street.wait_for_selector(".home-row.stale", timeout=20_000)
    assert "last heard" in street.locator(".home-row.stale").first.inner_text()
    street.wait_for_selector(".card.picture.stale", timeout=20_000)
    opacity = "e => { let all = 1; for (; e; e = e.parentElement) all *= getComputedStyle(e).opacity; return all; }"
    assert street.eval_on_selector(".home-row.stale .main", opacity) == 1, "what is old can still be read"
    assert "No home is heard right now" in street.locator(".card.picture").inner_text()
    assert "no home is heard" in street.locator(".when").inner_text(), "a simulation's clock stands then"
    assert street.locator(".service.to-home, .service.to-grid").count() == 0
    assert street.locator(".hub").inner_text().split() == ["Grid", "–"], "old figures are not summed"
    client.disconnect()
    client.loop_stop()


def test_the_picture_of_a_home_that_is_not_heard_says_of_when_it_is_and_stands_still(
    broker: int, page: Page, tmp_path: Path
) -> None:
    """Not a simulation: the broker keeps a state of long ago, and the page's clock is the wall's."""
    source = {"home": "home-1", "url": f"mqtt://127.0.0.1:{broker}"}
    alone = serve({"port": free_port(), "timezone": "Europe/Berlin", "sources": [source]}, tmp_path)
    try:
        page.goto(alone.url)
        page.wait_for_selector(".card.picture.stale .flow-line.inward", state="attached")
        assert "As of Tue 12 May, 14:07, last heard" in page.locator(".moment").inner_text()
        moving = "all => all.filter(e => getComputedStyle(e).animationName != 'none').length"
        assert page.eval_on_selector_all(".flow-line", moving) == 0
        assert "has gone quiet; last heard" in page.locator(".banner").inner_text()
        assert page.get_by_text("Neighbours: 4 of 5 were online").count() == 1
        assert page.locator(".price .unit").inner_text() == "not known"
        shown = page.locator('[data-testid="community.now"]').get_attribute("data-value") or ""
        assert datetime.fromisoformat(shown) > NOW + timedelta(days=1)
    finally:
        stop(alone.process)


def test_the_page_starts_quickly_and_ends_cleanly_on_ctrl_c(broker: int, tmp_path: Path) -> None:
    source = {"home": "home-1", "url": f"mqtt://127.0.0.1:{broker}"}
    alone = serve({"port": free_port(), "sources": [source]}, tmp_path)
    assert alone.start_s < 6, "twice the promise of 3 s, for a machine busy with other tests"
    alone.process.send_signal(signal.SIGINT)
    assert alone.process.wait(10) == 0


def test_another_sites_name_for_this_machine_is_not_answered(served: Served) -> None:
    request = urllib.request.Request(served.url, headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request, timeout=5)
