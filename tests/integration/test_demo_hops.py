"""Every hop of the data is real: whichever is cut, the neighbourhood shows it, trades on, and takes the home back.

Modbus between a home's devices and its agent, MQTT between the homes, the agent itself. All that these tests know, they
heard on the homes' topics or read in their ledgers.
"""

import asyncio
from pathlib import Path

import pytest
from demo_helpers import RunningDemo, check_report, running_demo

from agent.demo.options import DEFAULT_START, DemoOptions

SPEED = 360.0


@pytest.mark.timeout(180)
def test_each_hop_is_cut_seen_and_taken_up_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        options = DemoOptions(folder=tmp_path, homes=4, hours=12, speed=SPEED, page=False)
        async with running_demo(options) as street:
            for name in ("home-1", "home-2", "home-3", "home-4"):
                await street.until(lambda name=name: street.partners(name, DEFAULT_START), f"{name} trades")
            await without_devices(street)
            await without_broker(street)
            await without_agent(street)
            check_report(await street.report(), 4)

    asyncio.run(scenario())


async def without_devices(street: RunningDemo) -> None:
    """Modbus: home-1's inverter and meter vanish."""
    launcher, home = street.demo.launcher, street.file("home-1")
    await street.until(lambda: street.home("home-1").state.control == "following", "home-1 steers its battery")
    await launcher.stop(home, "simulator")
    after_cut = street.soon()
    await street.until(lambda: street.home("home-1").state.quality != "valid", "home-1 says its readings are old")
    await street.until(lambda: street.home("home-1").state.control == "released", "home-1 lets its battery go")
    await street.until(lambda: any("inverter" in text for text in street.warnings("home-1")), "the inverter is named")
    await street.until(lambda: any("meter" in text for text in street.warnings("home-1")), "the meter is named")
    await street.until(lambda: street.trades_among(["home-2", "home-3", "home-4"], after_cut), "the others trade on")
    await launcher.start(home, "simulator")
    after_return = street.soon()
    await street.until(lambda: street.home("home-1").state.quality == "valid", "home-1 reads its devices again")
    await street.until(lambda: street.home("home-1").state.control == "following", "home-1 steers again")
    await street.until(lambda: street.partners("home-1", after_return), "home-1 trades again")
    await street.until(lambda: not street.warnings("home-1"), "home-1's warnings are gone")


async def without_broker(street: RunningDemo) -> None:
    """MQTT: home-2's own broker vanishes, and with it everything home-2 says."""
    launcher, home = street.demo.launcher, street.file("home-2")
    await launcher.stop(home, "broker")
    after_cut = street.soon()
    await street.until(lambda: not street.home("home-2").link_up, "the page sees the broker gone")
    for peer in ("home-1", "home-3", "home-4"):
        await street.until(lambda peer=peer: street.hears(peer, "home-2") is False, f"{peer} hears nothing of home-2")
    await street.until(lambda: street.trades_among(["home-1", "home-3", "home-4"], after_cut), "the others trade on")
    assert not any("home-2" in street.partners(name, after_cut) for name in ("home-1", "home-3", "home-4"))
    await launcher.start(home, "broker")
    after_return = street.soon()
    await street.until(lambda: street.home("home-2").link_up, "the page sees the broker again")
    await street.until(lambda: street.partners("home-2", after_return), "home-2 trades again")


async def without_agent(street: RunningDemo) -> None:
    """home-3's agent ends; its devices and broker stay."""
    launcher, home = street.demo.launcher, street.file("home-3")
    await launcher.stop(home, "agent")
    after_cut = street.soon()
    for peer in ("home-1", "home-2", "home-4"):
        await street.until(lambda peer=peer: street.hears(peer, "home-3") is False, f"{peer} hears nothing of home-3")
    await street.until(lambda: street.trades_among(["home-1", "home-2", "home-4"], after_cut), "the others trade on")
    await launcher.start(home, "agent")
    after_return = street.soon()
    await street.until(lambda: street.partners("home-3", after_return), "home-3 trades again")
    for peer in ("home-1", "home-2", "home-4"):
        await street.until(lambda peer=peer: street.hears(peer, "home-3"), f"{peer} hears home-3 again")
