"""Readers of the homes' own topics: one MQTT client per home, subscribing and nothing else."""

import logging
import socket
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from pydantic import BaseModel

from agent.dashboard.picture import Picture
from agent.dashboard.settings import DashboardSettings, Source
from coordinator.clock import Clock
from coordinator.identity import decode_base64
from coordinator.links import explain_failure, explain_refusal
from coordinator.tls import WRONG_KEY, client_context

_log = logging.getLogger(__name__)

_KEEPALIVE_S = 15
_RECONNECT_MAX_S = 15
_MARKETS_KEPT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrival:
    payload: bytes
    heard_s: float
    retained: bool


class _Inbox:
    """The newest messages per home and kind, between network threads and one reader; never grows beyond that.

    Only the last one counts, except for negotiations, which are each about another slot.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._arrivals: dict[tuple[str, str], deque[_Arrival]] = {}
        self._links: dict[str, str] = {}

    def put(self, home: str, kind: str, arrival: _Arrival) -> None:
        with self._lock:
            kept = _MARKETS_KEPT if kind == "market" else 1
            self._arrivals.setdefault((home, kind), deque(maxlen=kept)).append(arrival)

    def put_link(self, home: str, why_not: str) -> None:
        with self._lock:
            self._links[home] = why_not

    def take(self) -> tuple[dict[tuple[str, str], deque[_Arrival]], dict[str, str]]:
        with self._lock:
            taken = self._arrivals, self._links
            self._arrivals, self._links = {}, {}
            return taken


class _Feed:
    """One home's broker. Callbacks only enqueue: an exception in one would kill paho's network thread silently."""

    def __init__(self, source: Source, inbox: _Inbox, clock: Clock) -> None:
        self._source = source
        self._inbox = inbox
        self._clock = clock
        self._link: str | None = None
        client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
        client.username_pw_set(source.username or "dashboard", source.password)
        if source.pin is not None:
            client.tls_set_context(client_context(decode_base64(source.pin)))
            client.tls_insecure_set(True)
        client.reconnect_delay_set(1, _RECONNECT_MAX_S)
        client.on_socket_open = _send_small_packets_at_once
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        self._client = client

    def start(self) -> None:
        self._client.connect_async(self._source.broker_host, self._source.broker_port, _KEEPALIVE_S)
        self._client.loop_start()

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _become(self, why_not: str) -> None:
        """Log a change of the link once, not every attempt; an empty reason is a link that is up."""
        self._inbox.put_link(self._source.home, why_not)
        if why_not != self._link:
            self._link = why_not
            level, said = (logging.WARNING, f"{why_not}; trying again") if why_not else (logging.INFO, "connected")
            _log.log(level, "%s at %s: %s", self._source.home, self._source.url, said)

    def _on_connect(self, client: mqtt.Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            why = explain_refusal(str(reason))
            cure = "; correct username and password in the page's settings" if "password" in why else ""
            self._become(f"its broker refuses this page: {why}{cure}")
            return
        client.subscribe([(topic, 0) for topic in self._source.topic_filters])
        self._become("")

    def _on_connect_fail(self, client: mqtt.Client, userdata: Any) -> None:
        why = explain_failure(sys.exception())  # paho does not tell it, but calls this while it handles it
        cure = ", or pin in the page's settings is another home's" if why == WRONG_KEY else ""
        self._become(f"no connection to its broker: {why}{cure}")

    def _on_disconnect(self, client: mqtt.Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure and self._link == "":
            silent = "Keep alive" in str(reason)
            self._become(f"no connection to its broker: {'no sign of life' if silent else 'connection lost'}")

    def _on_message(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        kind = message.topic.rpartition("/")[2]
        arrival = _Arrival(payload=bytes(message.payload), heard_s=self._clock.monotonic(), retained=message.retain)
        self._inbox.put(self._source.home, kind, arrival)


def _send_small_packets_at_once(client: mqtt.Client, userdata: Any, sock: Any) -> None:
    """Without this the 99th percentile of a message is 45 ms instead of 7."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Feeds:
    """All homes' brokers. `drain` moves what has arrived into a picture; call it from one thread."""

    def __init__(self, settings: DashboardSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._inbox = _Inbox()
        self._feeds: Sequence[_Feed] = [_Feed(source, self._inbox, clock) for source in settings.sources]
        self._problems: dict[tuple[str, str], str] = {}

    def __enter__(self) -> "Feeds":
        for feed in self._feeds:
            feed.start()
        return self

    def __exit__(self, *_: object) -> None:
        for feed in self._feeds:
            feed.stop()

    def picture(self) -> Picture:
        """Return an empty picture of these homes."""
        return Picture(source.home for source in self._settings.sources)

    def drain(self, picture: Picture) -> None:
        """Take everything in that arrived since the last call; log a bad message once per home and kind."""
        picture.wall_at = None if self._settings.demo else self._clock.now()
        arrivals, links = self._inbox.take()
        for home, why_not in links.items():
            picture.set_link(home, why_not)
        for (home, kind), queue in arrivals.items():
            for arrival in queue:
                self._receive(picture, home, kind, arrival)

    def _receive(self, picture: Picture, home: str, kind: str, arrival: _Arrival) -> None:
        age_s = self._age_s(arrival) if kind == "state" and arrival.retained else 0.0
        problem = picture.receive(home, kind, arrival.payload, arrival.heard_s, age_s)
        if problem and self._problems.get((home, kind)) != problem:
            _log.warning("%s/%s ignored: %s", home, kind, problem)
        self._problems[home, kind] = problem or ""

    def _age_s(self, arrival: _Arrival) -> float:
        """Return the age of a retained state. A simulation's time says nothing about the wall's."""
        if self._settings.demo:
            return 0.0
        try:
            at = _Moment.model_validate_json(arrival.payload).at
        except ValueError:
            return 0.0
        return max(0.0, (self._clock.now() - at).total_seconds()) if at.tzinfo else 0.0


class _Moment(BaseModel):
    at: datetime
