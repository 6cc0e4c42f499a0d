from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from agent.dashboard import attention, figures, price_charts, words
from agent.dashboard.picture import MAX_PAYLOAD_BYTES, HomePicture, Picture
from agent.dashboard.settings import DashboardSettings, Source
from agent.dashboard.topics import (
    Day,
    Market,
    Peer,
    Peers,
    Plan,
    PlannedSlot,
    Savings,
    SettledSlot,
    State,
    Topic,
    Trade,
)

NOW = datetime(2026, 5, 12, 10, 7, tzinfo=UTC)
SLOT = timedelta(minutes=15)
START = datetime(2026, 5, 12, 10, 0, tzinfo=UTC)


def state(home: str, at: datetime = NOW, trading_w: float = 0.0) -> State:
    return State(
        home=home,
        at=at,
        grid_w=100.0,
        pv_w=None,
        battery_w=None,
        load_w=100.0,
        soc_pct=None,
        quality="valid",
        control="observe",
        target_w=None,
        reason="",
        trading_w=trading_w,
    )


def trade(contract_id: str, partner: str, energy_wh: int, status: str = "bound") -> Trade:
    return Trade.model_validate(
        {
            "contract_id": contract_id,
            "partner": partner,
            "energy_wh": energy_wh,
            "price_per_kwh": "0.2",
            "status": status,
        }
    )


def market(home: str, start: datetime, *trades: Trade) -> Market:
    return Market(
        home=home,
        at=NOW,
        slot_start_at=start,
        slot_end_at=start + SLOT,
        rounds=3,
        price_per_kwh=Decimal("0.2"),
        import_price_per_kwh=Decimal("0.3"),
        export_price_per_kwh=Decimal("0.06"),
        bought_wh=sum(t.energy_wh for t in trades if t.energy_wh > 0),
        sold_wh=0,
        unmatched_wh=0,
        trades=list(trades),
        reason="",
    )


def savings(home: str, alone: str, traded: str, currency: str = "EUR") -> Savings:
    return Savings(
        home=home,
        at=NOW,
        currency=currency,
        since_at=START,
        slots=4,
        bill_no_battery=Decimal("3"),
        bill_alone=Decimal(alone),
        bill_traded=Decimal(traded),
        bought_wh=10,
        sold_wh=10,
        imported_wh=0,
        exported_wh=0,
        contracts=2,
        contracts_void=0,
        rounds_mean=3.0,
    )


def peers(home: str, *others: str, currency: str = "") -> Peers:
    """Return the charter's homes as `home` tells them, itself among them."""
    members = [Peer(id=f"id-{name}", name=name, online=True, last_seen_at=NOW) for name in (home, *others)]
    return Peers(
        home=home,
        at=NOW,
        community="street",
        community_id="c",
        self_id=f"id-{home}",
        members=members,
        price_rule="marginal",
        currency=currency,
    )


def receive(picture: Picture, message: Topic, heard_s: float = 0.0) -> str | None:
    kind = type(message).__name__.lower()
    return picture.receive(message.home, kind, message.model_dump_json().encode(), heard_s)


@pytest.mark.parametrize(
    ("kind", "payload", "why"),
    [
        ("state", b"not json", "Invalid JSON"),
        ("state", b'{"home":"a"}', "Field required"),
        ("nonsense", b"{}", "unknown topic"),
        ("state", b"x" * (MAX_PAYLOAD_BYTES + 1), "larger than"),
        ("state", state("b").model_dump_json().encode(), "another home"),
        ("state", state("a").model_dump_json().replace("10:07:00Z", "10:07:00").encode(), "without zone"),
    ],
)
def test_a_bad_message_is_refused_in_words_and_leaves_the_last_good_one(kind: str, payload: bytes, why: str) -> None:
    picture = Picture(["a"])
    assert receive(picture, state("a")) is None
    revision = picture.revision
    problem = picture.receive("a", kind, payload, 5.0)
    assert problem is not None
    assert why in problem
    assert picture.homes["a"].state == state("a")
    assert picture.homes["a"].heard_s == 0.0
    assert picture.revision == revision


def test_the_running_slot_shows_its_own_trades_although_a_later_negotiation_is_newer() -> None:
    picture = Picture(["a", "b"])
    receive(picture, state("a"))
    receive(picture, market("a", START, trade("c1", "b", 40)))
    receive(picture, market("a", START + SLOT, trade("c2", "b", 99)))
    flows = figures.running_flows(picture, picture.now())
    assert flows == (figures.Flow(seller="b", buyer="a", energy_wh=40),)


def test_a_price_that_nobody_negotiated_is_no_price_between_neighbours() -> None:
    picture = Picture(["a"])
    receive(picture, state("a"))
    receive(picture, market("a", START).model_copy(update={"price_per_kwh": None}))
    assert figures.community_figures(picture).price is None
    assert figures.home_figures(picture.homes["a"], NOW, 0.0).price is None


@pytest.mark.parametrize(("others", "drawn"), [((), [None]), (("b",), [0.19])])
def test_no_price_is_drawn_between_neighbours_where_there_are_none(
    others: tuple[str, ...], drawn: list[float | None]
) -> None:
    home = HomePicture(name="a")
    home.remember(peers("a", *others))
    slot = PlannedSlot(
        start_at=START,
        load_w=0,
        pv_w=0,
        battery_w=0,
        trade_w=0,
        grid_w=0,
        soc_pct=None,
        import_price_per_kwh=0.3,
        export_price_per_kwh=0.06,
        price_per_kwh=0.19,
        reason="",
    )
    home.remember(Plan(home="a", at=NOW, slots=[slot]))
    options = price_charts.home_prices(home, NOW, SLOT, ZoneInfo("UTC"), "EUR")
    between = next(series for series in options["series"] if series["name"] == "Between neighbours")
    assert between["data"][:1] == drawn


def test_why_a_home_trades_right_now_is_said_of_the_running_slot_and_names_it() -> None:
    home = HomePicture(name="a")
    for start, reason in ((START, "bought 40 Wh"), (START + SLOT, "nothing wanted")):
        home.remember(market("a", start).model_copy(update={"reason": reason}))
    assert words.market(home.market_at(NOW), NOW, ZoneInfo("Europe/Berlin")) == "12:00–12:15: bought 40 Wh"
    assert words.market(home.market_at(NOW + 3 * SLOT), NOW, ZoneInfo("UTC")) == ""


def test_a_contract_that_both_partners_publish_is_drawn_once_and_void_ones_never() -> None:
    picture = Picture(["a", "b"])
    receive(picture, state("a"))
    receive(picture, market("a", START, trade("c1", "b", 40), trade("c2", "b", 5), trade("c3", "b", 7, "void")))
    receive(picture, market("b", START, trade("c1", "a", -40), trade("c2", "a", -5)))
    assert figures.running_flows(picture, NOW) == (figures.Flow(seller="b", buyer="a", energy_wh=45),)


def test_community_bills_are_exact_sums_and_absent_until_every_home_has_one() -> None:
    picture = Picture(["a", "b"])
    for home, other in (("a", "b"), ("b", "a")):
        receive(picture, peers(home, other))
    receive(picture, savings("a", "1.10", "0.95"))
    assert figures.community_figures(picture).saved is None
    receive(picture, savings("b", "-0.30", "-0.35"))
    community = figures.community_figures(picture)
    assert community.bill_alone == Decimal("0.80")
    assert community.bill_traded == Decimal("0.60")
    assert community.saved == Decimal("0.20")
    assert (community.whole, community.contracts) == (True, 2)


def test_the_currency_is_the_homes_own_word_and_none_until_it_has_said_one() -> None:
    home = HomePicture(name="a")
    assert figures.home_figures(home, NOW, 0.0).currency == ""
    home.remember(savings("a", "1", "1", "GBP"))
    assert figures.home_figures(home, NOW, 0.0).currency == "GBP"
    home.remember(peers("a", currency="SEK"))
    assert figures.home_figures(home, NOW, 0.0).currency == "SEK", "the charter's, where books of before are in another"


def test_bills_in_different_currencies_are_not_summed() -> None:
    picture = Picture(["a", "b"])
    receive(picture, savings("a", "1", "1", "GBP"))
    assert figures.community_figures(picture).currency == "GBP"
    receive(picture, savings("b", "1", "1", "EUR"))
    community = figures.community_figures(picture)
    assert (community.currency, community.bill_alone, community.saved) == ("", None, None)


def test_contracts_are_counted_once_only_where_every_partner_is_on_the_page() -> None:
    picture = Picture(["a", "b"])
    receive(picture, savings("a", "1", "1"))
    receive(picture, savings("b", "1", "1"))
    assert figures.community_figures(picture).contracts is None, "nobody has said yet who the homes are"
    receive(picture, peers("a", "b", "elsewhere"))
    receive(picture, peers("b", "a", "elsewhere"))
    community = figures.community_figures(picture)
    assert (community.whole, community.contracts) == (False, None)
    assert (community.bought_wh, community.sold_wh) == (20, 20)


def test_a_home_is_not_its_own_neighbour() -> None:
    home = HomePicture(name="a")
    assert home.neighbours() == []
    home.remember(peers("a", "b", "c"))
    assert [peer.name for peer in home.neighbours()] == ["b", "c"]


def test_a_home_that_went_quiet_is_stale_and_named_in_the_warnings() -> None:
    picture = Picture(["a"])
    picture.set_link("a", "")
    receive(picture, state("a"), heard_s=100.0)
    fresh = figures.home_figures(picture.homes["a"], NOW, 105.0)
    old = figures.home_figures(picture.homes["a"], NOW, 100.0 + figures.STALE_AFTER_S + 1)
    assert not fresh.stale
    assert attention.warnings(picture, 105.0) == []
    assert old.stale
    assert attention.warnings(picture, 400.0) == [("a", "has gone quiet; last heard 5 min ago")]
    assert (figures.silent(picture, 105.0), figures.silent(picture, 200.0)) == (False, True)
    assert attention.warnings(picture, 120.0) == attention.warnings(picture, 130.0), "it is read aloud when it changes"
    picture.set_link("a", "no connection to its broker: no sign of life")
    assert attention.warnings(picture, 400.0) == [
        ("a", "no connection to its broker: no sign of life; last heard 5 min ago")
    ]


def test_the_clock_goes_on_when_homes_fall_silent_and_stands_only_in_simulated_time() -> None:
    picture = Picture(["a"])
    picture.wall_at = NOW + 2 * SLOT
    assert picture.now() is None, "nothing was heard yet"
    receive(picture, state("a"))
    receive(picture, market("a", START))
    receive(picture, market("a", START + 2 * SLOT))
    community = figures.community_figures(picture)
    assert (community.now, community.slot_start_at) == (NOW + 2 * SLOT, START + 2 * SLOT)
    picture.wall_at = None
    assert picture.now() == NOW


def test_a_link_that_is_down_is_told_with_its_own_reason() -> None:
    picture = Picture(["a", "b"])
    picture.set_link("a", "its broker refuses this page: wrong user name or password")
    picture.set_link("b", "")
    assert attention.warnings(picture, 0.0) == [("a", "its broker refuses this page: wrong user name or password")]
    picture.set_link("a", "")
    assert attention.warnings(picture, 0.0) == []


def test_a_retained_state_counts_from_its_own_age() -> None:
    picture = Picture(["a"])
    picture.receive("a", "state", state("a").model_dump_json().encode(), 100.0, retained_age_s=60.0)
    assert figures.home_figures(picture.homes["a"], NOW, 101.0).stale


def test_the_settled_day_knows_a_trades_last_status_better_than_the_negotiation() -> None:
    picture = Picture(["a"])
    receive(picture, market("a", START, trade("c1", "b", 40)))
    settled = SettledSlot(
        start_at=START,
        load_wh=1,
        pv_wh=0,
        battery_wh=0,
        import_wh=1,
        export_wh=0,
        soc_pct=None,
        bought_wh=40,
        sold_wh=0,
        price_per_kwh=Decimal("0.2"),
        forecast_load_wh=None,
        forecast_pv_wh=None,
        trades=[trade("c1", "b", 40, "counted")],
    )
    receive(picture, Day(home="a", at=NOW, slots=[settled]))
    assert [(t.contract_id, t.status) for _, t in picture.homes["a"].trades()] == [("c1", "counted")]


def test_a_cancelled_trade_never_becomes_agreed_again_when_its_slot_leaves_the_day() -> None:
    home = HomePicture(name="a")
    home.remember(market("a", START, trade("c1", "b", 40)))
    home.remember(market("a", START + 2 * SLOT, trade("c2", "b", 40)))
    home.remember(Day(home="a", at=START + timedelta(hours=24), slots=[]))
    assert [t.contract_id for _, t in home.trades()] == ["c2", "c1"]
    home.remember(Day(home="a", at=START + timedelta(hours=24, minutes=20), slots=[]))
    assert [t.contract_id for _, t in home.trades()] == ["c2"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sources": [{"home": "a", "url": "http://x"}]}, "mqtt://host:port"),
        ({"sources": [{"home": "a", "url": "mqtt://x:99999"}]}, "port"),
        ({"sources": [{"home": "a/b", "url": "mqtt://x"}]}, "topics"),
        ({"sources": [{"home": "a", "url": "mqtt://x"}] * 2}, "twice"),
        ({"timezone": "Mars/Base"}, "Europe/Berlin"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_cure(changes: dict[str, object], words: str) -> None:
    good: dict[str, object] = {"sources": [{"home": "a", "url": "mqtt://127.0.0.1:1883"}]}
    DashboardSettings.model_validate(good)
    with pytest.raises(ValidationError, match=words):
        DashboardSettings.model_validate(good | changes)


def test_a_password_does_not_show_in_a_printed_setting() -> None:
    assert "hunter2" not in repr(Source(home="a", url="mqtt://x", username="u", password="hunter2"))
