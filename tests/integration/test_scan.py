"""`commonwatt scan` among devices that count what it does to them."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from typer.testing import CliRunner

from agent.cli.main import app
from agent.devices import scan
from agent.devices.address import parse_address
from agent.devices.profile import read_profile
from agent.devices.scan import Candidate, Found, Outcome, Search, all_candidates, scan_all
from agent.simulator.exhibit import Exhibit, ExhibitSettings, Wire
from agent.simulator.frames import Frame
from agent.simulator.server import ModbusServer, Reply
from coordinator.clock import WallClock

READS = {3, 4}


@pytest.fixture(scope="module")
def candidates() -> list[Candidate]:
    return all_candidates()


@dataclass
class Watched:
    """Devices behind servers that note connections and requests.

    Attributes:
        open: Connections now, over all servers; `most` is the largest number there ever was.
        busy: Requests in work now, over all servers.
    """

    functions: set[int] = field(default_factory=set)
    connects: dict[str, int] = field(default_factory=dict)
    open: int = 0
    most: int = 0
    busy: int = 0
    together: int = 0
    servers: list[ModbusServer] = field(default_factory=list)

    async def show(self, profile: str, wire: Wire = "tcp") -> str:
        """Serve a device; return its url."""
        exhibit = Exhibit(ExhibitSettings(profile=read_profile(profile), wire=wire), WallClock())
        door = Door(self, exhibit)
        server = ModbusServer(self.noting(exhibit), "127.0.0.1", 0, door=door, rtu=wire != "tcp")
        await server.start()
        self.servers.append(server)
        door.url = f"{wire}://127.0.0.1:{server.port}"
        return door.url

    def noting(self, exhibit: Exhibit):  # type: ignore[no-untyped-def]
        async def answer(request: Frame) -> Reply | None:
            self.functions.add(request.pdu[0])
            self.busy += 1
            self.together = max(self.together, self.busy)
            await asyncio.sleep(0)
            reply = await exhibit.line(request)
            self.busy -= 1
            return reply

        return answer


class Door:
    """Counts who comes in and goes out."""

    def __init__(self, watched: Watched, exhibit: Exhibit) -> None:
        self.url = ""
        self.idle_s = None
        self._watched = watched
        self._line = exhibit.line

    def open(self, others: int) -> bool:
        self._watched.connects[self.url] = self._watched.connects.get(self.url, 0) + 1
        self._watched.open += 1
        self._watched.most = max(self._watched.most, self._watched.open)
        return self._line.open(others)

    def drops_others(self) -> bool:
        return False

    def closed(self) -> None:
        self._watched.open -= 1


@asynccontextmanager
async def watched():  # type: ignore[no-untyped-def]
    here = Watched()
    try:
        yield here
    finally:
        for server in here.servers:
            await server.stop()


def search(candidates: Sequence[Candidate], *units: int) -> Search:
    return Search(candidates=candidates, units=units or (1,), timeout_s=0.3, gap_s=0.0)


def best(found: Found) -> tuple[str, str]:
    return found.proposals[0].profile, found.proposals[0].sure


async def looked_at(urls: Sequence[str], wanted: Search) -> Outcome:
    outcome = Outcome()
    await scan_all([[parse_address(url) for url in urls]], wanted, WallClock(), outcome)
    return outcome


KINDS: dict[str, tuple[str, Wire]] = {
    "sunspec_hybrid": ("likely", "tcp"),
    "solaredge_storedge": ("certain", "tcp"),
    "eastron_sdm630": ("likely", "tcp"),
    "sungrow_sh": ("certain", "tcp"),
    "huawei_sun2000": ("certain", "tcp"),
    "shelly_pro_3em": ("certain", "tcp"),
    "janitza_umg": ("likely", "rtu+tcp"),
}


def test_scan_finds_each_device_with_its_profile_and_never_writes(candidates: list[Candidate]) -> None:
    async def main() -> None:
        async with watched() as here:
            urls = {await here.show(profile, wire): profile for profile, (_, wire) in KINDS.items()}
            outcome = await looked_at(list(urls), search(candidates))
            assert {urls[found.url]: best(found) for found in outcome.found} == {
                profile: (profile, sure) for profile, (sure, _) in KINDS.items()
            }
            assert outcome.mute == []
            assert here.functions == READS, "the reading functions, and both of them"
            assert set(here.connects.values()) == {1}, "one connection for each address"
            assert here.most == 1, "addresses of one host are looked at one after the other"
            assert here.together == 1, "one request in flight"

    asyncio.run(main())


def test_evidence_says_what_was_read_where(candidates: list[Candidate]) -> None:
    async def main() -> None:
        async with watched() as here:
            urls = [await here.show(profile) for profile in ("sungrow_sh", "huawei_sun2000", "sunspec_hybrid")]
            sungrow, huawei, sunspec = (await looked_at(urls, search(candidates))).found
            assert sungrow.proposals[0].evidence == (
                "register 13022 (function 4) reads 500, expected 0 to 1000",
                "register 4999 reads 0x0D03: SH5K-V13",
            )
            assert huawei.proposals[0].evidence == ("register 30000 (function 3) reads 'SUN2000'",)
            assert sunspec.proposals[0].evidence == ("SunSpec models 103, 704, 802",)
            assert (sunspec.says.manufacturer, sunspec.models) == ("Commonwatt", (1, 103, 802, 704))
            known, whole = sunspec.proposals[0].plausible
            assert known == whole > 0

    asyncio.run(main())


def test_the_word_order_in_which_the_voltage_is_plausible_is_proposed(candidates: list[Candidate]) -> None:
    async def main() -> None:
        exhibit = Exhibit(ExhibitSettings(profile=read_profile("carlo_gavazzi_em112", {"words": "high"})), WallClock())
        await exhibit.start()
        found = (await looked_at([exhibit.url], search(candidates))).found
        await exhibit.stop()
        assert found[0].proposals[0].profile == "carlo_gavazzi_em112"
        assert found[0].proposals[0].chosen == {"words": "high"}

    asyncio.run(main())


def test_units_are_found_one_by_one_and_silent_ones_cost_no_connection(candidates: list[Candidate]) -> None:
    async def main() -> None:
        async with watched() as here:
            url = await here.show("victron_gx")
            outcome = await looked_at([url], search(candidates, 1, 2, 3, 100))
            assert [(found.unit, best(found)[0]) for found in outcome.found] == [(100, "victron_gx")]
            assert here.connects == {url: 1}

    asyncio.run(main())


def test_a_device_that_answers_to_every_unit_is_found_once(candidates: list[Candidate]) -> None:
    async def main() -> None:
        async with watched() as here:
            honest = Exhibit(ExhibitSettings(profile=read_profile("sma_storage")), WallClock())

            async def any_unit(request: Frame) -> bytes | None:
                asked = Frame(transaction=request.transaction, unit=honest.unit, pdu=request.pdu)
                reply = await honest.line(asked)
                return None if reply is None else reply.data[:6] + bytes((request.unit,)) + reply.data[7:]

            server = ModbusServer(any_unit, "127.0.0.1", 0)
            await server.start()
            here.servers.append(server)
            outcome = await looked_at([f"tcp://127.0.0.1:{server.port}"], search(candidates, 1, 2, 3))
            assert [found.unit for found in outcome.found] == [1]

    asyncio.run(main())


def test_who_lets_us_in_and_says_nothing_is_named_and_who_does_not_is_passed_over(candidates: list[Candidate]) -> None:
    async def main() -> None:
        async with watched() as here:
            mute, gone = await here.show("growatt_sph", "rtu+tcp"), await here.show("growatt_sph")
            await here.servers.pop().stop()
            wrong_wire = mute.removeprefix("rtu+")
            outcome = await looked_at([wrong_wire, gone], search(candidates))
            assert (outcome.found, outcome.mute) == ([], [wrong_wire])

    asyncio.run(main())


def test_only_so_many_hosts_are_asked_at_once(candidates: list[Candidate], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "HOSTS_AT_ONCE", 2)

    async def main() -> None:
        async with watched() as here:
            urls = [await here.show("byd_be_connect") for _ in range(5)]
            hosts = [[parse_address(url)] for url in urls]
            outcome = Outcome()
            await scan_all(hosts, search(candidates), WallClock(), outcome)
            assert len(outcome.found) == 5
            assert here.most == 2

    asyncio.run(main())


def test_a_serial_line_is_tried_at_the_speeds_that_profiles_name(candidates: list[Candidate]) -> None:
    async def main() -> None:
        exhibit = Exhibit(ExhibitSettings(profile=read_profile("eastron_sdm120"), wire="serial"), WallClock())
        await exhibit.start()
        lines = scan.usual_lines(candidates)
        assert {line.baud for line in lines} >= {2400, 9600}
        wanted = Search(candidates=candidates, units=(7, 1), lines=lines, timeout_s=0.3, gap_s=0.0)
        outcome = await looked_at([exhibit.url], wanted)
        await exhibit.stop()
        assert [(found.unit, best(found)[0]) for found in outcome.found] == [(1, "eastron_sdm120")]

    asyncio.run(main())


@pytest.fixture
def served() -> Iterator[str]:
    """A Huawei inverter in a loop of its own, for a command that brings its own loop, too."""
    import threading

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    exhibit = Exhibit(ExhibitSettings(profile=read_profile("huawei_sun2000")), WallClock())
    asyncio.run_coroutine_threadsafe(exhibit.start(), loop).result(5)
    yield exhibit.url.removeprefix("tcp://")
    asyncio.run_coroutine_threadsafe(exhibit.stop(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_the_command_prints_the_settings_to_write_and_json_on_demand(
    served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "GAP_S", 0.0)
    options = [served, "--units", "1", "--timeout", "0.3"]
    said = CliRunner().invoke(app, ["scan", *options])
    assert said.exit_code == 0, said.output
    assert "certain huawei_sun2000: Huawei SUN2000 hybrid inverter" in said.stdout
    assert f'[devices.inverter]\n    profile = "huawei_sun2000"\n    url = "tcp://{served}"' in said.stdout
    found = json.loads(CliRunner().invoke(app, ["scan", *options, "--json"]).stdout)["found"][0]
    assert (found["unit"], found["proposals"][0]["profile"]) == (1, "huawei_sun2000")
    assert found["proposals"][0]["values"]["soc_pct"] == 50


def test_the_command_says_what_to_look_for_when_nothing_is_there() -> None:
    said = CliRunner().invoke(app, ["scan", "127.0.0.1:9", "--timeout", "0.2"])
    assert said.exit_code == 1
    assert "No Modbus device at 1 address. Is Modbus switched on in the device's menu" in said.stdout
