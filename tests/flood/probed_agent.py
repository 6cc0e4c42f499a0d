"""`commonwatt run` with a probe beside it: how late its loop comes to what is due, written to a file.

python tests/flood/probed_agent.py --config home.toml --probe FILE
"""

import argparse
import asyncio
import signal
import sys
import time
from pathlib import Path

from agent.cli.home import _run_home
from agent.cli.logs import log_to_stderr
from agent.config import load_config

PERIOD_S = 0.02


async def probe(path: Path) -> None:
    """Note (moment, lateness) in seconds, both on the clock that never jumps."""
    with path.open("w", buffering=1) as file:
        while True:
            due_s = time.monotonic() + PERIOD_S
            await asyncio.sleep(PERIOD_S)
            now_s = time.monotonic()
            file.write(f"{now_s:.4f} {now_s - due_s:.5f}\n")


async def run(config: Path, path: Path) -> None:
    tasks = asyncio.gather(_run_home(load_config(config), config, True), probe(path))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, tasks.cancel)
    try:
        await tasks
    except asyncio.CancelledError:
        return


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--probe", type=Path, required=True)
    options = parser.parse_args()
    log_to_stderr()
    asyncio.run(run(options.config, options.probe))
    return 0


if __name__ == "__main__":
    sys.exit(main())
