"""Asks on the terminal what an import was not told."""

from collections.abc import Sequence

import typer
from rich.console import Console

from agent.cli.import_view import columns_view
from agent.imports.columns import ROLES, Column, Kind, Role, Unit, Wanted, unit_of
from coordinator.errors import ConfigError

_NONE = "-"
_INSTEAD: dict[Role, tuple[Role, ...]] = {
    "grid": ("grid_import", "grid_export"),
    "battery": ("battery_charge", "battery_discharge"),
}


class Questions:
    """Asks, or says which option was missing where nobody can be asked."""

    def __init__(self, *, on: bool) -> None:
        self.on = on

    def text(self, what: str, option: str) -> str:
        """Return the answer.

        Raises:
            ConfigError: If nobody can be asked.
        """
        if not self.on:
            raise ConfigError(f"{what}: not told: give {option}")
        answer: str = typer.prompt(what, err=True)
        return answer.strip()

    def number(self, what: str, option: str) -> float:
        """Return the answer as a number; asks again for what is none. Raises as `text`."""
        while True:
            try:
                return float(self.text(what, option).replace(",", "."))
            except ValueError:
                typer.echo("Write a number, such as 0.32.", err=True)

    def columns(self, offered: Sequence[Column]) -> list[Wanted]:
        """Ask role by role which columns play it."""
        Console(stderr=True, highlight=False).print(columns_view(list(offered)))
        typer.echo("Answer with numbers of the list, several with commas; - for none.", err=True)
        found: list[Wanted] = []
        for role, words in ROLES.items():
            told = {each.role for each in found}
            if ("load" in told and role != "pv") or told & set(_INSTEAD.get(role, ())):
                continue
            taken = {each.name for each in found}
            for column in self._columns_of(role, words, offered, taken):
                found.append(self._certain(role, column))
        return found

    def _columns_of(self, role: Role, words: str, offered: Sequence[Column], taken: set[str]) -> list[Column]:
        likely = [str(n) for n, each in enumerate(offered, start=1) if each.role == role and each.name not in taken]
        while True:
            question = f"{role.replace('_', ' ')}: {words}"
            answer = typer.prompt(question, default=",".join(likely) or _NONE, err=True).strip()
            if answer == _NONE:
                return []
            try:
                numbers = [int(part) for part in answer.split(",")]
                if all(1 <= number <= len(offered) for number in numbers):
                    return [offered[number - 1] for number in numbers]
            except ValueError:
                pass
            typer.echo(f"Write numbers from 1 to {len(offered)}, or -.", err=True)

    def _certain(self, role: Role, column: Column) -> Wanted:
        """Ask for the unit and the kind where the source does not tell them."""
        unit = column.unit or self._unit(column.name)
        kind: Kind | None = "power" if unit.power else column.kind
        if kind is None:
            counts = typer.confirm(f"{column.name}: does it count up (a meter's reading)?", default=True, err=True)
            kind = "counter" if counts else "energy"
        inverted = False
        if role in _INSTEAD:
            way = "import" if role == "grid" else "discharge"
            inverted = not typer.confirm(f"{column.name}: is {way} positive?", default=True, err=True)
        return Wanted(role=role, name=column.name, unit=unit, kind=kind, inverted=inverted)

    def _unit(self, name: str) -> Unit:
        while True:
            if (unit := unit_of(self.text(f"{name}: its unit (W, kW, Wh, kWh)", "it"))) is not None:
                return unit
            typer.echo("Write W, kW, Wh or kWh.", err=True)
