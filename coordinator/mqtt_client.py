"""A paho client that no broker can fill. Brokers of neighbours are strangers' programs; paho trusts whom it calls.

It overrides private methods, and each of them has a test that fails without it (`test_links_hostile.py`):
- packets of up to 256 MB were read into memory before anybody saw them -> the connection ends at their length
- messages of QoS 2 were kept until the broker releases them, past every limit -> nobody asked for them: it ends
- answers piled up for a broker that does not read them -> it ends
- a second CONNACK or SUBACK woke the event loop each time -> one each per connection
- packets that are no message were counted by nobody -> counted
- a broker of another version was connected to from within the reading, where a failure ended the thread -> it ends
"""

from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode

from coordinator.broker_settings import PACKET_MAX_BYTES

_CONNACK, _PUBLISH, _PUBACK, _SUBACK, _PINGRESP = 2, 3, 4, 9, 13
_OTHER_VERSION = 1
_UNSENT_MAX = 2000
"""Packets that wait to be sent: well above an outbox and the answers to what one look at the socket brings."""


class BoundedClient(paho.Client):
    """Ends the connection on what no honest broker does. For a clean session of MQTT 3.1.1 with QoS 0 and 1."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.offence: str | None = None
        """What it ended the connection for, in words."""
        self.idle = 0
        """Packets received that were neither a message nor an answer to one of ours."""
        self._once: set[int] = set()

    def reconnect(self) -> MQTTErrorCode:
        self._once.clear()
        return super().reconnect()

    def _sock_recv(self, bufsize: int) -> bytes:
        if bufsize > PACKET_MAX_BYTES:  # the first read of a packet asks for all of it
            self.offence = f"it sent a packet of {bufsize} bytes (limit {PACKET_MAX_BYTES})"
            raise ConnectionAbortedError(self.offence)
        return super()._sock_recv(bufsize)

    def _packet_handle(self) -> MQTTErrorCode:
        kind, packet = self._in_packet["command"] >> 4, bytes(self._in_packet["packet"][:2])
        self.offence = self._judge(kind, packet)
        if self.offence is not None:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        awaited = kind == _PUBACK and int.from_bytes(packet, "big") in self._out_messages
        self.idle += kind != _PUBLISH and not awaited
        return super()._packet_handle()

    def _judge(self, kind: int, packet: bytes) -> str | None:
        """Return what is wrong with a packet of this kind, which begins so."""
        if kind == _PUBLISH and self._in_packet["command"] & 0x06 > 0x02:
            return "it sent a message of QoS 2 that nobody asked for"
        if kind == _CONNACK and packet[1:] == bytes([_OTHER_VERSION]):
            return "it does not speak MQTT 3.1.1"
        if kind not in (_CONNACK, _PUBLISH, _PUBACK, _SUBACK, _PINGRESP) or kind in self._once:
            return f"it sent what no broker sends (packet of kind {kind})"
        if kind in (_CONNACK, _SUBACK):
            self._once.add(kind)
        return "it leaves our answers unread" if len(self._out_packet) > _UNSENT_MAX else None
