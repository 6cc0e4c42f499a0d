"""What outlives the guard, and who lets it write: files that hold over crashes, and the commissioning record."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.config import HomeConfig, load_config
from agent.devices.battery import Battery
from agent.devices.budget import WriteBudget
from agent.devices.commissioning import DeviceIdentity, record_path
from agent.devices.device import Device
from agent.devices.opening import LinkPool, open_device
from agent.devices.profile import load_profile
from agent.devices.rules import STORED_WRITES_PER_DAY
from agent.devices.settings import DeviceSettings
from agent.first_files import write_first_files
from agent.guard_setup import commanded, owner_envelope, permit
from agent.guard_simulated import commission_simulated
from agent.guard_state import FileBrakes, open_budget
from agent.simulator.sunspec_device import HYBRID, MAKER
from coordinator.clock import WallClock
from coordinator.errors import ConfigError
from coordinator.identity import Identity

TODAY = date(2026, 11, 22)
SOLAREDGE = load_profile("solaredge_storedge")


def written_until_spent(folder: Path, day: date = TODAY, *, crashes: bool) -> int:
    """Write a stored register as often as it is allowed, in a new process each time or in one; return how often."""
    budget = open_budget(folder, "inverter", SOLAREDGE, FileBrakes(folder))
    for count in range(10 * STORED_WRITES_PER_DAY):
        if budget.spent(["ctl_default"], day) is not None:
            return count
        budget.reserve(["ctl_default"], day)
        budget.written("ctl_default")
        if crashes:
            budget = open_budget(folder, "inverter", SOLAREDGE, FileBrakes(folder))
    raise AssertionError("it was never spent")


@pytest.mark.parametrize("crashes", [False, True])
def test_s5_write_budget_survives_restarts_and_crash_loops(tmp_path: Path, crashes: bool) -> None:
    assert written_until_spent(tmp_path, crashes=crashes) == STORED_WRITES_PER_DAY
    assert written_until_spent(tmp_path, crashes=crashes) == 0, "the next process knows"
    assert written_until_spent(tmp_path, TODAY - timedelta(days=300), crashes=crashes) == 0, (
        "a clock set back is no gift"
    )
    assert written_until_spent(tmp_path, TODAY + timedelta(days=1), crashes=crashes) == STORED_WRITES_PER_DAY


def test_s5_a_register_that_bears_much_costs_our_own_memory_little(tmp_path: Path) -> None:
    kept: list[Any] = []
    budget = WriteBudget(SOLAREDGE, keep=kept.append)
    for _ in range(4000):
        assert budget.spent(["ctl_command"], TODAY) is None
        budget.reserve(["ctl_command"], TODAY)
        budget.written("ctl_command")
    assert len(kept) == 100, "blocks of forty"
    assert kept[-1].writes["ctl_command"] >= 4000


def test_s5_counts_that_cannot_be_read_end_control_until_a_person_has_looked(tmp_path: Path) -> None:
    (tmp_path / "writes-inverter.json").write_text("{")
    brakes = FileBrakes(tmp_path)
    open_budget(tmp_path, "inverter", SOLAREDGE, brakes)
    assert "how often registers were written today" in str(brakes.given_up())
    brakes.resume()
    open_budget(tmp_path, "inverter", SOLAREDGE, brakes)
    assert brakes.given_up() is None


def test_s12_a_folder_that_takes_no_file_is_found_out_before_control_begins(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no folder")
    brakes = FileBrakes(tmp_path / "data")
    for _ in range(2):
        with pytest.raises(ConfigError, match="cannot be written"):
            brakes.prove()
    (tmp_path / "data").unlink()
    brakes.prove()
    assert list((tmp_path / "data").iterdir()) == [], "nothing is left of the trial"
    assert brakes.given_up() is None


def test_s15_a_stop_is_on_the_disk_and_whatever_cannot_be_read_is_a_stop(tmp_path: Path) -> None:
    FileBrakes(tmp_path).stop("its owner")
    later = FileBrakes(tmp_path)
    assert "stopped by its owner" in str(later.stopped())
    assert later.given_up() is None
    later.resume()
    assert later.stopped() is None
    (tmp_path / "control-stopped").mkdir()
    assert later.stopped() is not None


def test_s15_a_data_folder_that_is_not_there_yet_stops_nothing(tmp_path: Path) -> None:
    brakes = FileBrakes(tmp_path / "data")
    assert (brakes.stopped(), brakes.given_up()) == (None, None)
    brakes.resume()
    brakes.stop("its owner")
    assert brakes.stopped() is not None


class Answering(Device):
    """A device that says who it is without a socket."""

    says = DeviceIdentity(manufacturer=MAKER, model=HYBRID, serial="home-1")

    async def read_identity(self) -> DeviceIdentity:
        return self.says


def home(folder: Path, **battery: float) -> tuple[HomeConfig, Identity, Answering]:
    config = load_config(write_first_files(folder, name="home-1", timezone="UTC", currency="EUR"))
    control, device = config.control.model_copy(update={"enabled": True}), config.devices["inverter"]
    config = config.model_copy(update={"control": control})
    clock = WallClock()
    opened = open_device("inverter", device, LinkPool(clock), clock)
    identity = Identity.load(config.community.key_file)
    return config, identity, Answering("inverter", opened.profile, opened.link, clock)


def looked(config: HomeConfig, device: Device, identity: Identity) -> str | None:
    envelope = owner_envelope(config)
    assert envelope is not None
    return asyncio.run(permit(config, device, envelope, identity.public_key)())


def test_s1_only_the_device_that_was_commissioned_with_this_key_may_be_written_to(tmp_path: Path) -> None:
    config, identity, device = home(tmp_path)
    path = record_path(config.home.data_dir, "inverter")
    assert "no commissioning record" in str(looked(config, device, identity))
    commission_simulated(config, config.home.data_dir, identity, "home-1", datetime.now(UTC))
    assert looked(config, device, identity) is None
    assert "signed with another key" in str(looked(config, device, Identity.generate()))
    record = path.read_bytes()
    for at in range(0, len(record), 37):
        path.write_bytes(record[:at] + bytes([record[at] ^ 1]) + record[at + 1 :])
        assert looked(config, device, identity) is not None, f"byte {at}"
    path.write_bytes(record)
    device.says = DeviceIdentity(manufacturer=MAKER, model=HYBRID, serial="another")
    assert "made for another device" in str(looked(config, device, identity))


def test_s1_limits_beyond_those_that_were_agreed_need_commissioning_again(tmp_path: Path) -> None:
    config, identity, device = home(tmp_path)
    commission_simulated(config, config.home.data_dir, identity, "home-1", datetime.now(UTC))
    assert config.battery is not None
    for more in ({"charge_kw": 5.1}, {"discharge_kw": 5.1}, {"reserve_pct": 10.0}, {"max_pct": 99.0}):
        wider = config.model_copy(update={"battery": config.battery.model_copy(update=more)})
        assert "allows more than was agreed" in str(looked(wider, device, identity)), more
    less = config.model_copy(update={"battery": config.battery.model_copy(update={"charge_kw": 1.0})})
    assert looked(less, device, identity) is None


@pytest.mark.parametrize("power_kw", [4.03, 8.05, 16.1, 3.6804, 3.6806])
def test_s1_limits_of_any_number_are_agreed_as_they_were_written(tmp_path: Path, power_kw: float) -> None:
    config, identity, device = home(tmp_path)
    assert config.battery is not None
    battery = config.battery.model_copy(update={"charge_kw": power_kw, "discharge_kw": power_kw})
    config = config.model_copy(update={"battery": battery})
    commission_simulated(config, config.home.data_dir, identity, "home-1", datetime.now(UTC))
    assert looked(config, device, identity) is None
    limits = owner_envelope(config)
    assert limits is not None
    assert limits.charge_w == limits.discharge_w == pytest.approx(1000 * power_kw, abs=0.5)


SENTENCE = "I know that nothing ends the last command when this computer or its link fails"


def test_s6_a_device_without_a_timer_is_read_only_until_the_owner_writes_the_sentence(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "firmware-config/profiles/sunspec_hybrid.yaml").read_text()
    for before, after in {
        "profile: sunspec_hybrid": "profile: no_timer",
        "    timer: revert_s\n": "    timer: null\n",
        "{by: device,": "{by: nobody,",
        '      - {write: revert_s, value: "=reversion_s"}\n': "",
        "[revert_s, set_w, set_enable]": "[set_w, set_enable]",
    }.items():
        assert before in text, before
        text = text.replace(before, after)
    path = tmp_path / "no_timer.yaml"
    path.write_text(text)
    clock = WallClock()

    def opened(**more: Any) -> Device:
        return open_device(
            "it", DeviceSettings(profile=str(path), url="tcp://host:502", **more), LinkPool(clock), clock
        )

    assert opened().profile.control is None
    config, _, _ = home(tmp_path / "home")
    assert commanded(config, [opened()]) is None
    with pytest.raises(ValueError, match="I know that nothing ends the last command"):
        DeviceSettings(profile=str(path), url="tcp://host:502", unlock_no_reversion="yes")  # type: ignore[arg-type]
    unlocked = Battery(opened(unlock_no_reversion=SENTENCE), without_timer=True)
    assert not unlocked.reverts
    path.write_text(text.replace("{by: nobody,", "{by: device,"))
    with pytest.raises(ConfigError, match="name the timer that ends our command"):
        load_profile(path)
