"""Tries to log in at the home's own broker and at every neighbour's, for `check`."""

import asyncio
import importlib.util
from urllib.parse import urlsplit

from agent.charter_founding import closed_to_neighbours
from agent.config import HomeConfig
from agent.findings import Finding, good, wrong
from agent.peer_links import link_settings
from coordinator.broker_settings import BrokerSettings
from coordinator.charter import Charter
from coordinator.clock import Clock
from coordinator.errors import ConfigError
from coordinator.identity import Identity
from coordinator.links import LinkNotice, LinkOptions, LinkSettings, LinkState
from coordinator.mosquitto import find_mosquitto, listen_problem
from coordinator.tls import WRONG_KEY
from coordinator.transport import Transport

CONNECT_S = 4.0
NOTHING_THERE = "nothing listens there"
DENIAL_S = 0.3
"""A broker says within this what we may not read, or says nothing."""


async def try_brokers(config: HomeConfig, charter: Charter, identity: Identity, clock: Clock) -> list[Finding]:
    """Log in everywhere at the same time."""
    findings: list[Finding] = []
    me = identity.id
    try:
        own, *others = link_settings(config, charter, me, identity)
    except ConfigError as error:
        findings.append(wrong("neighbours", str(error)))
        alone = config.model_copy(update={"mqtt": config.mqtt.model_copy(update={"peers": ()})})
        own, others = link_settings(alone, _without_others(charter, me), me)[0], []
    tried = await asyncio.gather(_try_own(own, config.broker, clock), *(_try_peer(link, clock) for link in others))
    address = charter.by_id[me].broker
    closed = None if address is None else closed_to_neighbours(address, config)
    return [*findings, *([] if closed is None else [wrong("way in", closed)]), *tried]


def _without_others(charter: Charter, me: str) -> Charter:
    return charter.lived(charter.by_id.keys() - {me})


async def _try(settings: LinkSettings, clock: Clock) -> tuple[LinkState, list[str]]:
    """Return the state of the link and what its broker forbade.

    Raises:
        ConfigError: If the password cannot be read.
    """
    notices: list[LinkNotice] = []
    # Kept alive for longer than we look: else a broker that never answers would be said to be lost, at times.
    options = LinkOptions(connect_timeout_s=CONNECT_S, keepalive_s=round(3 * CONNECT_S))
    silent = settings.model_copy(update={"meeting": False, "publish": False})
    async with Transport([silent], clock, notices.append, options=options) as transport:
        try:
            async with asyncio.timeout(CONNECT_S + 1):
                while transport.links[0].kind == "connecting":
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pass
        state = transport.links[0]
        if state.connected and settings.subscribe:
            await asyncio.sleep(DENIAL_S)
    return state, [notice.text for notice in notices if "does not let" in notice.text]


async def _try_own(settings: LinkSettings, broker: BrokerSettings | None, clock: Clock) -> Finding:
    subject, where = "own broker", settings.url
    try:
        state, _ = await _try(settings, clock)
        problem = None if broker is None else _own_settings_problem(settings, broker)
    except ConfigError as error:
        return wrong(subject, str(error))
    if problem is not None:
        return wrong(subject, problem)
    match state.kind, broker:
        case "connected", _:
            return good(subject, f"user {settings.username!r} is let in at {where} ({settings.wire})")
        case "refused", None:
            return wrong(subject, _refused(settings, state, "mqtt.own"))
        case "refused", _:
            return wrong(
                subject,
                f"another broker than the one of [broker] answers at {where} ({state.reason}): stop it, take [broker] "
                "out and use that one, or choose another port",
            )
        case _, None:
            return wrong(
                subject,
                f"{where}: {_why(state)}: start it (Mosquitto as a service), correct mqtt.own.url, or add a [broker] "
                "section so that `run` starts it",
            )
        case _ if NOTHING_THERE in state.reason:
            if (unheard := _cannot_listen(broker)) is not None:
                return wrong(subject, unheard)
            return good(subject, f"not running at {where}; `run` starts it")
        case _:
            return wrong(
                subject,
                f"no broker can be started at {where}, where something else is ({_why(state)}): stop that, or choose "
                "another port in broker.port and mqtt.own.url",
            )


def _cannot_listen(broker: BrokerSettings) -> str | None:
    """Return why the broker that `run` would start could not listen; each port is bound for a moment."""
    places = [("broker", broker.host, broker.port)]
    if broker.tls is not None:
        places.append(("broker.tls", broker.tls.host, broker.tls.port))
    for section, host, port in places:
        if (problem := listen_problem(host, port)) is not None:
            return (
                f"no broker can be started at {host}:{port} ({problem}): stop what listens there, or choose another "
                f"{section}.host or {section}.port"
            )
    return None


def _why(state: LinkState) -> str:
    return "no answer" if state.kind == "connecting" else state.reason


def _own_settings_problem(settings: LinkSettings, broker: BrokerSettings) -> str | None:
    """Return why the broker that `run` would start does not let this home in."""
    if broker.kind == "mosquitto" and find_mosquitto() is None:
        return 'broker.kind is mosquitto, which is not installed: apt install mosquitto, or write kind = "auto"'
    needs_embedded = broker.kind == "embedded" or find_mosquitto() is None
    if needs_embedded and importlib.util.find_spec("amqtt") is None:
        return "no broker is installed: apt install mosquitto, or pip install 'commonwatt[broker]'"
    if settings.port != broker.port:
        return f"broker.port is {broker.port}, but mqtt.own.url says {settings.url}: write the same port in both"
    user = next((user for user in broker.users if user.name == settings.username), None)
    if user is None:
        names = ", ".join(user.name for user in broker.users) or "nobody"
        return f"mqtt.own.username is {settings.username!r}, but broker.users lets in {names}: add it there"
    if user.secret() != settings.secret():
        return f"mqtt.own and broker.users have two passwords for {settings.username!r}: use one password_file in both"
    for user in broker.users:
        user.secret()  # an unreadable password file of a neighbour's stops `run` too
    return None


async def _try_peer(settings: LinkSettings, clock: Clock) -> Finding:
    subject = f"meeting broker {settings.name}" if settings.meeting else f"{settings.name}'s broker"
    try:
        state, denied = await _try(settings, clock)
    except ConfigError as error:
        return wrong(subject, str(error))
    if state.kind == "refused" and settings.meeting:
        text = "its operator has not let this home in yet: send it `charter invite` for `commonwatt broker-config`"
        return wrong(subject, f"{settings.url} refused this home ({state.reason}): {text}")
    if state.kind == "refused":
        return wrong(subject, _refused(settings, state, f"mqtt.peers of {settings.name}"))
    if not state.connected:
        host = urlsplit(settings.url).hostname
        cure = f"ask {settings.name} whether it runs at that address, and check your way to {host}"
        if state.reason == WRONG_KEY:
            cure = f"ask {settings.name} for the right address, and say nothing to what answers there"
        return wrong(subject, f"{settings.url}: {_why(state)}: {cure}")
    if denied:
        return wrong(subject, f"{denied[0]}: ask {settings.name} to allow it in its broker's users")
    return good(subject, f"user {settings.username!r} is let in at {settings.url} ({settings.wire})")


def _refused(settings: LinkSettings, state: LinkState, section: str) -> str:
    return (
        f"{settings.url} refused user {settings.username!r} ({state.reason}): correct username and password in "
        f"{section}, or that user at the broker"
    )
