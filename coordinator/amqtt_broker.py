"""amqtt 0.12's broker with its faults cured. Imported only when the embedded broker is used: amqtt is an optional part.

It overrides private methods, so `broker.py` refuses other versions and each cure has a test that fails without it:
- subscriptions are walked across `await`: many clients connecting at once threw each other out -> `_Snapshot`
- retained messages went to every client that connected, whoever had subscribed, past the rules -> to their subscribers
- keepalive was not enforced: a client without power was never missed, its will never sent -> cut off after 1.5 times
- a will went past the rules: who may only read could write any topic, retained -> no will on such a topic
- a refused login ended the session of the client it pretended to be, and stayed in memory -> checked before anything
- packets of any size were read into memory, half a packet was awaited for ever -> `_BoundedReader`
- strangers' names of 64 KiB were read, kept and logged -> short fields before the login, one line per address
- messages for a client that does not read piled up -> bounded, then cut off
"""

import asyncio
import logging
import math
import ssl
from collections.abc import Iterator
from typing import Any

from amqtt.adapters import ReaderAdapter, StreamReaderAdapter, StreamWriterAdapter, WriterAdapter
from amqtt.broker import Broker
from amqtt.contexts import Action, BrokerConfig, ListenerConfig
from amqtt.errors import MQTTError
from amqtt.mqtt.connack import BAD_USERNAME_PASSWORD, IDENTIFIER_REJECTED, ConnackPacket
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.session import OutgoingApplicationMessage, Session
from amqtt.utils import gen_client_id

from coordinator.broker import Access
from coordinator.broker_settings import CONNECTIONS_MAX, PACKET_MAX_BYTES

logger = logging.getLogger(__name__)

CONNECT_S = 10.0
PACKET_S = 20.0
UNSENT_MAX = 2000
_LOGIN_MAX_BYTES = 8 * 1024
"""Of each field, until we know who it is: ids, names, passwords and wills are short."""
_NAME_SHOWN = 64
_REFUSED_MAX = 500
"""So many refusals are told, each once."""
_GOODBYE_S = 1.0


class _Snapshot(dict[str, list[tuple[Session, int]]]):
    """Subscribers by filter; may change while somebody walks over it."""

    def __iter__(self) -> Iterator[str]:
        return iter(list(self.keys()))

    def items(self) -> list[tuple[str, list[tuple[Session, int]]]]:  # type: ignore[override]
        return [(topic_filter, list(subscribers)) for topic_filter, subscribers in super().items()]


class _BoundedReader(StreamReaderAdapter):  # type: ignore[misc]  # amqtt has no types
    """Reads no field above the limit and waits for no half packet. A first byte may take as long as the keepalive."""

    limit = _LOGIN_MAX_BYTES

    async def read(self, n: int = -1) -> bytes:
        if n > self.limit:
            raise ConnectionAbortedError(f"a field of {n} bytes is over the limit of {self.limit}")
        if n == 1:
            return bytes(await super().read(1))
        async with asyncio.timeout(PACKET_S):
            return bytes(await super().read(n))


class _Handler(BrokerProtocolHandler):  # type: ignore[misc]
    """One client's connection."""

    unsent = 0
    cut_off: asyncio.Task[None] | None = None

    def handle_read_timeout(self) -> None:
        self.cut()

    def cut(self) -> None:
        """End the connection at once: a client without power acknowledges nothing, so a polite close would wait."""
        if self.writer is not None:
            self.writer.abort()
        if self.cut_off is None:
            self.cut_off = asyncio.get_running_loop().create_task(self.handle_connection_closed())

    async def mqtt_publish(
        self, topic: str, data: bytes | bytearray, qos: int | None, retain: bool, ack_timeout: int | None = None
    ) -> OutgoingApplicationMessage:
        """Send one message. A client that fails to take it is that client's loss and no error of the broker's."""
        if self.unsent >= UNSENT_MAX:
            logger.warning("broker: cut off a client that left %d messages unread", self.unsent)
            self.cut()
            return OutgoingApplicationMessage(None, topic, qos, data, retain)
        self.unsent += 1
        try:
            return await super().mqtt_publish(topic, data, qos, retain, ack_timeout)
        except Exception as error:
            logger.debug("broker: message on %s not delivered: %s", topic, error)
            return OutgoingApplicationMessage(None, topic, qos, data, retain)
        finally:
            self.unsent -= 1


class _Writer(StreamWriterAdapter):  # type: ignore[misc]
    """Drops what comes after the end of a connection; asyncio would complain about each packet."""

    def write(self, data: bytes) -> None:
        if not self._writer.transport.is_closing():
            super().write(data)

    def abort(self) -> None:
        self._writer.transport.abort()


class CuredBroker(Broker):  # type: ignore[misc]
    """amqtt's broker with our rules inside: as plugins they would cost a task for each check of each delivery."""

    def __init__(
        self, host: str, port: int, access: Access, tls: tuple[str, int, ssl.SSLContext] | None = None
    ) -> None:
        listeners = {"default": ListenerConfig(bind=f"{host}:{port}", max_connections=CONNECTIONS_MAX)}
        self._tls_context: ssl.SSLContext | None = None
        if tls is not None:
            tls_host, tls_port, self._tls_context = tls
            where = f"{tls_host}:{tls_port}"
            listeners["tls"] = ListenerConfig(bind=where, max_connections=CONNECTIONS_MAX, ssl=True)
        super().__init__(BrokerConfig(listeners=listeners, plugins={}))
        self._subscriptions = _Snapshot()
        self._access = access
        self._refused: set[tuple[str, str]] = set()
        self._connections: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    @property
    def port(self) -> int:
        return self._port("default")

    @property
    def tls_port(self) -> int:
        """0 without TLS."""
        return self._port("tls") if self._tls_context is not None else 0

    def _port(self, listener: str) -> int:
        return int(self._servers[listener].instance.sockets[0].getsockname()[1])

    def _create_ssl_context(self, _: ListenerConfig) -> ssl.SSLContext:  # amqtt's own asks clients for certificates
        assert self._tls_context is not None
        return self._tls_context

    async def stream_connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener_name: str
    ) -> None:
        task = asyncio.current_task()
        assert task is not None, "asyncio runs connection callbacks as tasks"
        self._connections[task] = writer
        try:
            await self._client_connected(listener_name, _BoundedReader(reader), _Writer(writer))
        except Exception as error:
            logger.debug("broker: connection ended: %r", error)
        finally:
            del self._connections[task]
            writer.close()

    async def shutdown(self) -> None:
        """Close every connection, then the broker, so that nothing is left that could complain later."""
        for server in self._servers.values():
            server.instance.close()
        for writer in self._connections.values():
            writer.close()
        if self._connections:
            await asyncio.wait(self._connections, timeout=_GOODBYE_S)
        for writer in self._connections.values():
            writer.transport.abort()
        if self._connections:
            await asyncio.wait(self._connections, timeout=_GOODBYE_S)
        await super().shutdown()

    async def _initialize_client_session(
        self, reader: ReaderAdapter, writer: WriterAdapter, remote_address: str, remote_port: int
    ) -> tuple[_Handler, Session]:
        """Read CONNECT and check it; only an accepted client may take anything over.

        Raises:
            MQTTError: If it is no CONNECT or refused; the client was told.
        """
        try:
            async with asyncio.timeout(CONNECT_S):
                handler, session = await _Handler.init_from_connect(reader, writer, self.plugins_manager)
        except MQTTError:
            raise
        except Exception as error:  # whatever a hostile first packet does to the decoder
            raise MQTTError(f"no CONNECT from {remote_address}:{remote_port}: {error!r}") from error
        if not await self._authenticate(session, self.listeners_config["default"]):
            await self._refuse(writer, BAD_USERNAME_PASSWORD, session.username, remote_address)
        reader.limit = PACKET_MAX_BYTES
        if session.will_flag and not self._access.may_publish(session.username, session.will_topic):
            session.will_flag = False  # as Mosquitto does: the client may stay, its last word is not said
        session.client_id = session.client_id or gen_client_id()
        if session.keep_alive > 0:
            session.keep_alive = math.ceil(session.keep_alive * 1.5) + 1  # paho's pings come up to a second late
        before, old_handler = self._sessions.get(session.client_id, (None, None))
        if before is not None and before.username != session.username:
            await self._refuse(writer, IDENTIFIER_REJECTED, session.username, remote_address)
        if old_handler is not None:
            old_handler.cut()
            await self._cleanup_session(session.client_id)
        return handler, session

    async def _refuse(self, writer: WriterAdapter, code: int, name: str | None, address: str) -> None:
        known = self._access.knows(name)
        whom = (name or "" if known else "", address)  # a stranger makes up a new name each time
        if whom not in self._refused and len(self._refused) < _REFUSED_MAX:  # once, not at every retry
            self._refused.add(whom)
            shown = f"{(name or '')[:_NAME_SHOWN]!r} from {address}"
            if code == IDENTIFIER_REJECTED:
                shown += ": another user's client id"
            elif not known:
                shown += " (no user here; others from there are not told)"
            logger.warning("broker: refused user %s", shown)
        await ConnackPacket.build(0, code).to_stream(writer)
        await writer.close()
        raise MQTTError(f"refused a user from {address}")

    async def _handle_disconnect(
        self, client_session: Session, handler: BrokerProtocolHandler, disconnect_waiter: "asyncio.Future[Any]"
    ) -> None:
        await super()._handle_disconnect(client_session, handler, disconnect_waiter)
        # Nothing is kept for the absent: bounded memory, and no stale bids. amqtt would tidy up within a second, by id:
        # a client that came back meanwhile would be thrown out.
        if self._sessions.get(client_session.client_id, (None, None))[0] is client_session:
            await self._cleanup_session(client_session.client_id)

    async def _authenticate(self, session: Session, _: ListenerConfig) -> bool:
        return self._access.login(session.username, session.password)

    async def _topic_filtering(self, session: Session, topic: str, action: Action) -> bool:
        if action == Action.PUBLISH:
            return self._access.may_publish(session.username, topic)
        return self._access.may_read(session.username, topic)

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        """Send what is retained below a filter, only to a client that was granted a subscription to it."""
        topic_filter, qos = subscription
        subscribers = self._subscriptions.get(topic_filter, [])
        handler = self._get_handler(session)
        if handler is None or not any(subscriber is session for subscriber, _ in subscribers):
            return
        sending = [
            handler.mqtt_publish(retained.topic, retained.data, min(qos, retained.qos or 0), retain=True)
            for topic, retained in self._retained_messages.items()
            if self._matches(topic, topic_filter)
        ]
        await asyncio.gather(*sending)
