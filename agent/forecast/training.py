"""Learning in a process of its own: whatever it takes is given back, and the agent goes on meanwhile."""

import copy
import os
import pickle
import resource
import subprocess
import sys
from dataclasses import dataclass

from agent.forecast.forecaster import Forecaster
from agent.forecast.history import History
from agent.forecast.members import BOOSTING_DAYS_MIN
from agent.forecast.naive import DAY_S
from agent.forecast.weather import Weather
from coordinator.errors import CommonwattError

MEMORY_MAX_BYTES = 768 * 2**20
"""More than twice what a year of quarter hours needs; a Pi with 1 GB survives it."""
_TIMEOUT_S = 1800.0
_NICENESS = 10


class TrainingError(CommonwattError):
    """The forecasts could not be learned anew; those there are stay in use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A fitted forecaster and what fitting took.

    Args:
        cpu_s: CPU seconds of learning, the start of the process not counted; 0 where no process was needed.
        peak_mb: Its largest resident memory.
    """

    forecaster: Forecaster
    cpu_s: float
    peak_mb: float


def train(forecaster: Forecaster, history: History, weather: Weather | None = None) -> Trained:
    """Fit a copy of the forecaster in another process and return it; short histories, quickly learned, right here.

    Raises:
        TrainingError: If the process failed, or took too long or too much memory.
    """
    if history.slots * history.first.length_s < BOOSTING_DAYS_MIN * DAY_S:
        fitted = copy.deepcopy(forecaster)
        try:
            fitted.fit(history, weather)
        except (ValueError, ArithmeticError) as error:  # as from the process: what is in use stays, the agent goes on
            raise TrainingError(f"forecasts could not be learned anew: {error}") from error
        return Trained(forecaster=fitted, cpu_s=0.0, peak_mb=0.0)
    command = [sys.executable, "-m", "agent.forecast.training"]
    task = pickle.dumps((forecaster, history, weather))
    try:
        done = subprocess.run(command, input=task, capture_output=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TrainingError(f"forecasts could not be learned anew: {error}") from None
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise TrainingError(f"forecasts could not be learned anew: {last[0]}")
    fitted, cpu_s, peak_mb = pickle.loads(done.stdout)
    return Trained(forecaster=fitted, cpu_s=cpu_s, peak_mb=peak_mb)


def _child() -> None:
    """Read a task from standard input, write the answer to standard output."""
    os.nice(_NICENESS)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_MAX_BYTES, MEMORY_MAX_BYTES))
    forecaster, history, weather = pickle.load(sys.stdin.buffer)
    before = resource.getrusage(resource.RUSAGE_SELF)
    forecaster.fit(history, weather)
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    answer = (forecaster, cpu_s, used.ru_maxrss / 1024)
    sys.stdout.buffer.write(pickle.dumps(answer))


if __name__ == "__main__":
    _child()
