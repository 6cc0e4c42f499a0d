"""What must outlive the guard: a person's stop, that control was given up, and how often registers were written."""

from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from agent.devices.budget import DayCounts, WriteBudget
from agent.devices.schema import Profile
from agent.durable import remove_durably, write_durably

STOPPED = "control-stopped"
GIVEN_UP = "control-given-up"
RESUME = "`commonwatt stop --resume` lets it begin again"


class FileBrakes:
    """Implements `agent.control.ports.Brakes` by two files in the home's data folder.

    A file that cannot be looked at counts as there: in doubt the battery is left alone.
    """

    def __init__(self, data_dir: Path) -> None:
        self._stopped = data_dir / STOPPED
        self._given_up = data_dir / GIVEN_UP
        self._proven = False

    def prove(self) -> None:
        """Show once for this process that the folder takes a file such as these; each trial wears its memory."""
        if not self._proven:
            trial = self._given_up.with_name(f"{GIVEN_UP}.trial")
            write_durably(trial, "whether it could be kept here that control was given up")
            remove_durably(trial)
            self._proven = True

    def stopped(self) -> str | None:
        said = _read(self._stopped)
        return None if said is None else f"control was stopped by {said or 'its owner'}; {RESUME}"

    def given_up(self) -> str | None:
        return _read(self._given_up)

    def stop(self, who: str) -> None:
        """Stop control until `resume`.

        Raises:
            ConfigError: If that cannot be kept.
        """
        write_durably(self._stopped, who)

    def give_up(self, why: str) -> None:
        write_durably(self._given_up, why)

    def resume(self) -> None:
        """Let control begin again, whoever ended it.

        Raises:
            ConfigError: If that cannot be kept.
        """
        remove_durably(self._given_up)
        remove_durably(self._stopped)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError):
        return "a person, it seems: the file that says so cannot be read"


def open_budget(data_dir: Path, device: str, profile: Profile, brakes: FileBrakes) -> WriteBudget:
    """Return the write budget of a device, with what was written before this process began.

    Counts that cannot be read are put aside, and control is given up until a person has looked.
    """
    path = data_dir / f"writes-{device}.json"
    kept = TypeAdapter(DayCounts)

    def keep(counts: DayCounts) -> None:
        write_durably(path, kept.dump_json(DayCounts(**asdict(counts))).decode())

    try:
        counts = kept.validate_json(path.read_bytes())
    except FileNotFoundError:
        counts = None
    except (OSError, ValidationError):
        counts = None
        brakes.give_up(f"{path} says how often registers were written today and cannot be read")
        path.replace(path.with_name(f"{path.name}.damaged"))
    return WriteBudget(profile, counts, keep)
