"""Mosquitto as a home's broker: a child process with generated files, which never outlives this process."""

import asyncio
import atexit
import contextlib
import logging
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from coordinator.broker import Broker, BrokerKind, BrokerSettings, BrokerUser, EmbeddedBroker, TlsListener
from coordinator.clock import WallClock
from coordinator.errors import ConfigError
from coordinator.identity import Identity
from coordinator.mosquitto_files import (
    CERTIFICATE,
    PASSWORDS,
    PRIVATE_KEY,
    RULES,
    Listener,
    child_lines,
    config_lines,
    password_line,
    rule_lines,
)

logger = logging.getLogger(__name__)

_START_S = 10.0
_PORT_S = 3.0
_STOP_S = 5.0
_WATCH_S = 1.0
_wall = WallClock()
"""A child process lives in real time, also in the demo."""


def find_mosquitto() -> Path | None:
    """Return the mosquitto program; Debian keeps it where only root's PATH leads."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
    found = shutil.which("mosquitto", path=path)
    return Path(found) if found else None


def find_plugins() -> Path | None:
    """Return the folder of the plugins that Mosquitto 2.1 brings; None where there are none.

    Debian keeps them in lib/TRIPLET/mosquitto, other packages and a build from source in lib or lib64.
    """
    program = find_mosquitto()
    prefix = program.parent.parent if program is not None else Path("/usr")
    found = (
        path
        for pattern in ("lib/*/mosquitto/", "lib/*/", "lib/", "lib64/")
        for path in sorted(prefix.glob(f"{pattern}mosquitto_password_file.so"))
    )
    return next((path.parent for path in found), None)


class MosquittoBroker(Broker):
    """Mosquitto for one home.

    Started by root it runs as the user `mosquitto` (else `nobody`), from its first instruction on.
    """

    kind = "mosquitto"

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        users: Sequence[BrokerUser] = (),
        data_dir: Path | None = None,
        tls: TlsListener | None = None,
    ) -> None:
        super().__init__(host, port, users, tls)
        self.data_dir = None if data_dir is None else data_dir.absolute() / "mosquitto"
        self._account = _service_account()
        self._child: subprocess.Popen[str] | None = None
        self._keeper: threading.Thread | None = None
        self._said: deque[str] = deque(maxlen=20)

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def pid(self) -> int | None:
        """Process id of Mosquitto; None when it does not run."""
        return self._child.pid if self._child is not None and self.alive else None

    def start(self) -> None:
        if self.alive:
            return
        self.stop()
        program = find_mosquitto()
        if program is None:
            raise ConfigError("mosquitto is not installed: apt install mosquitto, or use broker kind 'embedded'")
        any_port, any_tls_port = self.port == 0, self.tls is not None and self.tls_port == 0
        wait_for_port_until = _wall.monotonic() + _PORT_S
        while True:
            if any_port:
                self.port = _free_port(self.host)
            if any_tls_port and self.tls is not None:
                self.tls_port = _free_port(self.tls.host)
            files = self._write_files()
            try:
                problem = self._try_start([str(program), "-c", str(files / "mosquitto.conf")])
            finally:
                # It has read them. Should it be told to read them again, 2.0.11 lets nobody in and 2.1.2 ends.
                shutil.rmtree(files, ignore_errors=True)
            if problem is None:
                atexit.register(self.stop)
                return
            self.stop()
            taken = "Address already in use" in problem
            # A predecessor that was killed a moment ago may hold the port for a moment more.
            if not taken or _wall.monotonic() > wait_for_port_until:
                cure = f": {self._cure()}" if taken else ""
                raise ConfigError(f"mosquitto cannot serve on {self._where}: {problem}{cure}")
            time.sleep(0.2)

    def _cure(self) -> str:
        """Say which port is taken: Mosquitto does not."""
        places = [(self.host, self.port)] + ([(self.tls.host, self.tls_port)] if self.tls else [])
        taken = [str(port) for host, port in places if listen_problem(host, port) is not None]
        which = f"stop what listens on port {' and '.join(taken)}, or " if taken else ""
        return f"{which}choose another port"

    def stop(self) -> None:
        atexit.unregister(self.stop)
        if self._child is not None:
            _end(self._child)
        if self._keeper is not None:
            self._keeper.join(_STOP_S)
        self._child = self._keeper = None

    def _try_start(self, command: list[str]) -> str | None:
        """Start Mosquitto and wait until it serves; return None, or what went wrong in one line."""
        give_up_at = _wall.monotonic() + _START_S
        self._said.clear()
        if setpriv := shutil.which("setpriv"):
            command = [setpriv, "--pdeathsig", "TERM", *command]
        launched, serving = threading.Event(), threading.Event()
        self._keeper = threading.Thread(
            target=self._keep, args=(command, launched, serving), name="mosquitto-keeper", daemon=True
        )
        self._keeper.start()
        launched.wait()
        while not serving.wait(0.02):
            if not self.alive:
                self._keeper.join(_STOP_S)
                return (
                    next((line for line in reversed(self._said) if "Error" in line), "; ".join(self._said))
                    or "no reason"
                )
            if _wall.monotonic() > give_up_at:
                return "it does not come up in time: " + "; ".join(self._said)
        return None

    def _keep(self, command: list[str], launched: threading.Event, serving: threading.Event) -> None:
        """Run Mosquitto and read what it says until its end.

        The kernel's parent-death signal is tied to the thread that started the child, and is forgotten when the child
        changes its user. So this thread lives as long as the child, and the child is its final user from the start.
        """
        account = self._account
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                user=account and account.pw_uid,
                group=account and account.pw_gid,
                extra_groups=[] if account else None,
                start_new_session=True,  # Ctrl-C is for us: we stop the broker last
            )
        except (OSError, subprocess.SubprocessError) as error:
            self._said.append(f"Error: {error}")
            launched.set()
            return
        self._child = child
        launched.set()
        with child:
            assert child.stderr is not None, "asked for as a pipe"
            for line in map(str.strip, child.stderr):
                self._said.append(line)
                if line.endswith(" running"):
                    serving.set()
                elif serving.is_set() and line.startswith(("Error", "Warning")):
                    logger.warning("mosquitto on port %d: %s", self.port, line)
        if serving.is_set() and child.returncode not in (0, -signal.SIGTERM):
            logger.warning("mosquitto on port %d ended with status %d", self.port, child.returncode)

    def _write_files(self) -> Path:
        """Write password, rule and configuration file where Mosquitto's user can read them and nobody else."""
        passwords = [password_line(user.name, user.secret() or "", secrets.token_bytes(12)) for user in self.users]
        if self.data_dir is not None:
            try:
                self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._hand_over(self.data_dir)
            except OSError as error:
                raise ConfigError(
                    f"data_dir {self.data_dir}: {error}: choose a folder this program may write"
                ) from error
        files = Path(tempfile.mkdtemp(prefix="commonwatt-mosquitto-"))
        listeners = [Listener(host=self.host, port=self.port)]
        contents = {PASSWORDS: passwords, RULES: rule_lines(self.users)}
        if self.tls is not None and (certificate := self._issue()) is not None:
            listeners.append(Listener(host=self.tls.host, port=self.tls_port, tls=True))
            contents[CERTIFICATE] = [certificate.certificate.decode()]
            contents[PRIVATE_KEY] = [certificate.private_key.decode()]
        contents["mosquitto.conf"] = [*config_lines(listeners, files), *child_lines(self.data_dir)]
        for name, lines in contents.items():
            descriptor = os.open(files / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines)
            self._hand_over(files / name)
        self._hand_over(files)
        return files

    def _hand_over(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)


def _end(child: subprocess.Popen[str]) -> None:
    """Ask Mosquitto to end, and make it. It forgets a SIGTERM that comes just before its loop starts, so ask again."""
    give_up_at = _wall.monotonic() + _STOP_S
    while _wall.monotonic() < give_up_at:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(0.25)
            return
    child.kill()


def _service_account() -> pwd.struct_passwd | None:
    """Return the user to run Mosquitto as; None for the one we are."""
    if os.geteuid() != 0:
        return None
    for name in ("mosquitto", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    return None


def listen_problem(host: str, port: int) -> str | None:
    """Return why nobody can listen there now, as in `Address already in use`; None when one can."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return None
    except OSError as error:
        return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as server:
        return int(server.getsockname()[1])


def open_broker(
    kind: BrokerKind,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    users: Sequence[BrokerUser] = (),
    data_dir: Path | None = None,
    tls: TlsListener | None = None,
) -> Broker:
    """Return a broker that is not started yet; `auto` takes Mosquitto where it is installed."""
    if kind == "mosquitto" or (kind == "auto" and find_mosquitto() is not None):
        return MosquittoBroker(host, port, users, data_dir, tls)
    return EmbeddedBroker(host, port, users, tls)


def tls_listener(settings: BrokerSettings, identity: Identity | None = None) -> TlsListener | None:
    """Return where a broker listens for encrypted links, by its settings.

    Args:
        identity: Signs the certificate where the settings name no key.

    Raises:
        ConfigError: If there is no key to sign it with.
    """
    if settings.tls is None:
        return None
    if settings.tls.key_file is not None:
        identity = Identity.load(settings.tls.key_file)
    if identity is None:
        raise ConfigError('tls: whose key signs the certificate? Write key_file = "key.pem" below [tls]')
    return TlsListener(host=settings.tls.host, port=settings.tls.port, identity=identity)


async def run_broker(settings: BrokerSettings, on_ready: Callable[[Broker], None] | None = None) -> None:
    """Serve until cancelled, or until SIGTERM or SIGINT; a broker that dies is started again.

    Args:
        on_ready: Called once it serves; its `url` then has the real port.

    Raises:
        ConfigError: If it cannot serve.
    """
    broker = open_broker(
        settings.kind,
        host=settings.host,
        port=settings.port,
        users=settings.users,
        data_dir=settings.data_dir,
        tls=tls_listener(settings),
    )
    stopping = asyncio.Event()
    async with _on_stop_signals(stopping.set), broker:
        logger.info("%s broker serves on %s", broker.kind, broker.url)
        if on_ready is not None:
            on_ready(broker)
        while not stopping.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WATCH_S):
                    await stopping.wait()
            if stopping.is_set():
                break
            if broker.alive and broker.certificate_is_old(_wall.now()):
                logger.info("broker on %s starts anew for a new certificate", broker.url)
                await asyncio.to_thread(broker.stop)
                await asyncio.to_thread(broker.start)
            if not broker.alive:
                logger.error("broker on %s ended; starting it again", broker.url)
                await asyncio.to_thread(broker.start)


@contextlib.asynccontextmanager
async def _on_stop_signals(stop: Callable[[], None]) -> AsyncIterator[None]:
    """Call `stop` on SIGTERM and SIGINT. Outside the main thread nothing is set: there we are cancelled instead."""
    loop = asyncio.get_running_loop()
    wanted = (signal.SIGTERM, signal.SIGINT) if threading.current_thread() is threading.main_thread() else ()
    for signal_number in wanted:
        loop.add_signal_handler(signal_number, stop)
    try:
        yield
    finally:
        for signal_number in wanted:
            loop.remove_signal_handler(signal_number)
