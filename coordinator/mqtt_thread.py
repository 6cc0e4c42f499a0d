"""The network thread of one MQTT client: connects, serves the socket, waits, connects again, until it is told to stop
or the broker did what no broker should.

paho brings such a thread, but its loop fails from the 1024th file of a process on (`select`), which a demo of twenty
homes with twenty links each has; it needs three files for a link instead of two, and does not tell why a connection
failed.
"""

import os
import select
import ssl
import threading
from collections.abc import Callable

from coordinator.mqtt_client import BoundedClient

_TICK_MS = 1000
"""Keepalive is looked after this often [ms]."""


class NetworkThread:
    """Runs a client that `connect_async` has told where to connect to.

    Args:
        retry_min_s: First pause after a failure; it doubles up to `retry_max_s` and starts again after a success [s].
        on_failure: Called on this thread when no connection came about.
    """

    def __init__(
        self, client: BoundedClient, retry_min_s: float, retry_max_s: float, on_failure: Callable[[Exception], None]
    ) -> None:
        self._client = client
        self._retry_min_s = retry_min_s
        self._retry_max_s = retry_max_s
        self._on_failure = on_failure
        self._pause_s = retry_min_s
        self._stopping = threading.Event()
        self._wake_fd = -1
        self._thread = threading.Thread(target=self._run, name="mqtt-link", daemon=True)
        # paho writes to the socket on the caller's thread unless it thinks that somebody else looks after writing.
        client.on_socket_register_write = _ignore

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to connect; returns at once.

        Raises:
            OSError: If the process may not open another file.
        """
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread.start()

    def wake(self) -> None:
        """Have the thread send what was queued. From any thread, between `start` and `stop`."""
        os.eventfd_write(self._wake_fd, 1)

    def stop(self) -> None:
        """Disconnect and end the thread; returns when it has ended."""
        self._stopping.set()
        self.wake()
        self._thread.join()
        os.close(self._wake_fd)
        self._client.on_socket_register_write = None

    def _run(self) -> None:
        while not self._stopping.is_set() and self._client.offence is None:
            try:
                self._client.reconnect()
            except (OSError, ValueError) as error:  # a host name that cannot be one is a ValueError
                self._on_failure(error)
            else:
                self._serve()
            self._stopping.wait(self._pause_s)
            self._pause_s = min(2 * self._pause_s, self._retry_max_s)

    def _serve(self) -> None:
        """Look after the socket until it is closed, by either side."""
        client = self._client
        poller = select.poll()
        poller.register(self._wake_fd, select.POLLIN)
        while (sock := client.socket()) is not None:
            wanted = select.POLLIN | (select.POLLOUT if client.want_write() else 0)
            poller.register(sock.fileno(), wanted)
            # What came in one TLS record is read at once, so `poll` would not tell of the packets after the first.
            waiting = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
            ready = dict(poller.poll(0 if waiting else _TICK_MS))
            if ready.pop(self._wake_fd, None):
                os.eventfd_read(self._wake_fd)
            if waiting or any(events & ~select.POLLOUT for events in ready.values()):
                client.loop_read()
            if client.want_write():
                client.loop_write()
            client.loop_misc()
            if client.is_connected():
                self._pause_s = self._retry_min_s
            if self._stopping.is_set():
                client.disconnect()
                client.loop_write()
                return


def _ignore(*_: object) -> None:
    """Writing is asked for by `wake`: paho's own call can come between its last write and its forgetting of it."""
