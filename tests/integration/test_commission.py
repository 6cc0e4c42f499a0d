"""`commonwatt commission` against a simulated house: what is right becomes a record, what is wrong is named."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path

import pytest
import yaml
from commission_stage import House, Script, Stage, stage
from rich.console import Console
from running_home import devices, first_home, narrow_hybrid

from agent.cli.commission import Lines, Terminal, read_answers
from agent.cli.commission import commission as commission_command
from agent.commission import Times
from agent.commission_talk import Ask, Look
from agent.data_folder import only_guard
from agent.devices.commissioning import (
    CommissioningError,
    CommissioningRecord,
    profile_id,
    read_record,
    read_signed,
    record_path,
)
from agent.devices.profile import load_profile, profiles_folder
from agent.guard_state import FileBrakes
from coordinator.errors import ConfigError

BRIEF = Times(pulse_s=20, settle_s=4, load_s=10)
QUICK = (("#reversion_s = 60", "reversion_s = 20"),)
"""A shorter timer in the device."""


def commissioned(folder: Path, fault: str | None = None, **options: object) -> tuple[CommissioningRecord, Script]:
    """Commission a house that is in order; return the record as the guard reads it, and what was said."""

    async def main() -> tuple[CommissioningRecord, Script]:
        async with stage(folder, fault, edits=QUICK, **options) as it:  # type: ignore[arg-type]
            path = await it.run(BRIEF)
            assert it.commanded_w is None, "the battery is on its own again"
            device = "Commonwatt/Simulated hybrid inverter/exhibit"
            profile = profile_id(load_profile("sunspec_hybrid"))
            assert path == record_path(it.config.home.data_dir, "inverter")
            return read_record(path, it.identity.public_key, profile, device), it.script

    return asyncio.run(main())


def refused(
    folder: Path,
    fault: str | None = None,
    prepare: Callable[[Stage], Awaitable[None] | None] = lambda it: None,
    **options: object,
) -> str:
    """Commission a house in which something is wrong; return why it was refused."""

    async def main() -> str:
        edits = (*QUICK, *options.pop("edits", ()))  # type: ignore[misc]
        async with stage(folder, fault, edits=edits, **options) as it:  # type: ignore[arg-type]
            waiting = prepare(it)
            if waiting is not None:
                await waiting
            with pytest.raises((CommissioningError, ConfigError)) as caught:
                await it.run(BRIEF)
            assert it.commanded_w is None, "the battery is on its own again"
            assert not record_path(it.config.home.data_dir, "inverter").exists()
            return str(caught.value)

    return asyncio.run(main())


def test_a_house_in_order_gets_a_signed_record_of_what_was_measured(tmp_path: Path) -> None:
    record, script = commissioned(tmp_path)
    assert script.asked == ["grid", "sun", "battery", "load", "load_off", "pulse", "limits"]
    assert [(step.what, step.by) for step in record.steps] == [
        ("grid", "owner"),
        ("sun", "owner"),
        ("battery", "owner"),
        ("load", "agent"),
        ("charge", "agent"),
        ("give", "agent"),
        ("reversion", "agent"),
        ("limits", "owner"),
    ]
    steps = {step.what: step for step in record.steps}
    assert steps["load"].measured["load_w"] == 2000
    assert steps["charge"].measured["battery_w"] == pytest.approx(-200, abs=2)
    assert steps["charge"].measured["grid_w"] == pytest.approx(200, abs=2)
    assert steps["give"].measured["battery_w"] == pytest.approx(200, abs=2)
    assert steps["grid"].at.tzinfo == UTC
    assert 20 <= (record.reversion_s or 0) <= 26
    assert record.envelope.model_dump() == {"charge_w": 5000, "discharge_w": 5000, "reserve_pct": 20, "max_pct": 95}
    assert (record.identity.serial, record.link.partition(" at ")[0]) == ("exhibit", "unit 1")


def test_what_the_device_bears_less_than_its_owner_allows_is_said_and_that_is_agreed(tmp_path: Path) -> None:
    profile = narrow_hybrid(tmp_path, 4000, (25, 100))

    async def main() -> None:
        async with stage(tmp_path, edits=(*QUICK, ('profile = "sunspec_hybrid"', f'profile = "{profile}"'))) as it:
            record = read_signed(await it.run(BRIEF), it.identity.public_key)
            agreed = {"charge_w": 4000, "discharge_w": 4000, "reserve_pct": 25, "max_pct": 95}
            assert record.envelope.model_dump() == agreed
            said = "charging with 4 kW, not 5; giving 4 kW, not 5; down to 25 %, not 20."
            assert any(text.startswith("inverter: by its profile") and text.endswith(said) for text in it.script.told)

    asyncio.run(main())


def test_nothing_is_written_before_the_owner_allowed_the_pulse(tmp_path: Path) -> None:
    async def main() -> None:
        async with stage(tmp_path) as it:
            it.script.answers["pulse"] = ["no"]
            with pytest.raises(CommissioningError, match="stopped before the pulse"):
                await it.run(BRIEF)
            assert it.exhibit.device.writes == []

    asyncio.run(main())


@pytest.mark.parametrize("fault", ["long_timer", "sluggish"])
def test_a_device_that_is_only_slow_passes(tmp_path: Path, fault: str) -> None:
    async def main() -> CommissioningRecord:
        async with stage(tmp_path, fault) as it:
            path = await it.run()
            return CommissioningRecord.model_validate_json(path.read_bytes().splitlines()[0])

    record = asyncio.run(main())
    reversion_s = record.reversion_s or 0
    # What the timer says is 60 s; what it does is kept.
    assert (78 <= reversion_s <= 90) if fault == "long_timer" else (60 <= reversion_s <= 75)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("opposite_sign", "inverter shows the opposite: name a copy of profile sunspec_hybrid in which `sign`"),
        ("no_reversion", "after the last word the battery still does what it was told, although its timer says 20 s"),
        ("minutes", "the battery still does what it was told"),
        ("short_timer", "or its timer is not in seconds"),
        ("ack_only", "took the command and did nothing: allow external control in the inverter's menu"),
        ("percent", "per cent instead of watts"),
        ("undone", "something else takes commands back"),
        ("leaves_remote", "something else takes commands back"),
        ("half_write", "nothing would end a command when this computer fails"),
    ],
)
def test_a_device_with_a_fault_gets_no_record_and_the_owner_is_told_what_to_do(
    tmp_path: Path, fault: str, words: str
) -> None:
    assert words in refused(tmp_path, fault)


UNLOCKED = 'unlock_no_reversion = "I know that nothing ends the last command when this computer or its link fails"'


@pytest.mark.parametrize("unlocked", [False, True])
def test_a_device_without_a_timer_passes_only_with_the_owner_s_whole_sentence(tmp_path: Path, unlocked: bool) -> None:
    data = yaml.safe_load((profiles_folder() / "sunspec_hybrid.yaml").read_text())
    data["profile"] = "timerless"
    control = data["control"]["battery_w"]
    timer, control["timer"] = control["timer"], None
    for part in ("prepare", "cycle", "release"):
        control[part] = [step for step in control.get(part, []) if step["write"] != timer]
    control["confirm"]["read_back"] = [name for name in control["confirm"]["read_back"] if name != timer]
    control["when_we_vanish"]["by"] = "nobody"
    (tmp_path / "timerless.yaml").write_text(yaml.safe_dump(data))
    own = f'profile = "{tmp_path / "timerless.yaml"}"'
    edits = (('profile = "sunspec_hybrid"', f"{own}\n{UNLOCKED}" if unlocked else own),)
    if not unlocked:
        assert "writes unlock_no_reversion under [devices.inverter]" in refused(tmp_path, edits=edits)
        return

    async def main() -> CommissioningRecord:
        async with stage(tmp_path, edits=edits) as it:
            path = await it.run(BRIEF)
            return CommissioningRecord.model_validate_json(path.read_bytes().splitlines()[0])

    record = asyncio.run(main())
    assert record.reversion_s is None
    assert "reversion" not in {step.what for step in record.steps}


def clouded(at_s: int, drop_w: float, doing: str = "silent") -> Callable[[Stage], None]:
    """Return what lets a cloud come so long after the last word."""

    def prepare(it: Stage) -> None:
        async def look(look: Look, times: int) -> None:
            if look.doing.startswith(doing) and look.since_s >= at_s:
                it.house.sun = 1500.0 - drop_w

        it.script.on_look = look

    return prepare


@pytest.mark.parametrize("drop_w", [150.0, 1200.0, -2000.0])
@pytest.mark.parametrize("at_s", [4, 15])
def test_s6_a_cloud_proves_no_timer(tmp_path: Path, at_s: int, drop_w: float) -> None:
    # The setpoint is sun and battery together: whatever the sun does, the battery does the opposite under command.
    said = refused(tmp_path, "no_reversion", prepare=clouded(at_s, drop_w))
    assert "after the last word the battery still does what it was told, although its timer says 20 s" in said


def test_s6_a_battery_at_its_limit_proves_no_timer(tmp_path: Path) -> None:
    # More sun than the setpoint and the battery take: the inverter cannot obey, and has not forgotten its command.
    said = refused(tmp_path, "no_reversion", prepare=clouded(15, -6000.0))
    assert "after the last word the battery still shows set_enable 1, although its timer says 20 s" in said


@pytest.mark.parametrize("drop_w", [150.0, -2000.0])
def test_a_cloud_hides_no_timer(tmp_path: Path, drop_w: float) -> None:
    async def main() -> int:
        async with stage(tmp_path, edits=QUICK) as it:
            clouded(4, drop_w)(it)
            path = await it.run(BRIEF)
            return CommissioningRecord.model_validate_json(path.read_bytes().splitlines()[0]).reversion_s or 0

    assert 20 <= asyncio.run(main()) <= 26


def turned_meter(folder: Path) -> tuple[tuple[str, str], ...]:
    """Return the edit that reads the meter by a profile with the opposite sign."""
    data = yaml.safe_load((profiles_folder() / "eastron_sdm630.yaml").read_text())
    data["profile"] = "turned"
    data["checks"] = []
    for name, spec in data["points"].items():
        if name.endswith("_w"):
            spec["sign"] = "export"
    (folder / "turned.yaml").write_text(yaml.safe_dump(data))
    return (('profile = "eastron_sdm630"', f'profile = "{folder / "turned.yaml"}"'),)


def test_f34_a_meter_that_counts_the_wrong_way_is_found_by_the_kettle(tmp_path: Path) -> None:
    said = refused(tmp_path, edits=turned_meter(tmp_path))
    assert "the load was switched on and meter shows less import" in said
    assert "copy of profile turned in which `sign` of grid_w is the opposite" in said


def at_once(it: Stage) -> None:
    """Let the battery follow the house without any delay."""
    battery = it.exhibit.live.plant.battery
    assert battery is not None
    it.exhibit.live.plant.battery = replace(battery, lag_s=0.0)


def test_f34_a_meter_whose_wrong_way_no_kettle_showed_is_found_by_the_pulse(tmp_path: Path) -> None:
    # The battery meets the load before the meter is looked at again.
    said = refused(tmp_path, prepare=at_once, edits=turned_meter(tmp_path))
    assert "meter moved the other way: it counts the wrong way round" in said


@pytest.mark.parametrize(("key", "device"), [("grid", "meter"), ("sun", "inverter"), ("battery", "inverter")])
def test_values_that_the_owner_does_not_recognise_end_it(tmp_path: Path, key: str, device: str) -> None:
    said = refused(tmp_path, prepare=lambda it: it.script.answers.update({key: ["again", "no"]}))
    assert f"what [devices.{device}] shows is not what the device shows: check its url and unit" in said


def test_a_load_that_nothing_sees_is_asked_for_again_and_then_ends_it(tmp_path: Path) -> None:
    scripts: list[Script] = []

    def lazy(it: Stage) -> None:
        it.script.obeys = False
        scripts.append(it.script)

    assert "neither meter nor the battery saw the load" in refused(tmp_path, prepare=lazy)
    assert scripts[0].asked.count("load") == 3


def test_a_house_that_is_restless_for_a_while_is_measured_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with stage(tmp_path, edits=QUICK) as it:

            async def oven(look: Look, times: int) -> None:
                it.house.load = 1400.0 if look.doing.startswith("it charges") and 5 <= times <= 12 else 600.0

            it.script.on_look = oven
            await it.run(BRIEF)
            assert "The meter does not show the pulse" in " ".join(it.script.told)

    asyncio.run(main())


def test_a_full_battery_is_no_moment_for_a_pulse(tmp_path: Path) -> None:
    def fill(it: Stage) -> None:
        it.exhibit.live.plant.stored_wh = 9500.0

    assert "the battery is at 95 % and your limits are 20 and 95 %" in refused(tmp_path, prepare=fill)


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        (
            (('profile = "sunspec_hybrid"', 'profile = "sungrow_sh"\nparameters = { meter = "other" }'),),
            "write unlock_control = true under [devices.inverter]",
        ),
        ((('profile = "sunspec_hybrid"', 'profile = "sunspec_pv"'),), "no device here has a battery that can be"),
        ((('profile = "eastron_sdm630"', 'profile = "sunspec_pv"'),), "exactly one device must measure grid_w"),
        ((("#reserve_pct = 20.0", "reserve_pct = 50.0"),), "a pulse needs room both ways"),
    ],
)
def test_what_cannot_be_commissioned_is_said_with_its_cure(
    tmp_path: Path, edits: tuple[tuple[str, str], ...], words: str
) -> None:
    assert words in refused(tmp_path, edits=edits)


def test_a_stop_by_the_owner_holds_for_commissioning_too(tmp_path: Path) -> None:
    def stop(it: Stage) -> None:
        FileBrakes(it.config.home.data_dir).stop("its owner")

    assert "control was stopped by its owner" in refused(tmp_path, prepare=stop)


@pytest.mark.parametrize("sun_w", [0.0, 6000.0])
def test_s2_the_owner_may_think_as_long_as_he_likes_before_the_first_command(tmp_path: Path, sun_w: float) -> None:
    async def main() -> list[float]:
        async with stage(tmp_path, edits=QUICK) as it:
            asked, told_w = it.script.ask, []

            async def ponder(question: Ask) -> str:
                if question.key == "pulse":
                    it.house.sun = sun_w
                    it.clock.advance(timedelta(minutes=10))
                return await asked(question)

            async def measure(look: Look, times: int) -> None:
                if it.commanded_w is not None:
                    told_w.append(it.commanded_w - it.house.sun)

            it.script.ask = ponder  # type: ignore[method-assign]
            it.script.on_look = measure
            await it.run(BRIEF)
            return told_w

    assert {round(power_w) for power_w in asyncio.run(main())} == {-200, 0, 200}


@pytest.mark.parametrize("limit", ["charge_kw", "discharge_kw"])
def test_s2_a_pulse_beyond_the_owner_s_limits_is_not_given(tmp_path: Path, limit: str) -> None:
    said = refused(tmp_path, edits=((f"{limit} = 5.0", f"{limit} = 0.15"),))
    assert "[battery] allows 150 W, less than the 200 W that show whether the battery obeys" in said


MOMENTS = [
    ("the battery rests", 1),
    ("the battery rests", 8),
    ("it charges with 200 W", 2),
    ("it gives 200 W", 6),
    ("once more under command", 4),
    ("silent: it must return by itself", 3),
]


@pytest.mark.parametrize(("doing", "times"), MOMENTS)
def test_ctrl_c_at_any_moment_hands_the_battery_back_at_once(tmp_path: Path, doing: str, times: int) -> None:
    async def main() -> None:
        async with stage(tmp_path, edits=QUICK) as it:
            task = asyncio.ensure_future(it.run(BRIEF))

            async def interrupt(look: Look, count: int) -> None:
                if (look.doing, count) == (doing, times):
                    assert it.commanded_w is not None
                    task.cancel()

            it.script.on_look = interrupt
            with pytest.raises(asyncio.CancelledError):
                await task
            assert it.commanded_w is None
            assert it.script.told[-1] == "The battery is on its own."
            assert not record_path(it.config.home.data_dir, "inverter").exists()

    asyncio.run(main())


def test_a_link_that_breaks_leaves_the_battery_to_its_own_timer_and_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        async with stage(tmp_path, edits=QUICK) as it:

            async def cut(look: Look, count: int) -> None:
                if (look.doing, count) == ("it gives 200 W", 3):
                    await it.exhibit.stop()

            it.script.on_look = cut
            with pytest.raises(CommissioningError, match="run this again when the device answers"):
                await it.run(BRIEF)
            assert "THE BATTERY COULD NOT BE HANDED BACK" in it.script.told[-1]
            assert "its own timer ends that within 20 s" in it.script.told[-1]
            assert it.commanded_w is not None
            await it.nap(20)
            assert it.commanded_w is None

    asyncio.run(main())


ANSWERS = """
grid = "yes"
sun = "yes"
battery = "yes"
load = "yes"
load_off = "yes"
pulse = "yes"
limits = "yes"
"""


async def command(folder: Path, *, interrupt: bool) -> tuple[int, str, float | None]:
    """Run the command in its own process at a house in real time; return its exit code, words and what is commanded."""
    files = first_home(folder / "home")
    files.edit(("#reversion_s = 60", "reversion_s = 5"))
    (folder / "answers.toml").write_text(ANSWERS)
    home, house = devices(files), House()
    home.plant.profile = house
    assert home.plant.battery is not None
    home.plant.battery = replace(home.plant.battery, lag_s=0.1)
    home.plant.settle()
    await home.start()
    options = ["--config", str(files.config), "--answers", str(folder / "answers.toml")]
    brief = ["--pulse-s", "1", "--settle-s", "1", "--load-s", "1"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agent.cli.main", "commission", *options, *brief,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = ""
        async for line in process.stdout:
            said += line.decode()
            if "Switch on a kettle" in said:
                house.kettle = "Switch it off" not in said
            if interrupt and "Seen: battery" in said:
                assert home._live.control.target_w is not None
                process.send_signal(signal.SIGINT)
                interrupt = False
        code = await process.wait()
        home.plant  # noqa: B018 brings it to now
        return code, said, home._live.control.target_w
    finally:
        if process.returncode is None:
            process.kill()
        await home.stop()


@pytest.mark.timeout(180)
def test_the_command_writes_the_record_and_says_what_comes_next(tmp_path: Path) -> None:
    code, said, commanded_w = asyncio.run(command(tmp_path, interrupt=False))
    assert code == 0, said
    assert commanded_w is None
    assert "All is well. Wrote" in said
    assert (tmp_path / "home" / "data" / "commissioning-inverter.json").exists()


@pytest.mark.timeout(180)
def test_the_command_hands_the_battery_back_on_ctrl_c(tmp_path: Path) -> None:
    code, said, commanded_w = asyncio.run(command(tmp_path, interrupt=True))
    assert code == 130, said
    assert commanded_w is None
    assert "The battery is on its own." in said
    assert "Stopped; no record was written." in said


def test_the_command_does_not_command_beside_a_running_guard(tmp_path: Path) -> None:
    files = first_home(tmp_path / "home")
    with only_guard(tmp_path / "home" / "data"), pytest.raises(ConfigError, match="another guard runs for this home"):
        commission_command(config=files.config, answers=None)


@pytest.mark.parametrize(("text", "words"), [("grid = [", "cannot be read as answers"), ("sun = 'yes'", "no grid")])
def test_answers_that_are_missing_or_unreadable_are_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "answers.toml"
    path.write_text(text)

    def asked() -> str:
        return asyncio.run(Terminal(Console(), read_answers(path), Lines(0)).ask(Ask(key="grid", text="?")))

    with pytest.raises(ConfigError, match=words):
        asked()


def test_typed_answers_may_be_short_and_nonsense_is_asked_again(capsys: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"what\n\nY\nno")
    os.close(writing)

    async def main() -> None:
        owner = Terminal(Console(), None, Lines(reading))
        assert await owner.ask(Ask(key="grid", text="Does it match?")) == "yes"
        with pytest.raises(ConfigError, match="nobody answers here"):
            await owner.ask(Ask(key="sun", text="And this?"))

    asyncio.run(main())
    os.close(reading)
    assert capsys.readouterr().out.count("[yes/no] ") == 4
