"""Encrypted links: a broker is who has the right key, on both kinds of broker, and words say what is wrong."""

import asyncio
import contextlib
import shutil
import socket
import ssl
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from mqtt_helpers import (
    BROKER_KINDS,
    PEER,
    PUB,
    QUICK,
    TO_PEER,
    mqtt_string,
    owner_link,
    packet,
    peer_link,
    raw_client,
    station,
    until,
    users,
)
from pydantic import SecretStr

from coordinator.broker import Broker, TlsListener
from coordinator.broker_keeper import keep_serving
from coordinator.identity import Identity, encode_base64
from coordinator.links import LinkOptions, LinkSettings
from coordinator.mosquitto import open_broker
from coordinator.tls import ServerCertificate, client_context, issue, server_context

HOME_KEY = Identity.from_seed(bytes([1]) * 32)
OTHER_KEY = Identity.from_seed(bytes([2]) * 32)

on_both = pytest.mark.parametrize("kind", BROKER_KINDS)


def tls_broker(kind: str, identity: Identity = HOME_KEY) -> Broker:
    return open_broker(kind, users=users(), tls=TlsListener(identity=identity))


def tls_link(url: str | None, pin: Identity = HOME_KEY, name: str = "home-1") -> LinkSettings:
    return LinkSettings(
        name=name,
        url=url or "",
        username=PEER,
        password=SecretStr("peer-pw"),
        pin=encode_base64(pin.public_key),
        subscribe=(PUB, TO_PEER),
    )


@on_both
def test_neighbours_read_over_tls_what_the_home_says_on_its_own_machine(kind: str) -> None:
    async def run() -> None:
        async with (
            tls_broker(kind) as home,
            station(tls_link(home.tls_url)) as peer,
            station(owner_link(home.url)) as own,
        ):
            own.transport.publish(PUB, b"for all")
            own.transport.publish(TO_PEER, b"for one")
            await until(lambda: sorted(peer.payloads) == [b"for all", b"for one"])
            sock = peer.transport._links[0]._client.socket()
            assert isinstance(sock, ssl.SSLSocket)
            assert sock.version() == "TLSv1.3"

    asyncio.run(run())


def test_many_messages_in_one_tls_record_all_arrive_at_once() -> None:
    """Who only polls the socket sees the first of them, and the others with the next sign of life."""
    publishes = b"".join(packet(0x30, mqtt_string(PUB) + b"message %d" % number) for number in range(50))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"\x20\x02\x00\x00")
        subscribe = await reader.read(1000)
        writer.write(b"\x90\x04" + subscribe[2:4] + b"\x01\x01" + publishes)
        await reader.read()
        writer.close()

    async def run() -> None:
        context = server_context(issue(HOME_KEY, datetime.now(UTC)))
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        url = f"mqtts://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server, station(tls_link(url), options=LinkOptions(keepalive_s=60)) as peer:
            await until(lambda: len(peer.payloads) == 50, 5)

    asyncio.run(run())


@on_both
def test_a_broker_with_another_key_is_told_nothing_not_even_the_password(kind: str) -> None:
    async def run() -> None:
        async with tls_broker(kind, OTHER_KEY) as evil, station(tls_link(evil.tls_url), wait=False) as peer:
            await until(lambda: peer.transport.links[0].kind == "away")
            assert "not signed with the right key" in peer.texts[0]
            assert "somebody in between" in peer.texts[0]
            await asyncio.sleep(0.5)
            assert len(peer.texts) == 1, "told once, not at every attempt"

    asyncio.run(run())


def test_what_a_broker_with_another_key_hears_is_no_login() -> None:
    """A listener that would take any login: the handshake must end before one is said."""
    heard: list[bytes] = []
    context = server_context(issue(OTHER_KEY, datetime.now(UTC)))

    def listen(server: socket.socket) -> None:
        with contextlib.suppress(OSError), server.accept()[0] as plain:
            plain.settimeout(5)
            with context.wrap_socket(plain, server_side=True) as tls:
                heard.append(tls.recv(1000))

    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=listen, args=(server,))
            thread.start()
            url = f"mqtts://127.0.0.1:{server.getsockname()[1]}"
            slow = LinkOptions(retry_min_s=30, retry_max_s=30)
            async with station(tls_link(url), wait=False, options=slow) as peer:
                await until(lambda: peer.transport.links[0].kind == "away")
            await asyncio.to_thread(thread.join)

    asyncio.run(run())
    assert heard in ([], [b""])


@contextlib.asynccontextmanager
async def serving(certificate: ServerCertificate):
    """A TLS server with this certificate that says nothing; yields its address."""
    server = await asyncio.start_server(
        lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=server_context(certificate)
    )
    try:
        yield f"mqtts://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


def refusal(certificate: ServerCertificate) -> str:
    """Return what a link tells its owner about a broker with this certificate."""

    async def run() -> str:
        async with serving(certificate) as url, station(tls_link(url), wait=False) as peer:
            await until(lambda: peer.transport.links[0].kind == "away")
            return peer.transport.links[0].reason

    return asyncio.run(run())


def test_an_expired_certificate_and_a_wrong_clock_are_told_from_a_wrong_key() -> None:
    now, day = datetime.now(UTC), timedelta(days=1)
    assert "has expired by this machine's clock" in refusal(issue(HOME_KEY, now - 400 * day))
    assert "not valid yet by this machine's clock" in refusal(issue(HOME_KEY, now + 400 * day))
    assert "not signed with the right key" in refusal(issue(OTHER_KEY, now))


def test_a_clock_that_is_months_wrong_breaks_no_link_and_its_certificate_is_renewed_when_it_is_set() -> None:
    now, day = datetime.now(UTC), timedelta(days=1)
    for wrong in (now - 300 * day, now + 300 * day):
        assert refusal(issue(HOME_KEY, wrong)) == "connection lost", "it got past the handshake"
        assert issue(HOME_KEY, wrong).old(now)
    assert not issue(HOME_KEY, now).old(now + 100 * day)
    assert issue(HOME_KEY, datetime(1970, 1, 1, tzinfo=UTC)).old(now), "a Pi that was just switched on"


@pytest.mark.parametrize("own_name", [True, False])
def test_a_certificate_signed_by_its_own_key_or_through_an_issuer_of_its_own_is_refused(own_name: bool) -> None:
    """An attacker may write any name into a certificate, but sign only with a key it has."""
    attacker = Identity.generate()
    attacker.id = HOME_KEY.id
    if own_name:
        attacker.public_key = HOME_KEY.public_key  # claims to be the issuer that the link trusts
    assert "not signed with the right key" in refusal(issue(attacker, datetime.now(UTC)))


def test_a_certificate_of_the_home_may_not_issue_others() -> None:
    """Who steals a broker's TLS key and certificate cannot make a second broker of it with a longer life."""
    now = datetime.now(UTC)
    stolen = issue(HOME_KEY, now)
    thief = Identity(load_pem_private_key(stolen.private_key, None))  # type: ignore[arg-type]
    subject = x509.load_pem_x509_certificate(stolen.certificate).subject
    made = issue(thief, now)
    builder = x509.CertificateBuilder(
        issuer_name=subject,
        subject_name=subject,
        public_key=load_pem_private_key(made.private_key, None).public_key(),
        serial_number=7,
        not_valid_before=(now - timedelta(days=1)).replace(tzinfo=None),
        not_valid_after=(now + timedelta(days=9000)).replace(tzinfo=None),
    )
    chain = thief.certify(builder).public_bytes(Encoding.PEM) + stolen.certificate
    forged = ServerCertificate(certificate=chain, private_key=made.private_key, issued_at=now)
    assert "not signed with the right key" in refusal(forged)


@on_both
def test_an_encrypted_address_at_a_plain_port_says_so(kind: str) -> None:
    async def run() -> None:
        async with open_broker(kind, users=users()) as plain:
            url = plain.url.replace("mqtt:", "mqtts:")
            quick = LinkOptions(connect_timeout_s=1.0, retry_min_s=0.1)
            async with station(tls_link(url), wait=False, options=quick) as peer:
                await until(lambda: peer.transport.links[0].kind == "away")
                assert "nothing there speaks TLS" in peer.texts[0]

    asyncio.run(run())


@on_both
def test_a_wrong_password_over_tls_is_told_as_such(kind: str) -> None:
    async def run() -> None:
        async with tls_broker(kind) as home:
            link = tls_link(home.tls_url).model_copy(update={"password": SecretStr("guessed")})
            async with station(link, wait=False) as peer:
                await until(lambda: peer.transport.links[0].kind == "refused")
                assert "wrong user name or password" in peer.texts[0]

    asyncio.run(run())


@on_both
def test_a_plain_client_gets_nothing_from_the_encrypted_port(kind: str) -> None:
    async def run() -> None:
        async with tls_broker(kind) as home:
            with raw_client(home.tls_port, "nosy", "owner-pw") as sock, contextlib.suppress(ConnectionResetError):
                answer = await asyncio.to_thread(sock.recv, 100)
                assert not answer.startswith(b"\x20"), "no CONNACK"

    asyncio.run(run())


@on_both
def test_an_old_certificate_is_renewed_by_the_home_itself_and_links_come_back(kind: str, monkeypatch) -> None:
    async def run() -> None:
        told: list[str] = []
        async with tls_broker(kind) as home, station(tls_link(home.tls_url), options=QUICK) as peer:
            port, first = home.tls_port, home._certificate
            monkeypatch.setattr("coordinator.broker_keeper.WATCH_S", 0.05)
            assert first is not None
            home._certificate = ServerCertificate(
                certificate=first.certificate,
                private_key=first.private_key,
                issued_at=first.issued_at - timedelta(days=181),
            )
            keeper = asyncio.create_task(keep_serving(home, lambda _, text: told.append(text)))
            await until(lambda: len(peer.texts) >= 3 and peer.up)
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            assert home.tls_port == port
            assert home._certificate is not None
            assert home._certificate.private_key != first.private_key
            assert told == [
                f"own broker on {home.tls_url} starts anew for a new certificate",
                f"own broker serves again on {home.url}",
            ]

    asyncio.run(run())


@pytest.mark.mosquitto
def test_mosquitto_never_gets_the_homes_key_and_its_own_is_gone_from_the_disk_once_read(monkeypatch) -> None:
    remove, texts, modes = shutil.rmtree, {}, set()

    def look_and_remove(folder: Path, **options: bool) -> None:
        for path in folder.iterdir():
            modes.add(stat.S_IMODE(path.stat().st_mode))
            texts[path.name] = path.read_text()
        remove(folder, **options)

    monkeypatch.setattr("coordinator.mosquitto.shutil.rmtree", look_and_remove)
    home = tls_broker("mosquitto")
    home.start()
    home.stop()
    assert modes == {0o600}
    assert "PRIVATE KEY" in texts["tls-key.pem"]
    secret = HOME_KEY._private_key.private_bytes_raw()
    assert not any(encode_base64(secret)[:40] in text for text in texts.values())
    key = load_pem_private_key(texts["tls-key.pem"].encode(), None)
    assert key.private_bytes_raw() != secret


def test_an_encrypted_address_needs_a_key_and_a_plain_one_must_not_have_one() -> None:
    with pytest.raises(ValueError, match="whose key signs its certificate"):
        peer_link("mqtts://10.0.0.1")
    with pytest.raises(ValueError, match="is not encrypted: write mqtts"):
        tls_link("mqtt://10.0.0.1")
    with pytest.raises(ValueError, match="no public key"):
        LinkSettings.model_validate(
            {"name": "a", "url": "mqtts://a", "username": "b", "pin": encode_base64(b"\x01" + bytes(31))}
        )
    link = tls_link("mqtts://10.0.0.1")
    assert (link.port, link.wire) == (8883, "encrypted")
    assert (peer_link("mqtt://10.0.0.1").port, peer_link("mqtt://10.0.0.1").wire) == (1883, "NOT encrypted")


def test_one_context_serves_all_links_to_one_key_and_no_certificate_authority_is_trusted() -> None:
    context = client_context(HOME_KEY.public_key)
    assert context is client_context(HOME_KEY.public_key)
    assert [entry["subject"] for entry in context.get_ca_certs()] == [((("commonName", HOME_KEY.id),),)]
    assert context.verify_mode is ssl.CERT_REQUIRED
