"""`commonwatt broker-config`: its files start the real programs, let in who should come in, and hold no default."""

import asyncio
import contextlib
import json
import queue
import re
import select
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from mqtt_helpers import BROKER_KINDS, QUICK, station, until
from paho.mqtt.enums import CallbackAPIVersion
from running_home import with_ports
from typer.testing import CliRunner

from agent.broker_files import SECRET_FILES
from agent.cli.main import app
from agent.config import load_config
from agent.dashboard.settings import DashboardSettings, Source
from agent.dashboard.source import Feeds
from agent.first_files import write_first_files
from agent.peer_links import link_settings
from agent.runtime import Agent
from coordinator.broker_settings import CONNECTIONS_MAX
from coordinator.charter_file import load_charter
from coordinator.clock import WallClock
from coordinator.errors import ConfigError
from coordinator.identity import Identity
from coordinator.links import LinkSettings
from coordinator.mosquitto import find_mosquitto

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from meeting_brokers import SBIN, open_folder

FIRMWARE = Path(__file__).parents[2] / "firmware-config"


def command(*words: str | Path, paste: str = "") -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], input=paste)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Town:
    """Two homes of one community, on this machine, and a meeting broker."""

    def __init__(self, folder: Path, address: str | None = None) -> None:
        self.folder = folder
        self.ports = {name: (free_port(), free_port()) for name in ("anna", "bert")}
        self.homes = {}
        for name, (plain, tls) in self.ports.items():
            config = write_first_files(folder / name, name=name, timezone="UTC", currency="EUR")
            config.write_text(with_ports(config.read_text(), {"1883": plain, "8883": tls}))
            self.homes[name] = config
        self.meeting_port = free_port()
        self.card = self.meeting("--url", f"mqtts://127.0.0.1:{self.meeting_port}")
        card = command("charter", "join", "--founding", "--config", self.homes["bert"])
        where = [] if address is None else ["--broker", address]
        found = ["charter", "found", "Elm Street", "-", "--config", self.homes["anna"], *where]
        founding = command(*found, paste=card + self.card)
        signed = command("charter", "vote", "--yes", "--config", self.homes["bert"], paste=founding)
        for config in self.homes.values():
            command("charter", "vote", "--config", config, paste=founding + signed)
        self.invitation = folder / "invitation.txt"
        self.invitation.write_text(command("charter", "invite", "--config", self.homes["anna"]))

    @property
    def meeting_files(self) -> Path:
        return self.folder / "meeting"

    def meeting(self, *words: str | Path) -> str:
        key = self.folder / "meeting-key.pem"
        fixed = ["broker-config", "--meeting", "hub", "--host", "127.0.0.1", "--key", key]
        return command(*fixed, "--output", self.meeting_files, *words)

    def own(self, name: str, output: Path, *words: str | Path) -> str:
        return command("broker-config", "--config", self.homes[name], "--output", output, *words)

    def links(self, name: str) -> dict[str, LinkSettings]:
        """Return a home's links by name, as its agent has them."""
        config = load_config(self.homes[name])
        identity = Identity.load(config.community.key_file)
        charter = load_charter(config.community.charter, WallClock().now())
        return {link.name: link for link in link_settings(config, charter, identity.id, identity)}


@pytest.fixture
def town() -> Iterator[Town]:
    with open_folder() as folder:
        yield Town(folder)


@contextlib.contextmanager
def mosquitto(folder: Path, port: int) -> Iterator[None]:
    """Run Mosquitto on the files of a folder, as who starts it; it must have nothing to complain of."""
    (folder / "run.conf").write_text((folder / "commonwatt.conf").read_text() + "user root\n")
    program = str(find_mosquitto())
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen([program, "-c", str(folder / "run.conf")], stdout=log, stderr=log) as process,
    ):
        try:
            asyncio.run(until(lambda: process.poll() is not None or _opens(port)))
            assert process.poll() is None, (folder / "log").read_text()
            yield
            said = (folder / "log").read_text().replace("Warning: Mosquitto should not be run as root", "")
            assert not re.search("(?i)warning|deprecated", said), said
        finally:
            process.terminate()


def _opens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def test_a_home_s_own_broker_as_a_service_lets_in_owner_and_neighbour_each_its_own_way(
    town: Town, release: str
) -> None:
    files = town.folder / "anna-broker"
    said = town.own("anna", files, "--for", release)
    assert "systemctl restart mosquitto" in said
    assert "--plugins" not in said, "they are there, or not needed"
    plain, tls = town.ports["anna"]
    own, neighbour = town.links("anna")["anna"], town.links("bert")["anna"]
    assert (own.url, neighbour.url) == (f"mqtt://127.0.0.1:{plain}", f"mqtts://127.0.0.1:{tls}")
    topic = neighbour.subscribe[0]

    async def scenario() -> None:
        async with station(own) as anna, station(neighbour) as bert:
            anna.transport.publish(topic, b"hello")
            anna.transport.publish("commonwatt/anna/state", b"private")
            await until(lambda: bert.payloads == [b"hello"])
            intruder = neighbour.model_copy(update={"subscribe": ("#",), "publish": True})
            async with station(intruder) as nosy:
                nosy.transport.publish(topic, b"in anna's name")
                anna.transport.publish("commonwatt/anna/state", b"private")
                anna.transport.publish(topic, b"again")
                await until(lambda: bert.payloads == [b"hello", b"again"])
                assert set(nosy.payloads) <= {b"again"}

    with mosquitto(files, plain):
        asyncio.run(scenario())


def test_a_stranger_gets_nothing_from_a_broker_as_a_service(town: Town, release: str) -> None:
    files = town.folder / "anna-broker"
    town.own("anna", files, "--for", release)
    plain, tls = town.ports["anna"]
    with mosquitto(files, plain):
        for user, password in ((None, None), ("owner", ""), ("owner", "owner"), ("admin", "admin"), ("bert", "bert")):
            codes: queue.Queue[int] = queue.Queue()
            client = mqtt.Client(CallbackAPIVersion.VERSION2)
            if user is not None:
                client.username_pw_set(user, password)
            client.on_connect = lambda _client, _data, _flags, code, _props, codes=codes: codes.put(code.value)
            client.connect("127.0.0.1", plain)
            client.loop_start()
            assert codes.get(timeout=5) != 0, user
            client.disconnect()
            client.loop_stop()
        assert _opens(tls)


@pytest.mark.mosquitto
def test_the_files_for_2_1_are_those_for_2_0_with_plugins_in_place_of_what_3_0_takes_away(town: Town) -> None:
    old, new = town.folder / "old", town.folder / "new"
    town.own("anna", old)
    town.own("anna", new, "--for", "mosquitto-2.1", "--plugins", "/opt/plugins")
    text = (new / "commonwatt.conf").read_text()
    options = {line.split()[0] for line in text.splitlines() if not line.startswith("#")}
    assert not options & {"password_file", "acl_file", "per_listener_settings"}, "deprecated with 2.1"
    assert text.count("global_plugin /opt/plugins/") == 2
    plugins = re.compile(r"global_plugin \S+/mosquitto_(?:password|acl)_file\.so\nplugin_opt_(password|acl)_file")
    text = plugins.sub(r"\1_file", text)
    assert text.replace(str(new), str(old)) == (old / "commonwatt.conf").read_text()


def test_where_no_plugins_are_debian_s_place_is_written_and_the_owner_is_told(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.cli.broker_config.find_plugins", lambda: None)
    said = town.own("anna", town.folder / "new", "--for", "mosquitto-2.1")
    assert "--plugins FOLDER" in said
    text = (town.folder / "new" / "commonwatt.conf").read_text()
    assert re.search(r"global_plugin /usr/lib/\w+-linux-gnu/mosquitto/mosquitto_acl_file\.so\n", text)


def test_a_service_serves_so_many_connections_and_no_more(town: Town, release: str) -> None:
    files = town.folder / "anna-broker"
    town.own("anna", files, "--for", release)
    plain, _ = town.ports["anna"]
    more = 20
    with mosquitto(files, plain), contextlib.ExitStack() as clients:
        socks = [
            clients.enter_context(socket.create_connection(("127.0.0.1", plain), timeout=5))
            for _ in range(CONNECTIONS_MAX + more)
        ]

        def hung_up(some: list[socket.socket]) -> int:
            return len(select.select(some, [], [], 0)[0])

        asyncio.run(until(lambda: hung_up(socks) >= more - 1))  # 2.0.11 lets one more in than it is told
        assert hung_up(socks[:CONNECTIONS_MAX]) == 0


def test_a_meeting_broker_lets_in_nobody_then_the_members_and_a_new_one_when_told(town: Town, release: str) -> None:
    assert "Nobody may come in yet" in town.card
    town.meeting("--force", "--for", release, "--url", f"mqtts://127.0.0.1:{town.meeting_port}")
    hub = town.links("anna")["hub"]

    async def tried() -> str:
        quiet = hub.model_copy(update={"meeting": False})
        async with station(quiet, options=QUICK, wait=False) as anna:
            await until(lambda: anna.transport.links[0].kind in ("connected", "refused"))
            return anna.transport.links[0].kind

    with mosquitto(town.meeting_files, town.meeting_port):
        assert asyncio.run(tried()) == "refused"
    said = town.meeting("--force", "--for", release, town.invitation)
    assert "2 may come in" in said
    assert "BROKER" not in said
    with mosquitto(town.meeting_files, town.meeting_port):
        assert asyncio.run(tried()) == "connected"


@pytest.mark.nats_server
def test_nats_server_takes_the_files_for_it(town: Town) -> None:
    town.meeting("--force", "--for", "nats", town.invitation)
    program = str(shutil.which("nats-server", path=SBIN))
    config = str(town.meeting_files / "nats.conf")
    assert subprocess.run([program, "-t", "-c", config], capture_output=True, check=False).returncode == 0


def test_nothing_is_overwritten_but_by_force_and_never_the_key(town: Town) -> None:
    key = (town.folder / "meeting-key.pem").read_bytes()
    before = (town.meeting_files / "certificate.pem").read_bytes()
    with pytest.raises(ConfigError, match=r"commonwatt\.conf exists already: add --force"):
        town.meeting(town.invitation)
    assert (town.meeting_files / "certificate.pem").read_bytes() == before
    town.meeting("--force", town.invitation)
    assert (town.meeting_files / "certificate.pem").read_bytes() != before
    assert (town.folder / "meeting-key.pem").read_bytes() == key


def test_secrets_are_for_the_owner_s_eyes_only_and_never_printed(town: Town) -> None:
    town.meeting("--force", "--for", "nats", town.invitation)
    town.own("anna", town.folder / "own")
    written = [*town.meeting_files.iterdir(), *(town.folder / "own").iterdir(), town.folder / "meeting-key.pem"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o600}
    assert stat.S_IMODE(town.meeting_files.stat().st_mode) == 0o700
    assert {path.name for path in written} >= SECRET_FILES
    shown = command("broker-config", "--config", town.homes["anna"])
    assert "listener" in shown
    assert "PRIVATE KEY" not in shown
    assert "$7$" not in shown
    key = (town.folder / "meeting-key.pem").read_text()
    assert not any(key in path.read_text() for path in town.meeting_files.iterdir())


def test_no_file_we_write_or_ship_holds_a_default_password(town: Town) -> None:
    """Every password follows from keys or chance: two towns have none in common, and no shipped file has any."""
    town.meeting("--force", "--for", "nats", town.invitation)
    with open_folder() as folder:
        other = Town(folder)
        other.meeting("--force", "--for", "nats", other.invitation)
        pattern = re.compile(r'"password": "([^"]*)"')
        here, there = (set(pattern.findall((each.meeting_files / "users.conf").read_text())) for each in (town, other))
    assert len(here) == len(there) == 2
    assert not here & there
    assert all(len(password) == 44 for password in here)
    shipped = re.compile(r"(?im)^\s*(?!#)[\w.-]*(password|passwd)\s*[=:]\s*[\"']?\w")
    texts = {path: path.read_text() for path in FIRMWARE.rglob("*") if path.is_file()}
    assert not [path for path, text in texts.items() if shipped.search(text)]
    assert not re.search(r'^password = "', town.homes["anna"].read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--meeting", "hub", "--key", "k.pem"], "--url is missing: where do homes reach this broker"),
        (["--meeting", "hub", "--url", "mqtt://127.0.0.1", "--key", "k.pem"], "write mqtts://"),
        (["--meeting", "hub", "--url", "hub.example", "--key", "k.pem"], "is not of the form mqtts://host:port"),
        (["--for", "nats"], "a home's own is Mosquitto"),
        (["--url", "mqtts://127.0.0.1:8883"], "--url is for a meeting broker: add --meeting NAME"),
        (["invitation.txt"], "an invitation is for a meeting broker"),
    ],
)
def test_what_cannot_be_written_says_why(town: Town, words: list[str], text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(text)):
        command("broker-config", "--config", town.homes["anna"], *words)


def test_a_charter_that_does_not_meet_there_lets_nobody_in(town: Town) -> None:
    with pytest.raises(ConfigError, match="does not meet at this broker"):
        command(
            *("broker-config", "--meeting", "other", "--url", "mqtts://127.0.0.1:9"),
            *("--key", town.folder / "other.pem", "--output", town.folder / "other", town.invitation),
        )


@pytest.mark.parametrize("kind", BROKER_KINDS)
def test_a_home_that_init_wrote_is_heard_by_its_neighbour_over_tls_and_by_its_own_page(town: Town, kind: str) -> None:
    """Nothing is set but the community: the agent's own broker has certificate and passwords from the keys."""
    config = town.homes["anna"]
    text = config.read_text().replace('kind = "auto"', f'kind = "{kind}"')
    config.write_text(text.replace("#heartbeat_s = 20.0", "heartbeat_s = 0.5"))
    told: list[str] = []

    async def scenario() -> None:
        agent = Agent(load_config(config), lambda _, text: told.append(text))
        running = asyncio.create_task(agent.run())
        async with station(town.links("bert")["anna"], wait=False) as bert:
            await until(lambda: bert.received or running.done())
            assert not running.done(), told
            tls = next(text for text in told if "own broker" in text)
            assert f"encrypted, on mqtts://127.0.0.1:{town.ports['anna'][1]}" in tls
            key = agent.charter.by_id[agent.identity.id].public_key
            url, password = f"mqtts://127.0.0.1:{town.ports['anna'][1]}", agent.config.mqtt.own.secret()
            source = Source(home="anna", url=url, username="owner", password=password, pin=key)
            with Feeds(DashboardSettings(sources=[source]), WallClock()) as feeds:
                picture = feeds.picture()
                await until(lambda: feeds.drain(picture) or picture.homes["anna"].link_up)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())


def checked(town: Town) -> dict[str, str]:
    listed = json.loads(command("check", "--json", "--config", town.homes["anna"]))
    return {finding["subject"]: finding["text"] for finding in listed}


def test_check_says_what_each_link_is_and_what_is_wrong_with_it(town: Town, release: str) -> None:
    found = checked(town)
    assert "connection refused" in found["meeting broker hub"]
    assert "connection refused" in found["bert's broker"]
    assert "way in" not in found, "an address of this machine is no way in for others, and says so elsewhere"
    with mosquitto(town.meeting_files, town.meeting_port):
        assert "its operator has not let this home in yet" in checked(town)["meeting broker hub"]
    town.meeting("--force", "--for", release, town.invitation)
    files = town.folder / "bert-broker"
    town.own("bert", files, "--for", release)
    plain, tls = town.ports["bert"]
    with mosquitto(town.meeting_files, town.meeting_port), mosquitto(files, plain):
        found = checked(town)
        hub = f"mqtts://127.0.0.1:{town.meeting_port} (encrypted)"
        assert found["meeting broker hub"].endswith(f"is let in at {hub}")
        assert found["bert's broker"].endswith(f"is let in at mqtts://127.0.0.1:{tls} (encrypted)")
    for name in ("certificate.pem", "tls-key.pem"):
        shutil.copy(town.meeting_files / name, files / name)
    with mosquitto(files, plain):
        found = checked(town)
        assert "is not signed with the right key" in found["bert's broker"]
        assert found["bert's broker"].endswith("ask bert for the right address, and say nothing to what answers there")


def test_check_says_when_neighbours_do_not_get_through_to_the_address_in_the_charter() -> None:
    with open_folder() as folder:
        town = Town(folder, "mqtts://192.0.2.1:8883")
        text = "neighbours come to mqtts://192.0.2.1:8883, but [broker.tls] lets in this machine only"
        assert checked(town)["way in"].startswith(text)
        config = town.homes["anna"]
        head, tls, rest = config.read_text().partition("[broker.tls]")
        config.write_text(head + tls + rest.replace('host = "127.0.0.1"', 'host = "0.0.0.0"', 1))
        assert "way in" not in checked(town)
