"""The guard's local socket: only the user it runs as may open it, and a client that is slow or wrong is hung up on."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterable
from pathlib import Path

from agent.guard_messages import MAX_REQUEST_BYTES, Report, Request, encode, read_request
from coordinator.errors import ConfigError, RemoteProtocolError

log = logging.getLogger(__name__)

MAX_CLIENTS = 8
MAX_WAITING_BYTES = 256 * 1024
"""What may wait for one client; more, and it does not read."""
SOCKET = "guard.sock"
MAX_PATH_BYTES = 100
"""A Unix socket's path may have 107 bytes on Linux."""


def socket_path(data_dir: Path) -> Path:
    """Return where a home's guard listens.

    Raises:
        ConfigError: If the path is longer than a socket's may be.
    """
    path = data_dir / SOCKET
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise ConfigError(f"{path} is too long for the guard's socket: choose a home.data_dir with a shorter path")
    return path


class GuardServer:
    """Tells every client everything, and hands on what they ask for.

    Args:
        path: As `socket_path` returns it; the caller holds the home's lock, so a socket that is there is a dead one.
        on_request: Gets each request.
        greet: Returns what a new client must know first.
    """

    def __init__(
        self, path: Path, on_request: Callable[[Request], None], greet: Callable[[], Iterable[Report]]
    ) -> None:
        self.path = path
        self._on_request = on_request
        self._greet = greet
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigError: If the socket cannot be made.
        """
        try:
            listener = _listen(self.path)
        except OSError as error:
            raise ConfigError(f"{self.path}: the guard cannot listen there: {error.strerror}") from None
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=MAX_REQUEST_BYTES)

    async def stop(self) -> None:
        """Hang up and take the socket away; harmless when not started."""
        if self._server is None:
            return
        self._server.close()
        for client in list(self._clients):
            client.transport.abort()
        self.path.unlink(missing_ok=True)

    def send(self, report: Report) -> None:
        """Tell all clients."""
        line = encode(report)
        for client in list(self._clients):
            self._write(client, line)

    def _write(self, client: asyncio.StreamWriter, line: bytes) -> None:
        if client.transport.get_write_buffer_size() > MAX_WAITING_BYTES:
            log.warning("a client of the guard does not read; it is hung up on")
            client.transport.abort()
        else:
            client.write(line)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= MAX_CLIENTS:
            writer.transport.abort()
            return
        self._clients.add(writer)
        try:
            for report in self._greet():
                self._write(writer, encode(report))
            while line := await reader.readline():
                self._on_request(read_request(line))
        except (RemoteProtocolError, ValueError) as error:  # ValueError: a line without an end
            log.warning("%s; it is hung up on", error)
        except OSError:
            pass
        finally:
            self._clients.discard(writer)
            with contextlib.suppress(OSError):
                writer.close()


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # made for its owner only: a mode set later would leave it open for a moment
    try:
        listener.bind(str(path))
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener
