"""Weather from a real HTTP server on this machine, and without one."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlparse

import numpy as np
import pytest

from agent.forecast.weather import VARIABLES, WeatherSource
from coordinator.clock import ManualClock

FIRST = 1_772_409_600  # 2026-03-02T00:00Z


def answer(first: int, temperatures: list[float | None]) -> dict[str, Any]:
    hours = range(len(temperatures))
    flat = [0.0 for _ in hours]
    columns = dict.fromkeys(VARIABLES, flat) | {VARIABLES[0]: temperatures}
    return {"hourly": {"time": [first + 3600 * hour for hour in hours], **columns}}


class Service(BaseHTTPRequestHandler):
    status: ClassVar[int] = 200
    body: ClassVar[str] = ""
    asked: ClassVar[list[dict[str, list[str]]]] = []

    def do_GET(self) -> None:
        self.asked.append(parse_qs(urlparse(self.path).query))
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Service, "status", 200)
    monkeypatch.setattr(Service, "body", json.dumps(answer(FIRST, [1.0, 2.5, None])))
    monkeypatch.setattr(Service, "asked", [])
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/forecast"
        server.shutdown()
        thread.join()


def source(path: Path, url: str) -> WeatherSource:
    clock = ManualClock(datetime.fromtimestamp(FIRST, UTC))
    return WeatherSource(path, latitude=52.51627, longitude=13.37769, url=url, clock=clock)


def test_hourly_values_are_looked_up_for_slots_and_unknown_ones_stay_unknown(service: str, tmp_path: Path) -> None:
    weather = source(tmp_path / "weather.json", service).refresh()
    assert weather is not None
    rows = weather.at(FIRST + 900 * np.array([-1, 0, 3, 4, 8, 12]))
    np.testing.assert_array_equal(rows[:, 0], [np.nan, 1.0, 1.0, 2.5, np.nan, np.nan])
    assert rows[1, 1] == 0.0


def test_the_service_learns_the_place_only_to_a_tenth_of_a_degree(service: str, tmp_path: Path) -> None:
    source(tmp_path / "weather.json", service).refresh()
    assert (Service.asked[0]["latitude"], Service.asked[0]["longitude"]) == (["52.5"], ["13.4"])


def test_a_newer_answer_joins_what_was_kept(service: str, tmp_path: Path) -> None:
    place = source(tmp_path / "weather.json", service)
    place.refresh()
    Service.body = json.dumps(answer(FIRST + 3600, [9.0, 10.0]))
    place.refresh()
    kept = source(tmp_path / "weather.json", service).kept()
    assert kept is not None
    np.testing.assert_array_equal(kept.values[:, 0], [1.0, 9.0, 10.0])


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, ""),
        (200, "no json"),
        (200, json.dumps(answer(3600 * 10**9, [5.0]))),
        (200, "[]"),
        (200, '{"hourly": {"time": [1]}}'),
        (200, '{"hourly": {"time": "x"}}'),
    ],
)
def test_a_failing_service_leaves_what_was_kept(service: str, tmp_path: Path, status: int, body: str) -> None:
    place = source(tmp_path / "weather.json", service)
    place.refresh()
    Service.status, Service.body = status, body
    again = place.refresh()
    assert again is not None
    np.testing.assert_array_equal(again.values[:2, 0], [1.0, 2.5])


def test_offline_from_the_start_there_is_no_weather_and_no_error(tmp_path: Path) -> None:
    place = source(tmp_path / "weather.json", "http://127.0.0.1:9/v1/forecast")
    assert place.refresh() is None
    assert place.kept() is None


def test_a_damaged_file_is_asked_anew(service: str, tmp_path: Path) -> None:
    (tmp_path / "weather.json").write_text("{half")
    weather = source(tmp_path / "weather.json", service).refresh()
    assert weather is not None
    assert weather.values[0, 0] == 1.0


def test_absurd_times_and_numbers_are_neither_believed_nor_kept(service: str, tmp_path: Path) -> None:
    """One row a million years ahead would ask for more memory than there is, at every start."""
    path = tmp_path / "weather.json"
    path.write_text(json.dumps({str(3600 * 10**9): [1.0, 2.0, 3.0], str(FIRST + 60): [1.0, 2.0, 3.0]}))
    assert source(path, service).kept() is None
    Service.body = json.dumps(answer(FIRST, [1.0, float("inf"), float("nan")]))
    weather = source(path, service).refresh()
    assert weather is not None
    np.testing.assert_array_equal(weather.values[:, 0], [1.0, np.nan, np.nan])
    assert set(json.loads(path.read_text())) == {str(FIRST + 3600 * hour) for hour in range(3)}


def test_a_full_disk_costs_only_what_a_restart_asks_again(service: str, tmp_path: Path) -> None:
    (tmp_path / "weather.part").mkdir()
    weather = source(tmp_path / "weather.json", service).refresh()
    assert weather is not None
    assert weather.values[1, 0] == 2.5
