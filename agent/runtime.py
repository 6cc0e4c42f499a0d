"""Builds every object of one home from its configuration and runs them: the shell around agent and coordinator."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger
from pydantic import ValidationError

from agent import showing
from agent.config import HomeConfig, PeerBroker
from agent.control.controller import Follow, Release, decide
from agent.control.envelope import Envelope
from agent.control.guard import Guard, GuardStatus
from agent.control.smoothing import SHARE_OF_SLOT, NetLoad
from agent.dashboard.publisher import StatePublisher
from agent.dashboard.topics import Notice, Notices
from agent.devices.battery import Battery as CommandedBattery
from agent.devices.device import Device
from agent.devices.energy import SlotEnergy, SlotMeter
from agent.devices.opening import LinkPool, open_device
from agent.devices.poller import Poller
from agent.devices.reading import HomeReading
from agent.household import Change, TradingHome
from agent.live_words import home_words
from agent.memory import HomeMemory
from coordinator.broker_keeper import keep_serving
from coordinator.charter import Charter, Member, load_charter
from coordinator.clock import Clock, WallClock
from coordinator.errors import ConfigError
from coordinator.identity import Identity
from coordinator.ledger_store import LedgerStore
from coordinator.links import LinkNotice, LinkOptions, LinkSettings
from coordinator.mosquitto import open_broker
from coordinator.mqtt_topics import direct_topic, pub_topic
from coordinator.node import Node, NodeOptions
from coordinator.slots import Slot
from coordinator.toml_file import explain
from coordinator.trader import MeterReading
from coordinator.transport import Transport

log = logging.getLogger(__name__)

Level = Literal["info", "warning", "error"]
NOTICES_KEPT = 50
LEARN_HOUR = 0
LEARN_SPREAD_MIN = 50
"""Daily learning in the first hour of the local day, at a minute of the home's own: neighbours take turns."""
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def link_settings(config: HomeConfig, charter: Charter, me: str) -> list[LinkSettings]:
    """Return the links of a home: its own broker to publish on, and every neighbour's to read.

    Raises:
        ConfigError: If a neighbour in the file is not in the charter, the charter has one the file lacks, or an
            address in it cannot be used.
    """
    own = config.mqtt.own
    links = [
        LinkSettings(
            name=config.home.name,
            url=own.url,
            username=own.username,
            password=own.password,
            password_file=own.password_file,
            publish=True,
        )
    ]
    peers = {peer.member: peer for peer in config.mqtt.peers}
    names = {member.name for member in charter.members if member.id != me}
    if unknown := sorted(peers.keys() - names):
        raise ConfigError(
            f"mqtt.peers: {unknown[0]!r} is no neighbour in the charter; it names {', '.join(sorted(names))}"
        )
    for member in charter.members:
        if member.id == me:
            continue
        peer = peers.get(member.name)
        if peer is None:
            raise ConfigError(f"mqtt.peers: {member.name!r} is missing; ask that home for its broker's password")
        links.append(_peer_link(peer, member, charter.community_id, me))
    return links


def _peer_link(peer: PeerBroker, member: Member, community: str, me: str) -> LinkSettings:
    try:
        return LinkSettings(
            name=member.name,
            url=peer.url or member.broker,
            username=peer.username or me,
            password=peer.password,
            password_file=peer.password_file,
            subscribe=(pub_topic(community, member.id), direct_topic(community, member.id, me)),
        )
    except ValidationError as error:
        raise ConfigError(
            f"mqtt.peers of {member.name}: {explain(error, LinkSettings)}: write the right url there; "
            "the one in the charter cannot be used"
        ) from None


def _envelope(config: HomeConfig) -> Envelope | None:
    battery = config.battery
    if battery is None:
        return None
    return Envelope(
        charge_w=1000 * battery.charge_kw,
        discharge_w=1000 * battery.discharge_kw,
        reserve_pct=battery.reserve_pct,
        max_pct=battery.max_pct,
    )


class Agent:
    """One home, from its configuration.

    Args:
        config: As `load_config` returns it.
        on_notice: Also told every notice: (level, text).

    Raises:
        ConfigError: If a file it names cannot be used.
    """

    def __init__(self, config: HomeConfig, on_notice: Callable[[Level, str], None] | None = None) -> None:
        self.config = config
        self.name = config.home.name
        self.clock: Clock = config.clock.clock() if config.clock else WallClock()
        self.identity = Identity.load(config.community.key_file)
        self.charter = load_charter(config.community.charter)
        member = self.charter.by_id.get(self.identity.id)
        if member is None:
            raise ConfigError(
                f"{config.community.key_file}: this key is no member of {self.charter.name!r} "
                f"({config.community.charter}): wrong key, or not yet in the charter"
            )
        if member.name != self.name:
            raise ConfigError(f"home.name is {self.name!r}, but the charter calls this key's home {member.name!r}")
        config.home.data_dir.mkdir(parents=True, exist_ok=True)
        self._tell = on_notice
        self._notices: deque[Notice] = deque(maxlen=NOTICES_KEPT)
        self._memory = HomeMemory(config, self.charter.rules, self.clock.now())
        self.home: TradingHome = self._memory.open_home(self._changed)
        self._store = LedgerStore(config.home.data_dir / "ledger.db", self.identity.id)
        links = link_settings(config, self.charter, self.identity.id)
        options = LinkOptions(keepalive_s=config.mqtt.keepalive_s, retry_max_s=config.mqtt.retry_max_s)
        self._transport = Transport(links, self.clock, self._link_notice, options=options)
        self._publisher = StatePublisher(self._publish, self.clock)
        self._meter = SlotMeter(self.charter.rules.slot_s)
        if (last := self._memory.last_reading()) is not None:
            self._meter.add(last)  # what flowed while the agent was away is still counted
        self._node: Node | None = None
        self._guard: Guard | None = None
        self._poller: Poller | None = None
        self._envelope = _envelope(config)
        self._net_load = NetLoad(time_constant_s=SHARE_OF_SLOT * self.charter.rules.slot_s)
        self._last_target_w: float | None = None
        self._seen_whole = False

    # Running

    async def run(self) -> None:
        """Run until cancelled; leaves the battery to itself and every file closed."""
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._memory.close)
            stack.callback(self._store.close)
            broker = None
            if (own := self.config.broker) is not None:
                broker = open_broker(own.kind, users=own.users, **own.model_dump(exclude={"users", "kind"}))
                await stack.enter_async_context(broker)
                self.notice("info", f"own broker ({broker.kind}) serves on {broker.url}")
            pool = LinkPool(self.clock)
            stack.push_async_callback(pool.close)
            devices = [open_device(name, each, pool, self.clock) for name, each in self.config.devices.items()]
            self._guard = self._make_guard(devices)
            self._poller = Poller(
                devices,
                self.clock,
                interval_s=self.config.poll.interval_s,
                stale_after_s=self.config.poll.stale_after_s,
                on_reading=self._read,
                on_notice=self.notice,
                zone=self.config.home.zone,
            )
            await asyncio.to_thread(self.home.learn, self._slot())
            await stack.enter_async_context(self._transport)
            self._node = self._make_node()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._poller.run(), name="poll")
                tasks.create_task(self._node.run(), name="trade")
                tasks.create_task(self._learn_daily(), name="learn")
                tasks.create_task(self._show_peers(), name="peers")
                if self._guard is not None:
                    tasks.create_task(self._guard.run(), name="guard")
                if broker is not None:
                    tasks.create_task(keep_serving(broker, self.notice), name="own broker")

    def _make_node(self) -> Node:
        return Node(
            charter=self.charter,
            identity=self.identity,
            store=self._store,
            household=self.home,
            transport=self._transport,
            clock=self.clock,
            on_notice=self.notice,
            options=NodeOptions(heartbeat_s=self.config.mqtt.heartbeat_s),
        )

    def _make_guard(self, devices: list[Device]) -> Guard | None:
        controllable = [device for device in devices if device.profile.control is not None]
        if self._envelope is None or not controllable:
            return None
        battery = CommandedBattery(controllable[0])
        return Guard(battery, self._envelope, self.clock, self.config.control, self.notice)

    def _slot(self) -> Slot:
        return Slot.at(self.clock.now(), self.charter.rules.slot_s)

    async def _learn_daily(self) -> None:
        """Fit the forecasts anew every night; APScheduler knows local nights, a simulated clock has its own."""
        minute = 5 + sum(self.identity.public_key) % LEARN_SPREAD_MIN
        if self.config.clock is None:
            scheduler = AsyncIOScheduler(timezone=self.config.home.zone)
            scheduler.add_job(self._learn, CronTrigger(hour=LEARN_HOUR, minute=minute, timezone=self.config.home.zone))
            scheduler.start()
            try:
                await asyncio.Event().wait()
            finally:
                scheduler.shutdown(wait=False)
        while True:
            local = self.clock.now().astimezone(self.config.home.zone)
            night = local.replace(hour=LEARN_HOUR, minute=minute, second=0, microsecond=0)
            await self.clock.sleep_until(night if night > local else night + timedelta(days=1))
            await self._learn()

    async def _learn(self) -> None:
        await asyncio.to_thread(self.home.learn, self._slot())
        self._memory.prune(self._slot())

    # Readings

    def _read(self, reading: HomeReading) -> None:
        """Take one reading of the devices: settle, control, show."""
        self.home.observe(reading)
        if not self._seen_whole and reading.quality == "valid":
            self._seen_whole = True
            self.notice("info", f"all devices answer: {home_words(reading)}")
        for energy in self._meter.add(reading):
            self._slot_done(energy)
            self._memory.save_reading(reading)
        self._control(reading)
        guard = (
            self._guard.status if self._guard else GuardStatus(control="observe", target_w=None, reason="no battery")
        )
        slot = Slot.at(reading.at, self.charter.rules.slot_s)
        self._publisher.publish(showing.state(self.name, reading, guard, self.home.known_target(slot)))
        self._show_notices()

    def _slot_done(self, energy: SlotEnergy) -> None:
        self.home.slot_done(energy)
        self._memory.slot_done(energy)
        if self._node is not None:
            reading = MeterReading(import_wh=max(energy.net_wh, 0), export_wh=max(-energy.net_wh, 0))
            self._node.metered(energy.slot, reading)

    def _control(self, reading: HomeReading) -> None:
        if self._guard is None or self._envelope is None:
            return
        now = self.clock.now()
        slot = Slot.at(now, self.charter.rules.slot_s)
        target = self.home.target(slot, now)
        so_far = self._meter.so_far(now)
        decision = decide(
            reading,
            now=now,
            slot=slot,
            target_wh=target.net_wh,
            net_so_far_wh=None if so_far is None else so_far[0] - so_far[1],
            envelope=self._envelope,
            gate=self._guard.gate,
            last_target_w=self._last_target_w,
            deadband_w=self.config.control.deadband_w,
            net_load_w=self._net_load_w(reading),
        )
        match decision:
            case Follow(target_w=target_w, reason=reason):
                self._last_target_w = target_w
                self._guard.lease(target_w, reason)
            case Release(reason=reason):
                self._last_target_w = None
                self._guard.release(reason)

    def _net_load_w(self, reading: HomeReading) -> float | None:
        if reading.load_w is None or reading.pv_w is None:
            return None
        return self._net_load.add(reading.at, reading.load_w - reading.pv_w)

    # Showing

    def _publish(self, topic: str, payload: bytes, retain: bool) -> None:
        self._transport.publish(topic, payload, qos=1 if retain else 0, retain=retain)

    def _changed(self, change: Change, slot: Slot) -> None:
        now = self.clock.now()
        match change:
            case "market":
                self._show_market(slot, now)
            case "plan":
                target = self.home.target(slot, now)
                self._memory.planned(target)
                self._publisher.publish(showing.plan(self.name, now, target.plan))
                self._show_market(slot, now)
            case "settled":
                self._memory.settled(self.home)
                self._show_settled(now)

    def _show_market(self, slot: Slot, now: datetime) -> None:
        if self._node is None:
            return
        me = self.identity.id
        made = showing.trades(me, self.charter, self._node.desk.trader.book.contracts(slot.key))
        tariff = self.home.tariff_micro(slot)
        self._publisher.publish(showing.market(self.name, now, slot, self.home.result(slot), made, tariff, me))

    def _show_settled(self, now: datetime) -> None:
        rules = self.charter.rules
        settled = self.home.latest_settled(86400 // rules.slot_s)
        since = self.config.home.since or (settled[0].energy.slot.start_at if settled else now)
        self._publisher.publish(showing.day(self.name, now, settled, self.identity.id, self.charter))
        self._publisher.publish(showing.savings(self.name, now, self.home.savings, self.charter.currency, since))

    async def _show_peers(self) -> None:
        assert self._node is not None
        while True:
            peers = showing.peers(self.name, self.clock.now(), self.identity.id, self.charter, self._node.peers)
            self._publisher.publish(peers)
            await asyncio.sleep(min(2.0, self.config.mqtt.heartbeat_s))

    def notice(self, level: Level, text: str) -> None:
        """Log a notice, show it on the page, and tell whoever started this agent."""
        log.log(_LEVELS[level], "%s: %s", self.name, text)
        self._notices.appendleft(Notice(at=self.clock.now(), level=level, text=text))
        if self._tell is not None:
            self._tell(level, text)

    def _link_notice(self, notice: LinkNotice) -> None:
        self.notice(notice.level, notice.text)
        if notice.link == self.name and notice.level == "info":
            self._publisher.repeat()  # a restarted broker has forgotten what it retained

    def _show_notices(self) -> None:
        warnings = list(self._poller.troubles) if self._poller else []
        warnings += [
            f"{link.name}: {link.reason}" for link in self._transport.links if link.kind in ("away", "refused")
        ]
        at = self._notices[0].at if self._notices else self.clock.now()
        self._publisher.publish(Notices(home=self.name, at=at, warnings=warnings, log=list(self._notices)))
