"""Logging for commands that run for long."""

import logging


def log_to_stderr(level: int = logging.INFO) -> None:
    """Log to standard error, one line per change of state; systemd adds its own time but terminals do not."""
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)-7s %(message)s", datefmt="%Y-%m-%d %H:%M:%S")
    for name in ("amqtt", "transitions", "apscheduler", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
