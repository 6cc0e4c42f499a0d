"""Tells systemd that the guard is ready and alive (`Type=notify`, `WatchdogSec=`), by its datagram socket."""

import os
import socket


def notify_systemd(state: str) -> None:
    """Send a state such as `READY=1` or `WATCHDOG=1`; nothing where systemd did not ask for it (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifier:
        notifier.setblocking(False)
        try:
            notifier.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
        except OSError:
            return  # who does not hear us, ends us: that is what a watchdog is for
