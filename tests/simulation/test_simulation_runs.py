"""Long runs of the simulation: what is kept of them, what is remembered within a history, and that each one ends."""

import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import pytest
import sim_world
from sim_checks import ViolationError
from sim_faults import Faults, faults_of
from sim_keys import signatures
from sim_results import BESIDE, Outcome, Results, Seed, Sum, read
from sim_world import START_S, World, make_charter
from simulate import run

from coordinator.charter import Rules
from coordinator.codec import Verifier, encode
from coordinator.errors import RemoteProtocolError
from coordinator.messages import PositionRequest

NOW = datetime.fromtimestamp(START_S, UTC)


def outcome(number: int, **more: str) -> Outcome:
    count = Counter(messages=10, lost=2, contracts=3, counted=2)
    plain = {"violation": "", "trace": "0f" * 16, **more}
    return Outcome(seed=Seed(number=number), count=count, cpu_s=1.5, **plain)  # type: ignore[arg-type]


def test_a_run_that_was_stopped_goes_on_with_all_it_had(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "days.jsonl"
    stopped = Results(path, "7f")
    stopped.add(outcome(1))
    stopped.add(outcome(2, violation="I1: sold twice"))
    with path.open("a") as file:
        file.write('{"seed": {"number": 3, "li')  # the power went
    again = Results(path, "7f")
    assert list(again.outcomes.values()) == [outcome(1), outcome(2, violation="I1: sold twice")]
    again.add(outcome(3))
    assert Results(path, "7f").outcomes.keys() == {Seed(number=1), Seed(number=2), Seed(number=3)}


def test_days_of_different_programs_are_not_added_up(tmp_path: Path) -> None:
    path = tmp_path / "days.jsonl"
    Results(path, "7f").add(outcome(1))
    with pytest.raises(SystemExit, match="another version of the code"):
        Results(path, "80")
    assert read(path).outcomes.keys() == {Seed(number=1)}


def test_no_history_runs_what_the_version_of_the_code_leaves_out() -> None:
    """Else days of different programs would be added up after all."""
    called: set[str] = set()

    def note(frame: FrameType, event: str, arg: object) -> None:
        if event == "call":
            called.add(frame.f_code.co_filename)

    for seed in (Seed(number=32, slots=4), Seed(number=2, liars=True, slots=4)):
        assert faults_of(32).real
        sys.setprofile(note)
        try:
            outcome = run(seed)
        finally:
            sys.setprofile(None)
        assert not outcome.violation
    modules = {Path(name).stem for name in called if Path(name).parent.name == "coordinator"}
    assert {"desk", "statements", "ledger_store"} <= modules
    assert not modules & BESIDE


def test_a_sum_says_days_rate_faults_and_violations() -> None:
    total = Sum()
    for number in range(4):
        total.add(outcome(number, violation="I3: one side" if number == 2 else ""))
    words = total.words("all honest")
    assert "2.0 neighbourhood-days of 6 homes, all honest: 1 violations" in words
    assert "1,200 days per CPU-hour" in words
    assert "4 seeds; 40 messages, 8 lost" in words
    assert "12 countersigned, 8 counted, 4 void" in words


def test_what_is_remembered_of_a_message_is_no_other_ones_and_decides_for_nobody() -> None:
    with signatures(real=False) as keys:
        homes = [keys.from_seed(bytes([n]) * 32) for n in range(3)]
        charter = make_charter(homes, Rules())
        message = PositionRequest(
            community=charter.terms,
            sender=homes[0].id,
            to=homes[1].id,
            inc=1,
            seq=1,
            sent_ms=START_S * 1000,
            expires_ms=START_S * 1000 + 1000,
            slot=START_S,
        )
        wire = encode(message, homes[0]).wire
        receiver, stranger = Verifier(charter, homes[1].id), Verifier(charter, homes[2].id)
        assert receiver.verify(wire, NOW).message == message
        forged = wire.replace(b'"seq":1', b'"seq":2')
        for _ in range(2):
            with pytest.raises(RemoteProtocolError, match="signature does not fit"):
                receiver.verify(forged, NOW)
            with pytest.raises(RemoteProtocolError, match="meant for somebody else"):
                stranger.verify(wire, NOW)
        with pytest.raises(RemoteProtocolError, match="expired"):
            receiver.verify(wire, datetime.fromtimestamp(START_S + 2, UTC))


def test_a_history_without_an_end_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sim_world, "ENDLESS", 2000)
    with signatures(real=False) as keys:
        world = World(3, Faults(), slots=1, keys=keys)

        def again() -> None:
            world.at(world.now_ms, again)

        again()
        with pytest.raises(ViolationError, match="never ends"):
            world.live()
