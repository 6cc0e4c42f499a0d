"""Homes on real brokers and devices tell each other their deviations, share them, and go on alone when one is gone."""

import asyncio
from pathlib import Path

import pytest
from demo_helpers import RunningDemo, running_demo

from agent.dashboard.topics import State
from agent.demo.options import DemoOptions

HOMES = ("home-1", "home-2", "home-3")


def state(street: RunningDemo, name: str) -> State:
    shown = street.home(name).state
    assert shown is not None
    return shown


@pytest.mark.timeout(120)
def test_neighbours_balance_together_over_mqtt_and_without_the_one_that_dies(tmp_path: Path) -> None:
    async def scenario() -> None:
        options = DemoOptions(folder=tmp_path, homes=3, hours=6, page=False)
        async with running_demo(options) as street:
            for name in HOMES:
                await street.until(lambda name=name: state(street, name).sharing_with == 2, f"{name} hears both others")
            await street.until(
                lambda: any(abs(state(street, name).shared_w) > 20 for name in HOMES), "a battery moves for a neighbour"
            )
            await street.until(
                lambda: any("the neighbours" in state(street, name).reason for name in HOMES), "and its owner is told"
            )
            await street.demo.launcher.stop(street.file("home-3"), "agent")
            await asyncio.sleep(3.0)  # longer than a deviation lives
            seen: set[int] = set()
            for _ in range(20):
                seen |= {state(street, name).sharing_with for name in HOMES[:2]}
                await asyncio.sleep(0.1)
            assert max(seen) == 1, "the two go on together; who fell silent counts no more"
            await street.demo.launcher.start(street.file("home-3"), "agent")
            await street.until(lambda: state(street, "home-1").sharing_with == 2, "home-3 counts again")

    asyncio.run(scenario())
