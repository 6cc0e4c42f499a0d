"""Builds every object of one home from its configuration and runs them: the shell around agent and coordinator."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence

from agent.charter_now import current_charter, until_changed
from agent.config import HomeConfig
from agent.control.guard import Guard
from agent.control.ports import GuardPort
from agent.devices.energy import SlotEnergy, SlotMeter
from agent.devices.opening import LinkPool, open_devices
from agent.devices.poller import Polled, Poller
from agent.devices.reading import HomeReading
from agent.display import Display, Level
from agent.forecast.weather import WeatherSource
from agent.guard_link import GuardLink
from agent.guard_setup import connection, open_guard
from agent.household import Change, TradingHome
from agent.learning import NightlyLearning
from agent.live_words import home_words
from agent.memory import HomeMemory, weather_source
from agent.peer_links import broker_users, link_settings, sealer
from agent.showing import given_up
from agent.steering import NO_BATTERY, Aim, Steering
from coordinator.broker_keeper import keep_serving
from coordinator.clock import Clock, WallClock
from coordinator.desk import MESSAGES_PER_SLOT
from coordinator.errors import ConfigError
from coordinator.household import MeterReading
from coordinator.identity import Identity
from coordinator.ledger_store import LedgerStore
from coordinator.links import LinkNotice, LinkOptions
from coordinator.mosquitto import open_broker, tls_listener
from coordinator.node import Node, NodeOptions
from coordinator.peers import RateLimit
from coordinator.sessions import Session
from coordinator.slots import Slot
from coordinator.transport import Transport

WEATHER_S = 3 * 3600.0
"""Wall seconds between two questions for the weather; its forecasts are renewed about as often."""
PEERS_S = 2.0
"""Wall seconds between two looks at who is online."""

SLOTS_AT_ONCE = 4
"""So many slots are settled per reading: each is planned, signed and written, some ten milliseconds on a slow disk."""


class Agent:
    """One home, from its configuration.

    Args:
        config: As `load_config` returns it.
        on_notice: Also told every notice: (level, text).
        guard: The link to the guard's process, which then alone reads and commands; without it, all that is done here.

    Raises:
        ConfigError: If a file it names cannot be used.
    """

    def __init__(
        self,
        config: HomeConfig,
        on_notice: Callable[[Level, str], None] | None = None,
        guard: GuardLink | None = None,
    ) -> None:
        self.config = config
        self._guard_link = guard
        self._guard_here: Guard | None = None
        self.name = config.home.name
        self.clock: Clock = config.clock.clock() if config.clock else WallClock()
        self.identity = Identity.load(config.community.key_file)
        self.charter = current_charter(config, self.identity, self.clock.now())
        member = self.charter.by_id.get(self.identity.id)
        if member is None:
            raise ConfigError(
                f"{config.community.key_file}: this key is no member of {self.charter.name!r} "
                f"({config.community.charter}): wrong key, or not yet in the charter"
            )
        if member.name != self.name:
            raise ConfigError(f"home.name is {self.name!r}, but the charter calls this key's home {member.name!r}")
        self._display = Display(
            name=self.name,
            me=self.identity.id,
            charter=self.charter,
            clock=self.clock,
            publish=self._publish,
            since=config.home.since,
            tell=on_notice,
        )
        self._memory = HomeMemory(config, self.charter.rules, self.clock.now())
        self.home: TradingHome = self._memory.open_home(self._changed)
        self._store = LedgerStore(config.home.data_dir / "ledger.db", self.identity.id)
        links = link_settings(config, self.charter, self.identity.id, self.identity, self._warn)
        options = LinkOptions(keepalive_s=config.mqtt.keepalive_s, retry_max_s=config.mqtt.retry_max_s)
        sealing = sealer(self.charter, self.identity) if self.charter.meeting else None
        limit = RateLimit(per_slot=MESSAGES_PER_SLOT, slot_s=self.charter.rules.slot_s)
        self._transport = Transport(
            links, self.clock, self._link_notice, options=options, sealer=sealing, allow=limit.allow
        )
        self._meter = SlotMeter(
            self.charter.rules.slot_s,
            since=self._memory.counters(),  # what flowed while the agent was away is still counted
            on_anew=lambda why: self._warn(f"metering begins anew: {why}"),
        )
        self._done: deque[SlotEnergy] = deque()
        self._node: Node | None = None
        self._steering: Steering | None = None
        self._devices: Sequence[Polled] = ()
        self._poller: Poller | None = None
        self._seen_whole = False
        self._bids_open = False
        self._weather = weather_source(config)
        self.home.weather = self._weather.kept() if self._weather else None

    # Running

    async def run(self) -> None:
        """Run until cancelled; leaves the battery to itself and every file closed.

        Raises:
            CharterChangedError: In a group, when another charter holds: a new agent then goes by that.
        """
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._memory.close)
            stack.callback(self._store.close)
            broker = None
            if (own := self.config.broker) is not None:
                users = broker_users(self.config, self.charter, self.identity)
                tls = tls_listener(own, self.identity)
                broker = open_broker(
                    own.kind, host=own.host, port=own.port, users=users, data_dir=own.data_dir, tls=tls
                )
                await stack.enter_async_context(broker)
                encrypted = f" and, encrypted, on {broker.tls_url}" if tls else ""
                self.notice("info", f"own broker ({broker.kind}) serves on {broker.url}{encrypted}")
            self._devices, guard = self._open_devices(stack)
            self._steering = Steering(self.config, guard, self.clock, self.charter)
            self.home.balances = self._steering.takes_part
            self._steering.sharing.worn_on, self._steering.sharing.worn_wh = self._memory.worn()
            self._poller = Poller(
                self._devices,
                self.clock,
                interval_s=self.config.poll.interval_s,
                stale_after_s=self.config.poll.stale_after_s,
                on_reading=self._read,
                on_notice=self.notice,
                zone=self.config.home.zone,
            )
            await stack.enter_async_context(self._transport)
            self._node = self._make_node()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._poller.run(), name="poll")
                tasks.create_task(self._node.run(), name="trade")
                tasks.create_task(self._make_learning().run(), name="learn")
                tasks.create_task(self._show_peers(), name="peers")
                tasks.create_task(
                    until_changed(self.charter, self.config, self.identity, self.clock), name="changes of the charter"
                )
                if self._weather is not None:
                    tasks.create_task(self._watch_weather(self._weather), name="weather")
                if self._guard_link is not None:
                    tasks.create_task(self._guard_link.run(self.notice), name="link to the guard")
                if self._guard_here is not None:
                    tasks.create_task(self._guard_here.run(), name="guard")
                if broker is not None:
                    tasks.create_task(keep_serving(broker, self.notice), name="own broker")

    def _open_devices(self, stack: contextlib.AsyncExitStack) -> tuple[Sequence[Polled], GuardPort | None]:
        """Return the home's devices and its battery's guard: those of the guard's process, or opened here."""
        if self._guard_link is not None:
            return self._guard_link.devices, self._guard_link.guard
        pool = LinkPool(self.clock)
        stack.push_async_callback(pool.close)
        devices = open_devices(self.config.devices, pool, self.clock)
        self._guard_here = open_guard(self.config, devices, self.clock, self.identity.public_key, self.notice)
        return devices, self._guard_here

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
            forgiven=[m.id for m in self.charter.homes if m.name in self.config.community.forgiven],
        )

    def _make_learning(self) -> NightlyLearning:
        return NightlyLearning(
            self.home,
            self._memory,
            self.config,
            self.clock,
            self.notice,
            running_slot=self._slot,
            turn=sum(self.identity.public_key),
        )

    def _slot(self) -> Slot:
        return Slot.at(self.clock.now(), self.charter.rules.slot_s)

    async def _watch_weather(self, source: WeatherSource) -> None:
        while True:
            self.home.weather = await asyncio.to_thread(source.refresh)
            await asyncio.sleep(WEATHER_S)

    # Readings

    def _read(self, reading: HomeReading) -> None:
        """Take one reading of the devices: settle, control, show."""
        self.home.observe(reading)
        if not self._seen_whole and reading.quality == "valid":
            self._seen_whole = True
            self.notice("info", f"all devices answer: {home_words(reading)}")
        self._done += self._meter.add(reading)
        self._settle_slots()
        guard = self._guard_here
        commanded = None if guard is None else guard.name
        seen = connection(reading, self._devices, commanded, self.config.poll.stale_after_s)
        if seen.gone is not None:  # a meter that fell silent with the grid has not seen it come back
            self.home.grid_gone = seen.gone
        if guard is not None:
            guard.see(seen)
        self.home.commands_battery = self._steering is not None and self._steering.commands(reading.at)
        self._steer(reading)
        slot = Slot.at(reading.at, self.charter.rules.slot_s)
        status = self._steering.status if self._steering else NO_BATTERY
        shared = self._steering.shared if self._steering else None
        self._display.state(reading, status, self.home.known_target(slot), shared)
        self._display.notices(self._warnings())

    def _settle_slots(self) -> None:
        """Take the slots that are over, a few at a time: after a pause there are many, and the loop must go on."""
        if not self._done:
            return
        for _ in range(min(SLOTS_AT_ONCE, len(self._done))):
            self._slot_done(self._done.popleft())
        if not self._done and self._meter.since is not None:
            self._memory.save_counters(self._meter.since)

    def _slot_done(self, energy: SlotEnergy) -> None:
        self.home.slot_done(energy)
        self._memory.slot_done(energy)
        self._memory.books(self.home)
        if self._node is not None:
            reading = MeterReading(import_wh=max(energy.net_wh, 0), export_wh=max(-energy.net_wh, 0))
            self._node.metered(energy.slot, reading)
        if self._steering is not None:
            self._memory.worn_is(self._steering.sharing.worn_on, self._steering.sharing.worn_wh)

    def _steer(self, reading: HomeReading) -> None:
        steering, node = self._steering, self._node
        if steering is None or node is None or (steering.guard is None and not steering.takes_part):
            return
        now = self.clock.now()
        slot = self._slot()
        session, book = Session(slot.key), node.desk.trader.book
        firm_wh = book.net_wh(session) if book.closed(session) else 0  # a process before this one closed its gate
        target = self.home.target(slot, now, firm_wh)
        aim = Aim(net_wh=target.net_wh, traded_wh=target.traded_wh, battery_w=target.battery_w, reach_w=target.reach_w)
        others = node.desk.neighbours.fresh(now, steering.sharing.life_s)
        news = steering.steer(reading, now=now, slot=slot, aim=aim, so_far=self._meter.so_far(now), others=others)
        if news is not None:
            node.deviates(slot, news, steering.sharing.interval_s)

    # Showing

    def _publish(self, topic: str, payload: bytes, retain: bool) -> None:
        self._transport.publish(topic, payload, qos=1 if retain else 0, retain=retain)

    def _changed(self, change: Change, slot: Slot) -> None:
        match change:
            case "market":
                self._show_market(slot)
                self._tell_masks(slot)
            case "plan":
                target = self.home.target(slot, self.clock.now())
                self._memory.planned(target, self.home.forecast(slot))
                self._display.plan(target)
                self._show_market(slot)
            case "settled":
                self._memory.books(self.home)
                self._display.settled(self.home, self._memory.yesterday(self._slot()))

    def _tell_masks(self, slot: Slot) -> None:
        """Say when masked bids are given up, and when they are masked again; the market's reason says it every time."""
        said = given_up(self.home.result(slot))
        if bool(said) != self._bids_open:
            self._bids_open = bool(said)
            self.notice("warning" if said else "info", said or "bids are masked again")

    def _show_market(self, slot: Slot) -> None:
        if self._node is not None:
            self._display.market(slot, self.home, self._node.desk.trader.book.contracts(slot.key))

    async def _show_peers(self) -> None:
        assert self._node is not None
        while True:
            self._display.peers(self._node.peers)
            await asyncio.sleep(min(PEERS_S, self.config.mqtt.heartbeat_s))

    def notice(self, level: Level, text: str) -> None:
        """Tell the owner something, once."""
        self._display.notice(level, text)

    def _warn(self, text: str) -> None:
        self.notice("warning", text)

    def _link_notice(self, notice: LinkNotice) -> None:
        self.notice(notice.level, notice.text)
        if notice.link == self.name and notice.level == "info":
            self._display.repeat()

    def _warnings(self) -> list[str]:
        """Return what is wrong right now."""
        devices = list(self._poller.troubles) if self._poller else []
        away = [link for link in self._transport.links if link.kind in ("away", "refused")]
        island = ["there is no grid: no trades until it is back"] if self.home.grid_gone else []
        concerns = self._node.concerns() if self._node is not None else []
        prices = [trouble] if (trouble := self.home.facts.tariff.trouble(self.clock.now())) else []
        return devices + island + prices + [f"{link.name}: {link.reason}" for link in away] + concerns
