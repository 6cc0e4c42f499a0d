"""Nothing in the product knows a host of the internet but the one weather service, which an owner switches on."""

import ipaddress
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
WEATHER = "agent/forecast/weather.py"
ALLOWED = {
    (WEATHER, "api.open-meteo.com"): "asked only with home.weather = true",
    ("agent/dashboard/icons.py", "www.w3.org"): "the name of a format; nothing is fetched",
}
"""Hosts that may be named, each with its reason."""
_URL = re.compile(r"\b[a-z]+(?:\+[a-z]+)?://([^/\s\"'`:{}\\)\]]+)")
_NAME = re.compile(r"[\"'/@]((?:[a-z0-9-]+\.)+(?:com|net|org|io|de|eu|cloud|cn|energy|app))\b")


def external_hosts(text: str) -> set[str]:
    """Return the hosts that a text names, but for addresses of home networks and words that stand for a host."""
    return {host for host in {*_URL.findall(text), *_NAME.findall(text)} if not _at_home(host)}


def _at_home(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_private
    except ValueError:
        return "." not in host or "example" in host.split(".")


def product_files() -> list[Path]:
    found = [path for folder in ("agent", "coordinator") for path in (ROOT / folder).rglob("*.py")]
    return sorted([*found, *(ROOT / "firmware-config/profiles").glob("*.yaml")])


def test_no_part_of_the_product_names_a_host_of_the_internet_but_the_weather_service() -> None:
    named = {
        (str(path.relative_to(ROOT)), host)
        for path in product_files()
        for host in external_hosts(path.read_text(encoding="utf-8"))
    }
    assert named == set(ALLOWED)


def test_the_search_finds_a_makers_cloud_however_it_is_written() -> None:
    assert external_hosts('URL = "https://portal.maker.com/api"') == {"portal.maker.com"}
    assert external_hosts("connect('mqtt.maker.cloud', 8883)") == {"mqtt.maker.cloud"}
    assert external_hosts("url: rtu+tcp://203.0.114.7:8899") == {"203.0.114.7"}
    assert external_hosts('"tcp://192.168.1.20:502" and mqtt://host:1883 and [::1]') == set()
