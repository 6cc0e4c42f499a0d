"""What a study found, in plain sentences: alike in the terminal and on the page."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from agent.dashboard import words
from agent.planning.problem import Floats
from agent.study.books import homes_worse_off
from agent.study.engine import Answer, Question
from agent.study.life import Strategy
from agent.study.lives import Lives
from agent.study.segments import PART_DAYS, RUN_IN_DAYS
from coordinator.quantities import MICRO

NAMES: dict[Strategy, str] = {
    "no_battery": "Without batteries",
    "self_consumption": "Batteries keep the own sun",
    "alone": "Every home plans alone",
    "auction": "Alone, then an auction",
    "traded": "Together: Commonwatt",
    "central": "One computer plans for all",
    "perfect": "If the future were known",
}

_FORECASTS = {
    "naive": "the mean of the seven days before",
    "model": "the product's own forecasts, learned anew every {refit_days} days",
    "perfect": "the truth itself, which nobody has: take the result as an upper limit",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A study with its answer.

    Args:
        figures: As `agent.study.figures` has them.
        notes: What a reader must know of the record.
    """

    lives: Lives
    question: Question
    answer: Answer
    figures: dict[str, Any]
    notes: Sequence[str]

    @property
    def asked(self) -> list[Strategy]:
        """The strategies, in the order of their definition."""
        return [name for name in NAMES if name in self.answer.parts]

    def bill(self, strategy: Strategy) -> float:
        return float(self.figures["strategies"][strategy]["bill"])

    def home_bill(self, strategy: Strategy, home: str) -> float:
        return float(self.figures["strategies"][strategy]["homes"][home]["bill"])

    @property
    def reference(self) -> Strategy | None:
        """What each home's saving is counted from: its life alone, or the next that was asked for."""
        ways: tuple[Strategy, ...] = ("alone", "self_consumption", "no_battery")
        return next((name for name in ways if name in self.answer.parts), None)

    @property
    def baseline(self) -> Strategy | None:
        """What the community's saving is counted from: the cheaper life without neighbours."""
        ways: tuple[Strategy, ...] = ("alone", "self_consumption")
        return min((name for name in ways if name in self.answer.parts), key=self.bill, default=None)

    def gains(self) -> dict[str, float]:
        """Return what each home saves by trading, in the order of the record; empty without both lives."""
        if self.reference is None or "traded" not in self.answer.parts:
            return {}
        return {
            life.name: self.home_bill(self.reference, life.name) - self.home_bill("traded", life.name)
            for life in self.lives.homes
        }

    @property
    def days(self) -> float:
        return self.question.slots * self.question.first.length_s / 86_400


def money(study: Study, value: float) -> str:
    return words.amount(Decimal(str(round(value, 6))), study.lives.currency)


def span_words(study: Study) -> str:
    """Say the period in local days, the last one included."""
    zone, first = study.lives.timezone, study.question.first
    start = first.start_at.astimezone(zone)
    last = (first.shifted(study.question.slots).start_at - timedelta(seconds=1)).astimezone(zone)
    if start.date() == last.date():
        return f"{start.day} {start:%B %Y}"
    return f"{start.day} {start:%B %Y} to {last.day} {last:%B %Y}"


def head_words(study: Study) -> str:
    length = study.question.first.length_s // 60
    return f"{_homes(len(study.lives.homes))}, {span_words(study)}, slots of {length} minutes"


def found_words(study: Study) -> list[str]:
    """Say the answer: what all save, how much of what is possible, and whether anybody loses."""
    if "traded" not in study.answer.parts or study.baseline is None:
        return []
    base = study.bill(study.baseline)
    saved = base - study.bill("traded")
    share = f" ({100 * saved / base:.1f} %)" if base > 0 else ""
    said = [
        f"By trading with each other all homes together {'save' if saved >= 0 else 'lose'} "
        f"{money(study, abs(saved))}{share} against the best they can do without neighbours."
    ]
    captured, of_central = study.figures["captured"], study.figures["captured_of_central"]
    if captured is not None:
        said.append(f"That is {_share(captured)} of what could have been saved by somebody who knew the future.")
    if of_central is not None:
        said.append(f"It is {_share(of_central)} of what one computer with everybody's data would have saved.")
    return [*said, *_loser_words(study)]


def _share(share: float) -> str:
    """Say a share so that 99.9 % never reads as all of it."""
    return f"{100 * share:.2f} %" if 0.99949 <= share < 1 else f"{100 * share:.1f} %"


def _loser_words(study: Study) -> list[str]:
    if "alone" not in study.answer.parts:
        return []
    worse = study.figures["homes_worse_off"]
    if worse is None:
        return ["Who loses cannot be said of less than seven days."]
    gains = study.gains().values()
    more = sum(gain < 0 for gain in gains)
    if worse:
        return [f"{_homes(worse)} of {len(gains)} would have paid notably more than alone."]
    if more:
        return [f"{_homes(more)} of {len(gains)} would have paid a little more than alone, none notably."]
    return ["No home would have paid more than alone."]


def _homes(count: int) -> str:
    return "1 home" if count == 1 else f"{count} homes"


def assumptions(study: Study) -> list[str]:
    """Return what the figures rest on, a sentence each."""
    return [*_how(study), *_money_words(study), *study.notes]


def _how(study: Study) -> list[str]:
    question = study.question
    minutes, horizon = question.first.length_s // 60, question.options.rules.horizon_slots
    forecast = _FORECASTS[question.forecast].format(refit_days=question.refit_days)
    batteries = [life.battery for life in study.lives.homes if life.battery]
    sizes = sum(battery.capacity_wh for battery in batteries) / 1000
    said = [
        "People live as the record says: load and sun are what the meters saw, whatever the prices.",
        f"Every {minutes} minutes each home plans its next {horizon * minutes / 60:.0f} hours, knowing only what was "
        f"metered before. What it expects is {forecast}.",
        f"{len(batteries)} of {_homes(len(study.lives.homes))} have a battery, {sizes:.1f} kWh together, used from "
        f"empty to full; wear of {money(study, question.options.wear_per_kwh)} per kWh is planned with, but is in no "
        "bill.",
        "Every home and every device can be reached all the time.",
    ]
    if study.days >= 1.5 * PART_DAYS:
        said.append(
            f"The period is computed in parts of {PART_DAYS} days; the batteries of every part but the first begin "
            f"half full, {RUN_IN_DAYS} days before anything is counted."
        )
    return said


def _money_words(study: Study) -> list[str]:
    question, lives = study.question, study.lives
    at = lives.index(question.first)
    span = slice(at, at + question.slots)
    buys = np.concatenate([life.import_micro[span] for life in lives.homes]) / MICRO
    sells = np.concatenate([life.export_micro[span] for life in lives.homes]) / MICRO
    rule = words.PRICE_RULES[question.options.rules.price_rule]
    return [
        f"The grid asks {_range(study, buys)} per kWh and pays {_range(study, sells)}; what a neighbour sells or buys "
        "is free of grid fees and taxes, and there are no fixed charges.",
        f"Price between neighbours: {rule}. What forecasts missed is traded afterwards, halfway between the grid's two "
        "prices.",
        "Energy left in a battery at the end counts at the cheapest quarter of the period's prices.",
    ]


def _range(study: Study, prices: Floats) -> str:
    low, high = (words.price(float(value), study.lives.currency) for value in (prices.min(), prices.max()))
    return low if low == high else f"{low} to {high}"


def worse_off(study: Study, home: str) -> bool:
    """Return whether one home is worse off by the definition."""
    if study.reference is None:
        return False
    one, other = (Decimal(str(study.home_bill(name, home))) for name in (study.reference, "traded"))
    return bool(homes_worse_off([one], [other], study.days))
