"""One link to one broker: a paho client with its own network thread, that comes back by itself.

The thread's callbacks only hand over: messages to `deliver` (thread-safe), changes of state to the event loop. An
exception in a callback would end the thread while `is_connected()` stays true, so callbacks never raise, and a watchdog
replaces a client whose thread is gone all the same.
"""

import asyncio
import contextlib
import functools
import logging
import secrets
import socket
from collections.abc import Callable
from typing import Any, Concatenate, Literal, ParamSpec

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from coordinator.clock import Clock
from coordinator.errors import ConfigError
from coordinator.identity import decode_base64
from coordinator.links import (
    Inbound,
    LinkKind,
    LinkNotice,
    LinkOptions,
    LinkSettings,
    LinkState,
    OnNotice,
    describe_change,
    explain_failure,
    explain_refusal,
)
from coordinator.mqtt_client import BoundedClient
from coordinator.mqtt_thread import NetworkThread
from coordinator.mqtt_topics import covers, speaker
from coordinator.tls import client_context

logger = logging.getLogger(__name__)

_QUICK_LOSS_S = 2.0
_QUICK_LOSSES_MAX = 3
_FLUSH_S = 1.0

P = ParamSpec("P")


def _never_raises(
    callback: Callable[Concatenate["MqttLink", P], None],
) -> Callable[Concatenate["MqttLink", P], None]:
    """Log what a callback raises instead of letting it end the network thread."""

    @functools.wraps(callback)
    def run(self: "MqttLink", /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            callback(self, *args, **kwargs)
        except Exception:
            logger.exception("link %s: %s failed", self.settings.name, callback.__name__)

    return run


class MqttLink:
    """A link that is always either connected or trying. Use it from the event loop that calls `start()`.

    Args:
        deliver: Takes received messages, called on the network thread; returns whether they were welcome.
        on_notice: Takes changes of state, called on the event loop.
    """

    def __init__(
        self,
        settings: LinkSettings,
        options: LinkOptions,
        clock: Clock,
        deliver: Callable[[Inbound], bool],
        on_notice: OnNotice,
    ) -> None:
        self.settings = settings
        self.dropped = 0
        """Messages of our own that found the outbox full."""
        self.unasked = 0
        """Messages on topics that were not asked for: an honest broker sends none."""
        self._options = options
        self._clock = clock
        self._deliver = deliver
        self._on_notice = on_notice
        self._state = LinkState(name=settings.name, kind="connecting", since=clock.now(), reason="not yet tried")
        self._client: BoundedClient | None = None
        self._thread: NetworkThread | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._last_sent: paho.MQTTMessageInfo | None = None
        self._overflowing = False
        self._denied: frozenset[str] = frozenset()
        self._unwelcome = 0
        self._unasked_before = 0
        self._rest_s = options.rest_s
        self._connected_at = 0.0
        self._quick_losses = 0

    @property
    def state(self) -> LinkState:
        return self._state

    def start(self) -> None:
        """Begin to connect; returns at once.

        Raises:
            OSError: If the process may not open another file.
        """
        self._loop = asyncio.get_running_loop()
        self._launch()
        self._watcher = self._loop.create_task(self._watch())

    async def close(self) -> None:
        """Say goodbye to the broker and end the network thread."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        client, thread = self._client, self._thread
        self._client = self._thread = None
        if client is not None and thread is not None:
            await asyncio.to_thread(_end, client, thread, self._last_sent)

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> bool:
        """Hand a message to the network thread.

        Returns:
            Whether it was taken: QoS 1 also while the broker is away, as long as the outbox has room; QoS 0 only while
            connected.
        """
        if self._client is None or self._thread is None:
            return False
        info = self._client.publish(topic, payload, qos=qos, retain=retain)
        self._thread.wake()
        full = info.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE
        if full:
            self.dropped += 1
        elif qos > 0:
            self._last_sent = info
        if full and not self._overflowing:
            self._notice("warning", f"outbox for {self.settings.name}'s broker is full: new messages are dropped")
        self._overflowing = full or (self._overflowing and not self.state.connected)
        return not full and (qos > 0 or info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS)

    def _launch(self) -> None:
        """Make a client and its thread, and have it connect."""
        client, options = self._build_client(), self._options

        def failed(error: Exception) -> None:
            self._post(client, self._set_state, "away", explain_failure(error))

        thread = NetworkThread(client, options.retry_min_s, options.retry_max_s, failed)
        thread.start()
        self._client, self._thread = client, thread

    def _build_client(self) -> BoundedClient:
        options = self._options
        client = BoundedClient(
            CallbackAPIVersion.VERSION2,
            client_id=f"cw-{secrets.token_hex(8)}",  # nobody can guess it and throw us out by connecting with it
            clean_session=True,
            protocol=MQTTProtocolVersion.MQTTv311,
        )
        if self.settings.pin is not None:
            client.tls_set_context(client_context(decode_base64(self.settings.pin)))
            client.tls_insecure_set(True)  # paho's word for: no host name is checked; the key was, in the handshake
        client.connect_timeout = options.connect_timeout_s
        client.max_queued_messages_set(options.outbox)
        client.on_pre_connect = self._on_pre_connect
        client.on_socket_open = self._on_socket_open
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.connect_async(self.settings.host, self.settings.port, keepalive=options.keepalive_s)
        return client

    # --- on the network thread -------------------------------------------------------------------------------------

    @_never_raises
    def _on_pre_connect(self, client: paho.Client, _userdata: Any) -> None:
        # Read at every attempt, so that a corrected password file is enough to recover.
        try:
            client.username_pw_set(self.settings.username, self.settings.secret())
        except ConfigError as error:
            self._post(client, self._set_state, "refused", str(error))

    @_never_raises
    def _on_socket_open(self, _client: paho.Client, _userdata: Any, sock: Any) -> None:
        # Without it small messages wait for the delayed ack of the one before: p99 45 ms instead of 7 ms.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @_never_raises
    def _on_connect(self, client: paho.Client, _userdata: Any, _flags: Any, reason: ReasonCode, _props: Any) -> None:
        if reason.is_failure:
            self._post(client, self._set_state, "refused", explain_refusal(str(reason)))
            return
        if self.settings.subscribe:
            client.subscribe([(topic_filter, 1) for topic_filter in self.settings.subscribe])
        self._post(client, self._connected)

    @_never_raises
    def _on_disconnect(self, client: paho.Client, _userdata: Any, _flags: Any, reason: ReasonCode, _props: Any) -> None:
        silent = "Keep alive" in str(reason)
        self._post(client, self._lost, "no sign of life" if silent else "connection lost")

    @_never_raises
    def _on_subscribe(
        self, client: paho.Client, _userdata: Any, _mid: int, reasons: list[ReasonCode], _props: Any
    ) -> None:
        answers = zip(self.settings.subscribe, reasons, strict=False)
        denied = frozenset(topic_filter for topic_filter, reason in answers if reason.is_failure)
        self._post(client, self._set_denied, denied)

    @_never_raises
    def _on_message(self, _client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        asked_for = any(covers(asked, topic) for asked in self.settings.subscribe)
        self.unasked += not asked_for
        inbound = Inbound(link=self.settings.name, topic=topic, payload=bytes(message.payload))
        self._unwelcome += not (asked_for and self._deliver(inbound))

    def _post(self, client: paho.Client, change: Callable[..., None], *args: Any) -> None:
        self._loop.call_soon_threadsafe(self._apply, client, change, *args)

    # --- on the event loop -----------------------------------------------------------------------------------------

    def _apply(self, client: paho.Client, change: Callable[..., None], *args: Any) -> None:
        if client is self._client:  # not of one that was given up or closed since
            change(*args)

    def _notice(self, level: Literal["info", "warning"], text: str) -> None:
        self._on_notice(LinkNotice(at=self._clock.now(), level=level, link=self.settings.name, text=text))

    def _set_state(self, kind: LinkKind, reason: str) -> None:
        before = self._state
        since = before.since if before.kind == kind else self._clock.now()
        self._state = LinkState(name=before.name, kind=kind, since=since, reason=reason)
        if before.kind != kind:
            self._notice(*describe_change(self.settings, before, self._state))

    def _connected(self) -> None:
        self._connected_at = self._clock.monotonic()
        self._set_state("connected", "connected")

    def _lost(self, reason: str) -> None:
        if self.state.kind == "refused" or (self._client is not None and self._client.offence is not None):
            return  # paho reports these ends too; the refusal, or what `_rest` tells, says more
        if self.state.connected:
            quick = self._clock.monotonic() - self._connected_at < _QUICK_LOSS_S
            self._quick_losses = self._quick_losses + 1 if quick else 0
        self._set_state("away", reason)

    def _set_denied(self, denied: frozenset[str]) -> None:
        for topic_filter in sorted(denied - self._denied):
            whose = f"{self.settings.name}'s broker"
            self._notice("warning", f"{whose} does not let user '{self.settings.username}' read '{topic_filter}'")
        self._denied = denied

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._options.watch_s)
            client, thread = self._client, self._thread
            if client is None or thread is None:
                return
            if offence := self._offence(client):
                await self._rest(client, thread, offence)
                continue
            dead = not thread.alive
            poisoned = self._quick_losses >= _QUICK_LOSSES_MAX
            if not dead and not poisoned:
                continue
            # A broker that closes on one of our messages gets it again at every reconnect, forever: give the outbox up.
            logger.error("link %s: %s; starting it anew", self.settings.name, "thread died" if dead else "lost at once")
            self._quick_losses = 0
            self._last_sent = None
            self._set_state("away", "the link's own thread ended" if dead else "the broker hangs up at once")
            self._launch()
            await asyncio.to_thread(_end, client, thread, None)

    def _offence(self, client: BoundedClient) -> str | None:
        """Return what the broker did since the last look that no broker should, or that its only speaker should not.

        At a meeting broker a member that floods is no reason to stop listening to the others.
        """
        limit = self._options.flood_per_s * self._options.watch_s
        unasked, self._unasked_before = self.unasked - self._unasked_before, self.unasked
        unwelcome, self._unwelcome = self._unwelcome, 0
        idle, client.idle = client.idle, 0
        one_speaker = len({speaker(asked) for asked in self.settings.subscribe}) == 1
        flooded = idle + unasked > limit or (one_speaker and idle + unwelcome > limit)
        return client.offence or ("it sends far too much" if flooded else None)

    async def _rest(self, client: BoundedClient, thread: NetworkThread, offence: str) -> None:
        """Hang up on a broker for a while: only its own words are lost, and reading them costs more than it."""
        if self._clock.monotonic() - self._connected_at > self._rest_s:
            self._rest_s = self._options.rest_s
        self._set_state("away", f"{offence} and is not listened to for {self._rest_s:.0f} s")
        self._client = self._thread = None
        await asyncio.to_thread(_end, client, thread, None)
        await asyncio.sleep(self._rest_s)
        self._rest_s = min(2 * self._rest_s, self._options.rest_max_s)
        self._launch()


def _end(client: BoundedClient, thread: NetworkThread, last_sent: paho.MQTTMessageInfo | None) -> None:
    """Flush, disconnect and join the client's thread. Blocks; not for the event loop."""
    if last_sent is not None and client.is_connected():
        with contextlib.suppress(ValueError, RuntimeError):  # raised when it was never on its way
            last_sent.wait_for_publish(_FLUSH_S)
    thread.stop()
    # The callbacks hold the link and the link held the client: without this the sockets wait for the cycle collector.
    client.on_pre_connect = client.on_socket_open = client.on_connect = None
    client.on_disconnect = client.on_subscribe = client.on_message = None
