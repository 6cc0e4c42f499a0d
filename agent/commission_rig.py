"""Performs what commissioning asks for: at the home's devices, at its battery, and of the owner."""

from pathlib import Path
from typing import Protocol, assert_never

from agent.commission import Outcome, Plan, Times, walk
from agent.commission_devices import Rig
from agent.commission_judge import Facts
from agent.commission_talk import Ask, Command, Compare, LetGo, Look, Prepare, Reply, Request, Talk, Tell
from agent.devices.commissioning import AgreedEnvelope, CommissioningError, make_record, record_path, write_record
from agent.devices.device import Device
from agent.devices.errors import DeviceError
from agent.guard_setup import narrowed, owner_envelope
from coordinator.identity import Identity

FOLLOW_SUN_S = 5.0
"""How often a setpoint that includes the sun's power is written anew."""
RELEASES = 3
"""Tries to hand the battery back before its own timer has to."""


class Owner(Protocol):
    """Whoever answers."""

    async def ask(self, question: Ask) -> str:
        """Return one of the question's answers."""
        ...

    def tell(self, text: str) -> None: ...

    def watch(self, look: Look) -> None:
        """Show that something is being watched; called once per reading."""
        ...


async def commission(rig: Rig, owner: Owner, identity: Identity, times: Times) -> Path:
    """Walk the owner through it and write the signed record; whatever happens, the battery is handed back.

    Raises:
        CommissioningError: Something is wrong; names cause and cure.
    """
    try:
        says = await rig.device.read_identity()
        plan = _plan(rig, times, reverts=await rig.reverts())
    except DeviceError as error:
        raise CommissioningError(
            f"{error}. `commonwatt check` looks at every device and says what to correct"
        ) from None
    outcome = await _conduct(walk(plan), rig, owner)
    record = make_record(
        identity,
        rig.device.profile,
        says,
        rig.device.where,
        reversion_s=outcome.reversion_s,
        envelope=plan.envelope,
        steps=outcome.steps,
    )
    path = record_path(rig.config.home.data_dir, rig.device.name)
    write_record(path, record, identity)
    return path


def _plan(rig: Rig, times: Times, *, reverts: bool) -> Plan:
    limits = owner_envelope(rig.config)
    assert limits is not None
    meter = next(device for device in rig.devices if "grid_w" in device.profile.provides)
    refresh_s = min(rig.battery.refresh_s, rig.reversion_s / 3)
    return Plan(
        meter=_facts(meter),
        battery=_facts(rig.device),
        envelope=AgreedEnvelope(
            charge_w=round(limits.charge_w),
            discharge_w=round(limits.discharge_w),
            reserve_pct=limits.reserve_pct,
            max_pct=limits.max_pct,
        ),
        reversion_s=rig.reversion_s if reverts else None,
        refresh_s=min(refresh_s, FOLLOW_SUN_S) if rig.battery.includes_pv else refresh_s,
        sun=any("pv_w" in device.profile.provides for device in rig.devices),
        narrowed=narrowed(rig.config),
        times=times,
    )


def _facts(device: Device) -> Facts:
    questions = {name: choice.ask for name, choice in device.profile.parameters.items()}
    return Facts(name=device.name, profile=device.profile.profile, questions=questions)


async def _conduct(steps: Talk[Outcome], rig: Rig, owner: Owner) -> Outcome:
    touched, reply = False, None
    try:
        while True:
            try:
                request = steps.send(reply)
            except StopIteration as end:
                outcome: Outcome = end.value
                return outcome
            # From the first request that may write on, whether or not it comes back.
            touched |= isinstance(request, Prepare | Command)
            reply = await _perform(request, rig, owner)
    finally:
        steps.close()
        if touched:
            await _let_go(rig, owner)


async def _perform(request: Request, rig: Rig, owner: Owner) -> Reply:
    try:
        match request:
            case Ask():
                return await owner.ask(request)
            case Tell(text=text):
                owner.tell(text)
                return None
            case Look():
                owner.watch(request)
                return await rig.read()
            case Prepare():
                return await rig.battery.prepare(rig.reversion_s)
            case Command(battery_w=battery_w):
                return await rig.command(battery_w)
            case Compare():
                return await rig.compare()
            case LetGo():
                return await rig.battery.release()
            case _:
                assert_never(request)
    except DeviceError as error:
        raise CommissioningError(f"{error}; run this again when the device answers") from None


async def _let_go(rig: Rig, owner: Owner) -> None:
    """Hand the battery back; harmless when it is back already."""
    why: str | None = None
    for _ in range(RELEASES):
        try:
            why = await rig.battery.release()
        except DeviceError as error:
            why = str(error)
        if why is None:
            owner.tell("The battery is on its own.")
            return
    bound = f"its own timer ends that within {rig.reversion_s} s" if rig.battery.reverts else "nothing ends that"
    owner.tell(f"THE BATTERY COULD NOT BE HANDED BACK: {why}. {bound}; look at the inverter.")
