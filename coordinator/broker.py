"""A home's own MQTT broker, and the one that runs inside this process (amqtt, for the demo, tests and a first try).

`mosquitto.py` has the one for real homes and `open_broker`, which chooses.
"""

import asyncio
import hmac
import importlib.metadata
import logging
import secrets
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from coordinator.broker_settings import (
    BrokerKind,
    BrokerSettings,
    BrokerUser,
    check_users,
    home_users,
)
from coordinator.clock import WallClock
from coordinator.errors import ConfigError
from coordinator.identity import Identity
from coordinator.mqtt_topics import covers
from coordinator.tls import ServerCertificate, issue, server_context

if TYPE_CHECKING:
    from coordinator.amqtt_broker import CuredBroker

__all__ = [
    "Access",
    "Broker",
    "BrokerKind",
    "BrokerSettings",
    "BrokerUser",
    "EmbeddedBroker",
    "TlsListener",
    "home_users",
]

_AMQTT_CHECKED = (0, 12)
_AMQTT_CURE = (
    "pip install 'commonwatt[broker]', or install the Debian package mosquitto and use broker kind 'mosquitto'"
)
_START_S = 15.0
_STOP_S = 15.0
_wall = WallClock()
"""Certificates live in real time, also in the demo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsListener:
    """Where a broker listens for encrypted links, and whose key signs its certificate. Port 0 takes any free one."""

    host: str = "127.0.0.1"
    port: int = 0
    identity: Identity


class Broker(ABC):
    """A broker of one home. `start` and `stop` block as long as it takes; `async with` does the same in a thread.

    Args:
        tls: Also listen there, encrypted, with a new key and certificate at every start.
    """

    kind: ClassVar[Literal["mosquitto", "embedded"]]

    def __init__(self, host: str, port: int, users: Sequence[BrokerUser], tls: TlsListener | None = None) -> None:
        check_users(tuple(users))
        self.host = host
        self.port = port
        self.users = tuple(users)
        self.tls = tls
        self.tls_port = tls.port if tls is not None else 0
        self._certificate: ServerCertificate | None = None

    @property
    def url(self) -> str:
        """Address for clients; the port is known once it has started."""
        return f"mqtt://{self.host}:{self.port}"

    @property
    def tls_url(self) -> str | None:
        """Address for encrypted links, likewise."""
        return None if self.tls is None else f"mqtts://{self.tls.host}:{self.tls_port}"

    def _issue(self) -> ServerCertificate | None:
        """Make the certificate to start with."""
        self._certificate = None if self.tls is None else issue(self.tls.identity, _wall.now())
        return self._certificate

    def certificate_is_old(self, now: datetime) -> bool:
        """Return whether it should start anew for a new certificate.

        Args:
            now: By the wall's clock.
        """
        return self._certificate is not None and self._certificate.old(now)

    @property
    def _where(self) -> str:
        tls = "" if self.tls is None else f" and {self.tls.host}:{self.tls_port}"
        return f"{self.host}:{self.port}{tls}"

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether it serves at the moment."""

    @abstractmethod
    def start(self) -> None:
        """Serve; returns when clients can connect. After a stop or a crash it serves on the same port again.

        Raises:
            ConfigError: If it cannot; names the cause and the cure.
        """

    @abstractmethod
    def stop(self) -> None:
        """End it and all it needed; harmless when it does not run."""

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)


class Access:
    """Who may do what. Keeps no password: only keyed hashes, with a key that lives as long as the process."""

    def __init__(self, users: Sequence[BrokerUser]) -> None:
        self._key = secrets.token_bytes(32)
        self._hashes = {user.name: self._hash(user.secret() or "") for user in users}
        self._publish = {user.name: user.publish for user in users}
        self._subscribe = {user.name: user.subscribe for user in users}

    def _hash(self, password: str) -> bytes:
        return blake2b(password.encode(), key=self._key).digest()

    def knows(self, name: str | None) -> bool:
        return name in self._hashes

    def login(self, name: str | None, password: str | None) -> bool:
        """Return whether name and password belong together, in a time that tells nothing about either."""
        expected = self._hashes.get(name or "", bytes(64))
        return hmac.compare_digest(self._hash(password or ""), expected)

    def may_publish(self, name: str | None, topic: str) -> bool:
        return any(covers(allowed, topic) for allowed in self._publish.get(name or "", ()))

    def may_read(self, name: str | None, topic_or_filter: str) -> bool:
        """Return whether all that a topic or filter matches may be read."""
        return any(covers(allowed, topic_or_filter) for allowed in self._subscribe.get(name or "", ()))


class EmbeddedBroker(Broker):
    """amqtt in a thread of this process, with the cures of `amqtt_broker.py`. Nothing survives its end."""

    kind = "embedded"

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        users: Sequence[BrokerUser] = (),
        tls: TlsListener | None = None,
    ) -> None:
        super().__init__(host, port, users, tls)
        self._thread: threading.Thread | None = None
        self._broker: CuredBroker | None = None

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def sessions(self) -> int:
        """Clients it knows, connected or not yet forgotten."""
        return len(self._broker.sessions) if self._broker is not None else 0

    def start(self) -> None:
        if self.alive:
            return
        broker_class, access = _cured_broker(), Access(self.users)
        ready: Future[CuredBroker] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(broker_class, access, ready)), name="embedded-broker", daemon=True
        )
        self._thread.start()
        try:
            served = ready.result(timeout=_START_S)
        except Exception as error:
            self._thread.join(timeout=_STOP_S)
            cause = error.__cause__ or error
            raise ConfigError(f"broker cannot listen on {self._where}: {cause}: choose another port") from error
        self.port, self.tls_port = served.port, served.tls_port

    def stop(self) -> None:
        if self._thread is None:
            return
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(timeout=_STOP_S)
        self._thread = self._broker = None

    async def _serve(self, broker_class: "type[CuredBroker]", access: Access, ready: "Future[CuredBroker]") -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        certificate, tls = self._issue(), None
        if self.tls is not None and certificate is not None:
            tls = (self.tls.host, self.tls_port, server_context(certificate))
        self._broker = broker = broker_class(self.host, self.port, access, tls)
        try:
            await broker.start()
        except Exception as error:
            ready.set_exception(error)
            return
        ready.set_result(broker)
        await self._stopping.wait()
        await broker.shutdown()


def _cured_broker() -> "type[CuredBroker]":
    """Import amqtt, which is an optional part.

    Raises:
        ConfigError: If it is missing, or of a version whose insides the cures were not checked against.
    """
    try:
        version = importlib.metadata.version("amqtt")
        major_minor = tuple(int(part) for part in version.split(".")[:2])
        if major_minor != _AMQTT_CHECKED:
            raise ConfigError(f"the embedded broker does not work with amqtt {version}: {_AMQTT_CURE}")
        from coordinator.amqtt_broker import CuredBroker
    except ImportError as error:
        raise ConfigError(f"the embedded broker needs amqtt, which is not installed: {_AMQTT_CURE}") from error
    # amqtt writes a line or a traceback for every client that goes away; what an owner must know, we log ourselves.
    for name, level in (("amqtt", logging.CRITICAL), ("transitions", logging.WARNING)):
        if logging.getLogger(name).level == logging.NOTSET:
            logging.getLogger(name).setLevel(level)
    return CuredBroker
