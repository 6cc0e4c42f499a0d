"""Six made-up homes for the page's tests: plausible topics at any moment, published to a real broker.

Run as a program it keeps publishing at demo speed, to look at the page without a neighbourhood:
`python tests/browser/fake_homes.py PORT [SPEED]`.
"""

import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from agent.dashboard.publisher import StatePublisher
from agent.dashboard.topics import (
    TOPICS,
    Day,
    Market,
    Notice,
    Notices,
    Peer,
    Peers,
    Plan,
    PlannedSlot,
    Running,
    Savings,
    SettledSlot,
    State,
    Topic,
    Trade,
    topic_name,
)
from coordinator.clock import ScaledClock, WallClock

SLOT = timedelta(minutes=15)
START = datetime(2026, 5, 12, 7, 0, tzinfo=UTC)
NAMES = tuple(f"home-{n}" for n in range(1, 7))


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeHome:
    """One home's day in closed form."""

    name: str
    pv_peak_w: float
    battery_w: float
    base_w: float
    evening_w: float

    def pv_w(self, at: datetime) -> float:
        hour = at.hour + at.minute / 60 + at.second / 3600 + 2
        return self.pv_peak_w * max(0.0, math.sin((hour - 6) / 14 * math.pi)) ** 1.4

    def load_w(self, at: datetime) -> float:
        hour = at.hour + at.minute / 60 + 2
        meal = math.exp(-(((hour - 19) / 1.8) ** 2)) + 0.5 * math.exp(-(((hour - 8) / 1.2) ** 2))
        return self.base_w + self.evening_w * meal

    def battery_power_w(self, at: datetime) -> float:
        surplus_w = self.pv_w(at) - self.load_w(at)
        wish_w = -surplus_w * 0.6 if self.pv_peak_w else (-900.0 if 10 <= at.hour < 14 else 700.0)
        return max(-self.battery_w, min(self.battery_w, wish_w))

    def soc_pct(self, at: datetime) -> float | None:
        return 55 - 35 * math.cos((at.hour + at.minute / 60 - 4) / 24 * 2 * math.pi) if self.battery_w else None


HOMES = (
    FakeHome(name=NAMES[0], pv_peak_w=5200, battery_w=3000, base_w=320, evening_w=1800),
    FakeHome(name=NAMES[1], pv_peak_w=3800, battery_w=2500, base_w=280, evening_w=1400),
    FakeHome(name=NAMES[2], pv_peak_w=4300, battery_w=0, base_w=410, evening_w=2100),
    FakeHome(name=NAMES[3], pv_peak_w=2600, battery_w=0, base_w=240, evening_w=1500),
    FakeHome(name=NAMES[4], pv_peak_w=0, battery_w=2500, base_w=380, evening_w=2400),
    FakeHome(name=NAMES[5], pv_peak_w=0, battery_w=0, base_w=520, evening_w=2600),
)


def slot_start(at: datetime) -> datetime:
    return datetime.fromtimestamp(int(at.timestamp()) // 900 * 900, UTC)


def import_price(at: datetime) -> Decimal:
    hour = (at.hour + 2) % 24
    return Decimal("0.42") if 17 <= hour < 21 else Decimal("0.15") if hour < 6 else Decimal("0.28")


def street_price(at: datetime) -> Decimal:
    high, low = import_price(at), Decimal("0.06")
    sun = Decimal(str(round(HOMES[0].pv_w(at) / HOMES[0].pv_peak_w, 3)))
    return (high - (high - low) * Decimal("0.7") * sun).quantize(Decimal("0.0001"))


def net_wh(home: FakeHome, start: datetime) -> int:
    battery_w = home.battery_power_w(start) if home.battery_w else 0.0
    return round((home.load_w(start) - home.pv_w(start) - battery_w) / 4)


def trades_of(start: datetime) -> list[tuple[str, str, int]]:
    """Return (seller, buyer, Wh): surpluses shared among those in need."""
    net = {home.name: net_wh(home, start) for home in HOMES}
    sellers = {name: -wh for name, wh in net.items() if wh < -20}
    buyers = {name: wh for name, wh in net.items() if wh > 20}
    offered, wanted = sum(sellers.values()), sum(buyers.values())
    volume = min(offered, wanted)
    return [
        (seller, buyer, round(volume * (sells / offered) * (needs / wanted)))
        for seller, sells in sellers.items()
        for buyer, needs in buyers.items()
        if round(volume * (sells / offered) * (needs / wanted)) > 0
    ]


def own_trades(home: str, start: datetime, status: str) -> list[Trade]:
    price = street_price(start)
    found = []
    for seller, buyer, wh in trades_of(start):
        if home in (seller, buyer):
            partner, signed = (seller, wh) if home == buyer else (buyer, -wh)
            key = f"{start:%H%M}-{seller}-{buyer}"
            found.append(
                Trade(contract_id=key, partner=partner, energy_wh=signed, price_per_kwh=price, status=status)  # type: ignore[arg-type]
            )
    return found


def bought_wh(trades: list[Trade]) -> int:
    return sum(t.energy_wh for t in trades if t.energy_wh > 0)


def sold_wh(trades: list[Trade]) -> int:
    return -sum(t.energy_wh for t in trades if t.energy_wh < 0)


def state(home: FakeHome, now: datetime) -> State:
    load_w, pv_w = home.load_w(now), home.pv_w(now)
    battery_w = home.battery_power_w(now) if home.battery_w else 0.0
    trades = own_trades(home.name, slot_start(now), "bound")
    return State(
        home=home.name,
        at=now,
        grid_w=round(load_w - pv_w - battery_w, 1),
        pv_w=round(pv_w, 1) if home.pv_peak_w else None,
        battery_w=round(battery_w, 1) if home.battery_w else None,
        load_w=round(load_w, 1),
        soc_pct=home.soc_pct(now),
        quality="valid",
        control="following" if home.battery_w else "observe",
        target_w=round(battery_w, 1) if home.battery_w else None,
        reason=_reason(home, now),
        trading_w=(bought_wh(trades) - sold_wh(trades)) * 4.0,
        sharing=True,
        sharing_with=5,
        shared_w=320.0 if home.battery_w else 0.0,
    )


def _reason(home: FakeHome, now: datetime) -> str:
    if not home.battery_w:
        return "No battery here: this home buys and sells what its meter needs."
    if home.battery_power_w(now) < -20:
        return "Charging: there is more sun than the house needs, and the evening is dearer."
    if home.battery_power_w(now) > 20:
        return f"Giving: the grid asks {import_price(now) * 100:.0f} ct, stored energy is cheaper."
    return "Resting: neither charging nor giving would save anything now."


def market(home: FakeHome, now: datetime, ahead: int = 1) -> Market:
    start = slot_start(now) + SLOT * ahead
    trades = own_trades(home.name, start, "bound")
    return Market(
        home=home.name,
        at=now,
        slot_start_at=start,
        slot_end_at=start + SLOT,
        rounds=7,
        price_per_kwh=street_price(start),
        import_price_per_kwh=import_price(start),
        export_price_per_kwh=Decimal("0.06"),
        bought_wh=bought_wh(trades),
        sold_wh=sold_wh(trades),
        unmatched_wh=2,
        trades=trades,
        reason="Sold the surplus to neighbours." if sold_wh(trades) else "Bought below the grid's price.",
    )


def plan(home: FakeHome, now: datetime) -> Plan:
    slots = []
    for start in (slot_start(now) + SLOT * i for i in range(96)):
        battery_w = home.battery_power_w(start) if home.battery_w else 0.0
        trades = own_trades(home.name, start, "offered")
        trade_w = (bought_wh(trades) - sold_wh(trades)) * 4.0
        slots.append(
            PlannedSlot(
                start_at=start,
                load_w=home.load_w(start) * 1.06,
                pv_w=home.pv_w(start) * 0.95,
                battery_w=battery_w,
                trade_w=trade_w,
                grid_w=home.load_w(start) - home.pv_w(start) - battery_w - trade_w,
                soc_pct=home.soc_pct(start),
                import_price_per_kwh=float(import_price(start)),
                export_price_per_kwh=0.06,
                price_per_kwh=float(street_price(start)),
                reason=_reason(home, start),
            )
        )
    return Plan(home=home.name, at=now, slots=slots)


def day(home: FakeHome, now: datetime) -> Day:
    slots = []
    start = START
    while start + SLOT <= now:
        trades = own_trades(home.name, start, "counted")
        grid_wh = net_wh(home, start)
        slots.append(
            SettledSlot(
                start_at=start,
                load_wh=home.load_w(start) / 4,
                pv_wh=home.pv_w(start) / 4,
                battery_wh=home.battery_power_w(start) / 4 if home.battery_w else 0.0,
                import_wh=max(0, grid_wh),
                export_wh=max(0, -grid_wh),
                soc_pct=home.soc_pct(start + SLOT),
                bought_wh=bought_wh(trades),
                sold_wh=sold_wh(trades),
                price_per_kwh=street_price(start),
                forecast_load_wh=home.load_w(start) / 4 * (1.1 + 0.1 * math.sin(start.hour)),
                forecast_pv_wh=home.pv_w(start) / 4 * (0.93 + 0.1 * math.cos(start.hour)),
                import_price_per_kwh=import_price(start),
                export_price_per_kwh=Decimal("0.06"),
                trades=trades,
            )
        )
        start += SLOT
    return Day(home=home.name, at=now, slots=slots[-96:])


def savings(home: FakeHome, now: datetime) -> Savings:
    slots = day(home, now).slots
    energy = sum((Decimal(s.import_wh) * (s.import_price_per_kwh or 0) for s in slots), Decimal(0)) / 1000
    earned = sum((Decimal(s.export_wh) * Decimal("0.06") for s in slots), Decimal(0)) / 1000
    alone = energy - earned
    gain = sum((Decimal(s.bought_wh + s.sold_wh) * Decimal("0.045") for s in slots), Decimal(0)) / 1000
    return Savings(
        home=home.name,
        at=now,
        currency="EUR",
        since_at=START,
        slots=len(slots),
        bill_no_battery=alone + Decimal("0.031") * len(slots) if home.battery_w else alone,
        bill_alone=alone,
        bill_traded=alone - gain,
        bought_wh=sum(s.bought_wh for s in slots),
        sold_wh=sum(s.sold_wh for s in slots),
        imported_wh=sum(s.import_wh for s in slots),
        exported_wh=sum(s.export_wh for s in slots),
        contracts=sum(len(s.trades) for s in slots),
        contracts_void=0,
        rounds_mean=6.4,
    )


def peers(home: FakeHome, now: datetime) -> Peers:
    members = [
        Peer(id=f"id-of-{name}", name=name, online=name != "home-4", last_seen_at=now - timedelta(seconds=40))
        for name in NAMES
    ]
    return Peers(
        home=home.name,
        at=now,
        community="Lindenweg",
        community_id="3f9a77c1d2b04e55",
        self_id=f"id-of-{home.name}",
        members=members,
        price_rule="marginal",
    )


def notices(home: FakeHome, now: datetime) -> Notices:
    count = len(own_trades(home.name, slot_start(now), "bound"))
    log = [Notice(at=slot_start(now), level="info", text=f"Agreed on {count} trades with neighbours.")] if count else []
    if home.name == "home-3":
        log.append(Notice(at=START, level="warning", text="The meter answered late; one reading was left out."))
    return Notices(home=home.name, at=now, warnings=[], log=log)


def notice_of(home: FakeHome, now: datetime, text: str) -> Notices:
    return Notices(home=home.name, at=now, warnings=[text], log=[Notice(at=now, level="error", text=text)])


def topics(now: datetime) -> Iterator[Topic]:
    """Yield every topic of every home at `now`, the running slot's negotiation before the next one's."""
    for home in HOMES:
        yield state(home, now)
        yield Running.model_validate(market(home, now, ahead=0).model_dump())
        yield market(home, now)
        for make in (plan, day, savings, peers, notices):
            yield make(home, now)


def connect(port: int) -> tuple[mqtt.Client, Callable[[str, bytes, bool], None]]:
    """Return a connected client and a publish function; QoS 1, so that a flush can wait for the broker."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()

    def publish(topic: str, payload: bytes, retain: bool) -> None:
        client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(5)

    return client, publish


def send(publish: Callable[[str, bytes, bool], None], message: Topic) -> None:
    """Publish one topic at once, and wait until the broker has it."""
    kind = next(kind for kind, model in TOPICS.items() if type(message) is model)
    publish(topic_name(message.home, kind), message.model_dump_json().encode(), True)


def main() -> None:
    port, speed = int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 360.0
    client, publish = connect(port)
    wall = WallClock()
    skip = timedelta(hours=float(sys.argv[3])) if len(sys.argv) > 3 else timedelta(0)
    clock = ScaledClock(START + skip, wall.now(), speed)
    publisher = StatePublisher(publish, wall)
    slot = None
    try:
        while True:
            now = clock.now()
            if slot_start(now) != slot:
                slot = slot_start(now)
                for message in topics(now):
                    publisher.publish(message)
            for home in HOMES:
                publisher.publish(state(home, now))
            time.sleep(0.25)
    except KeyboardInterrupt:
        client.disconnect()


if __name__ == "__main__":
    main()
