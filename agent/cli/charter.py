"""`commonwatt charter ...`: found a community, invite and join, propose and vote, leave; by blocks to copy and paste.

Every command reads blocks from files or from what is pasted, prints one to pass on, and says what comes next. What
stands around a block does not matter: a whole chat, or the output of a command, is a good file.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from agent.charter_blocks import BrokerCard, Card, Paper, read_blocks
from agent.charter_desk import CharterDesk, Said
from agent.charter_founding import RuleChanges, draft_founding, make_card, meter_commitment
from agent.charter_proposal import Wishes
from agent.charter_rules import rule_value
from agent.charter_words import charter_lines, overview, proposal_lines, span
from agent.cli import charter_view as view
from agent.config import HomeConfig, load_config
from coordinator.charter import Charter
from coordinator.clock import Clock, WallClock
from coordinator.errors import ConfigError
from coordinator.identity import Identity

app = typer.Typer(
    help="The community's members and rules: signed by its members, changed by two thirds of them, with no admin key.",
    no_args_is_help=True,
)

ConfigFile = Annotated[Path, typer.Option(help="The home's TOML file.")]
Files = Annotated[list[Path] | None, typer.Argument(help="Files with the blocks others sent; without any, paste them.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print as JSON.")]
Broker = Annotated[
    str | None,
    typer.Option(help="Where neighbours reach this home's broker: mqtts://ADDRESS:8883; none: at meeting brokers."),
]
Meter = Annotated[str | None, typer.Option(help="Number of the metering point; only a slow hash of it is shown.")]
PowerKw = Annotated[float | None, typer.Option(min=0.1, help="This home's connection, for people to know.")]
RuleList = Annotated[
    list[str] | None,
    typer.Option("--rule", help="A rule: gate_s=60; `charter show --rules` lists them. May be repeated."),
]
WaitingDays = Annotated[float | None, typer.Option(min=0, max=90, help="How long changes wait after the vote.")]
Yes = Annotated[bool, typer.Option("--yes", help="Sign without asking.")]

DEFAULT = Path("home.toml")


class _Home:
    """One home's settings, time and papers."""

    def __init__(self, config: Path) -> None:
        self.config: HomeConfig = load_config(config)
        clock: Clock = self.config.clock.clock() if self.config.clock else WallClock()
        self.desk = CharterDesk(self.config, clock.now())
        self.identity = Identity.load(self.config.community.key_file)

    def card(self, broker: str | None, meter: str | None, power_kw: float | None) -> tuple[Card, list[str]]:
        member, lines = make_card(
            self.config,
            self.identity,
            self.desk.state,
            broker=broker,
            meter=None if meter is None else meter_commitment(meter),
            power_limit_w=None if power_kw is None else round(1000 * power_kw),
        )
        coming = self.desk.state.coming()
        community = coming.charter.community_id if coming is not None and not coming.unsigned else None
        return Card(member=member, community=community), lines

    def here(self) -> Charter:
        return self.desk.state.history().in_force(self.desk.now_ms)


@app.command()
def found(
    name: Annotated[str, typer.Argument(help="The community's name.")],
    files: Files = None,
    config: ConfigFile = DEFAULT,
    rule: RuleList = None,
    waiting_days: WaitingDays = None,
    broker: Broker = None,
    meter: Meter = None,
    power_kw: PowerKw = None,
    as_json: AsJson = False,
) -> None:
    """Write the founding of a community from the cards of the others (`charter join`), and sign it as the first."""
    home = _Home(config)
    papers = read_papers(files)
    cards = [paper for paper in papers if isinstance(paper, Card)]
    if not cards:
        raise ConfigError("no card found: the other founders make theirs with `commonwatt charter join`")
    with home.desk.state.alone():
        card, lines = home.card(broker, meter, power_kw)
        waiting_s = None if waiting_days is None else round(86400 * waiting_days)
        charter = draft_founding(
            home.here(),
            name,
            card.member,
            cards,
            _rules(rule),
            waiting_s=waiting_s,
            founded_ms=home.desk.now_ms,
            meeting=[paper.broker for paper in papers if isinstance(paper, BrokerCard)],
        )
        said = home.desk.found(charter)
    others = ", ".join(member.name for member in charter.members if member.id != home.desk.me)
    steps = [
        f"Send the block to {others}. Each runs `commonwatt charter vote`, pastes it and signs.",
        "Then everybody runs `commonwatt charter vote` once more and pastes the answers of all.",
    ]
    lines += [*said.lines, *charter_lines(charter)]
    view.show(Said(lines=lines, papers=said.papers, next_steps=steps), as_json=as_json)


@app.command()
def invite(config: ConfigFile = DEFAULT, as_json: AsJson = False) -> None:
    """Print all papers of this community: for a home that wants to join, or a member that missed something."""
    home = _Home(config)
    history = home.desk.state.history()
    steps = [
        "Send the block to the new home. It runs `commonwatt charter join`, pastes it, and sends its card back.",
        "Then: commonwatt charter propose --add CARD_FILE",
    ]
    view.show(Said(lines=charter_lines(home.here()), papers=[history], next_steps=steps), as_json=as_json)


@app.command()
def join(
    files: Files = None,
    config: ConfigFile = DEFAULT,
    founding: Annotated[bool, typer.Option("--founding", help="No invitation: the community is yet to be.")] = False,
    broker: Broker = None,
    meter: Meter = None,
    power_kw: PowerKw = None,
    as_json: AsJson = False,
) -> None:
    """Make this home's card: for whoever founds a community (--founding), or in answer to an invitation."""
    home = _Home(config)
    papers = [] if founding else read_papers(files)
    with home.desk.state.alone():
        lines = home.desk.take(papers)
        card, done = home.card(broker, meter, power_kw)
        coming = home.desk.state.coming()
    if not founding and card.community is None:
        raise ConfigError("no invitation found: a member makes one with `commonwatt charter invite`")
    if coming is not None and card.community is not None:
        lines += charter_lines(coming.in_force(home.desk.now_ms))
    to = "whoever founds the community" if founding else "the member who invited you"
    steps = [f"Send the block to {to}. You will get a {'founding' if founding else 'proposal'} to sign in return."]
    view.show(Said(lines=[*lines, *done], papers=[card], next_steps=steps), as_json=as_json)


@app.command()
def propose(
    add: Annotated[
        list[Path] | None, typer.Option(help="File with the card of a home or a meeting broker to add or to alter.")
    ] = None,
    remove: Annotated[list[str] | None, typer.Option(help="Name of a member or meeting broker to take off.")] = None,
    rule: RuleList = None,
    waiting_days: WaitingDays = None,
    vote_hours: Annotated[float, typer.Option(min=0, max=24 * 60, help="How long votes are taken.")] = 48.0,
    config: ConfigFile = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Propose a change and vote for it: homes, rules. Taking a member off, and nothing else, waits for nothing."""
    home = _Home(config)
    given = read_papers(add) if add else []
    cards = [paper for paper in given if isinstance(paper, Card)]
    wishes = Wishes(
        cards=cards,
        meeting=[paper.broker for paper in given if isinstance(paper, BrokerCard)],
        remove=remove or [],
        rules=_rules(rule),
        waiting_s=None if waiting_days is None else round(86400 * waiting_days),
        vote_s=round(3600 * vote_hours),
    )
    with home.desk.state.alone():
        said = home.desk.propose(wishes)
        lines = [*said.lines, *_open(home)]
    new = "".join(f" and to {card.member.name}" for card in cards)
    steps = [f"Send the block to every member{new}. Each runs `commonwatt charter vote` and pastes it."]
    view.show(Said(lines=lines, papers=said.papers, next_steps=steps), as_json=as_json)


@app.command()
def vote(
    files: Files = None,
    config: ConfigFile = DEFAULT,
    proposal: Annotated[str | None, typer.Option(help="Only this proposal: the signs `show` names it by.")] = None,
    recovery: Annotated[
        Path | None, typer.Option(help="Vote with this recovery key, for the member it belongs to.")
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Take what others sent (foundings, proposals, votes); sign what waits for this home, after asking."""
    home = _Home(config)
    with home.desk.state.alone():
        lines = home.desk.take(read_papers(files))
        waiting = home.desk.awaiting() if recovery is None else home.desk.open()
        waiting = waiting if proposal is None else home.desk.open()
        chosen = [each for each in waiting if proposal is None or each.hash.startswith(proposal)]
        if proposal is not None and not chosen:
            raise ConfigError(f"no proposal {proposal} waits for this home: `commonwatt charter show` lists them")
        papers: list[Paper] = []
        for charter in chosen:
            asked = _question(home, charter)
            if yes or view.agrees(asked, as_json=as_json):
                said = home.desk.vote(charter, recovery)
                lines += [*(asked if charter.follows is None and yes else ()), *said.lines]
                papers += said.papers
            else:
                lines.append("Not signed.")
        for charter in [] if chosen or recovery is not None else home.desk.open():
            if (bar := home.desk.barred_by(charter)) is not None:
                lines.append(f"Not signed: {charter.hash[:8]} of epoch {charter.epoch}: {bar}.")
        adopted = home.desk.state.adopt(home.desk.now)
        said = Said(lines=[*lines, *_open(home)], papers=papers, next_steps=_after_vote(home, adopted, papers))
        view.show(said, as_json=as_json)


@app.command()
def show(
    config: ConfigFile = DEFAULT,
    rules: Annotated[bool, typer.Option("--rules", help="Print every rule, its bounds and its value here.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print members, rules and quorum, what is proposed, and how the charter came to be what it is."""
    home = _Home(config)
    if rules:
        view.show_rules(home.here().rules, as_json=as_json)
        return
    history, coming = home.desk.state.history(), home.desk.state.coming()
    if as_json:
        view.show_json(history, coming, home.desk.now_ms)
    else:
        view.echo(overview(history, coming, home.desk.now_ms))


@app.command()
def leave(
    config: ConfigFile = DEFAULT,
    in_hours: Annotated[float, typer.Option(min=0, max=24 * 90, help="So that running trades settle first.")] = 2.0,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Leave the community; nobody has to agree. This home then lives on alone."""
    home = _Home(config)
    asked = [f"This home leaves {home.here().name!r} in {span(round(3600 * in_hours))}, for good, with this key."]
    if not yes and not view.agrees(asked, as_json=as_json):
        raise typer.Exit(1)
    with home.desk.state.alone():
        said = home.desk.leave(round(3600 * in_hours))
    steps = [
        "Send both blocks to every member; each runs `commonwatt charter vote` and pastes them.",
        "The first ends trading with this home, the second takes it off the list.",
    ]
    view.show(Said(lines=said.lines, papers=said.papers, next_steps=steps), as_json=as_json)


@app.command()
def suspend(
    recovery: Annotated[Path, typer.Argument(help="The member's recovery key.")],
    config: ConfigFile = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Shut out a stolen or lost key by its recovery key, at once and without a vote; on any member's machine.

    Without a recovery key two thirds of the members can: `charter propose --remove NAME`.
    """
    home = _Home(config)
    with home.desk.state.alone():
        said = home.desk.suspend(recovery)
    steps = ["Send the block to every member; each runs `commonwatt charter vote` and pastes it."]
    view.show(Said(lines=said.lines, papers=said.papers, next_steps=steps), as_json=as_json)


def read_papers(files: list[Path] | None) -> list[Paper]:
    """Return the papers in the files; without files, what is pasted."""
    texts = []
    for file in files or ():
        try:
            texts.append(sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file} cannot be read as text ({error}): correct the name") from None
    return read_blocks("\n".join(texts) if files else view.pasted())


def _rules(given: list[str] | None) -> RuleChanges:
    changes: RuleChanges = {}
    for each in given or ():
        name, equals, value = each.partition("=")
        if not equals:
            raise ConfigError(f"--rule {each}: write NAME=VALUE, as in gate_s=60")
        changes[name.strip()] = rule_value(name.strip(), value.strip())
    return changes


def _open(home: _Home) -> list[str]:
    now_ms = home.desk.now_ms
    papers = [history for history in home.desk.subjects() if not history.unsigned]
    return [line for each in papers for c in each.open_changes(now_ms) for line in proposal_lines(c, each, now_ms)]


def _question(home: _Home, charter: Charter) -> list[str]:
    history, now_ms = home.desk.papers_of(charter), home.desk.now_ms
    if charter.follows is None:
        return ["A founding:", *charter_lines(charter)]
    change = next(each for each in history.changes if each.charter == charter)
    return proposal_lines(change, history, now_ms)


def _after_vote(home: _Home, adopted: Charter | None, papers: list[Paper]) -> list[str]:
    send = ["Send the block to all others; they run `commonwatt charter vote` and paste it."] if papers else []
    if adopted is not None:
        count = len(adopted.homes)
        return [
            *send,
            f"{adopted.name} has {count} homes, and this is one. Do the others read {adopted.community_id}, too?",
            "Then: commonwatt check, and commonwatt run (an agent that runs goes over by itself)",
        ]
    coming = home.desk.state.coming()
    if coming is not None and coming.unsigned:
        return [*send, f"Still to sign: {', '.join(coming.unsigned)}. Paste their answers as you pasted this one."]
    if coming is not None and home.desk.me in coming.in_force(home.desk.now_ms).by_id:
        to, here = coming.charter.name, home.here().name
        return [*send, f"This home goes over to {to!r} when it has left {here!r}: commonwatt charter leave"]
    return send
