"""What is taken away in turn, for each row of CONTROL_POINTS.md."""

import signal
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from evil_tricks import delays, drops, exaggerates, forges, lies, loses, replays, shows_each_another
from removal_faults import (
    LIAR,
    VICTIM,
    Fault,
    alone,
    broker_wire,
    clock_off,
    ended,
    forged_charter,
    garbled_modbus,
    guard_gets,
    ids,
    modbus,
    one_pair_apart,
    stopped,
    tricked,
)
from removed_street import WRONG_CLOCK
from street_folder import HOMES

How = Literal["killed", "frozen", "cut off", "taken over"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One part that is taken away.

    Attributes:
        row: The component in CONTROL_POINTS.md.
        what: What exactly, in a few words.
        touched: Homes that need not trade while it lasts; all others have to.
        own_way: Homes whose battery has to be on its own once the inverter's timer has ended.
        without_devices: Homes whose devices cannot be asked.
        lasts_s: At least so long [wall s].
        liar: The member that speaks untruth with its own key: its partners' words count, not its own.
        proved: The liar signs two contents for one key: all others prove that, tell their owners, and trade with it
            no more.
        says: What every touched home must tell its owner meanwhile.
    """

    row: str
    how: How
    what: str
    fault: Fault
    touched: tuple[str, ...] = (VICTIM,)
    own_way: tuple[str, ...] = ()
    without_devices: tuple[str, ...] = ()
    lasts_s: float = 0.0
    liar: str | None = None
    proved: bool = False
    says: str = ""


NEIGHBOUR, OWN = "a neighbour's broker", "own broker"
CASES = (
    Case(row=OWN, how="killed", what="its broker's process", fault=ended("broker")),
    Case(row=OWN, how="frozen", what="its broker's process", fault=stopped("broker")),
    Case(row=OWN, how="cut off", what="its house from all neighbours", fault=alone),
    Case(row=NEIGHBOUR, how="cut off", what="what it tells others is held", fault=broker_wire("silent"), lasts_s=15),
    Case(row=NEIGHBOUR, how="taken over", what="it delays half of all messages by up to 10 minutes",
         fault=tricked(lambda street, chance: delays(chance, 600 / street.demo.speed), [VICTIM])),
    Case(row=NEIGHBOUR, how="taken over", what="it drops half of all messages",
         fault=tricked(lambda street, chance: drops(chance, 0.5), [VICTIM])),
    Case(row=NEIGHBOUR, how="taken over", what="it replays old messages, three for each new one",
         fault=tricked(lambda street, chance: replays(chance), [VICTIM])),
    Case(row=NEIGHBOUR, how="taken over", what="it forges messages of every home, sixteen for each true one",
         fault=tricked(lambda street, chance: forges(chance, ids(street)), [VICTIM])),
    Case(row=NEIGHBOUR, how="taken over", what="it shows each neighbour another half of the messages",
         fault=tricked(lambda street, chance: shows_each_another(chance), [VICTIM])),
    Case(row="wire between homes", how="cut off", what="two homes from each other", fault=one_pair_apart,
         touched=(VICTIM, LIAR)),
    Case(row="messages and their loss", how="taken over",
         what="every wire loses, repeats and delays a tenth of all messages",
         fault=tricked(lambda street, chance: loses(chance, 0.1), HOMES), touched=()),
    Case(row="a neighbour that lies or stalls", how="killed", what="its agent", fault=ended("agent"),
         own_way=(VICTIM,)),
    Case(row="a neighbour that lies or stalls", how="frozen", what="its agent", fault=stopped("agent"),
         own_way=(VICTIM,)),
    Case(row="a neighbour that lies about its deviation", how="taken over", what="it signs the largest numbers",
         fault=tricked(lambda street, chance: exaggerates(chance, street.identity(LIAR)), [LIAR]),
         touched=(LIAR,), liar=LIAR),
    Case(row="a neighbour that lies or stalls", how="taken over",
         what="it signs other prices, bids, offers, positions for each reader",
         fault=tricked(lambda street, chance: lies(chance, street.identity(LIAR)), [LIAR]),
         touched=(LIAR,), liar=LIAR, proved=True),
    Case(row="charter (members, rules)", how="taken over", what="the paper of all homes is another, unsigned one",
         fault=forged_charter, touched=(), lasts_s=17),
    Case(row="battery and inverter", how="killed", what="its guard", fault=guard_gets(signal.SIGKILL)),
    Case(row="battery and inverter", how="frozen", what="its guard", fault=guard_gets(signal.SIGSTOP)),
    Case(row="battery and inverter", how="killed", what="its inverter and meter", fault=ended("simulator"),
         without_devices=(VICTIM,)),
    Case(row="battery and inverter", how="frozen", what="its inverter and meter", fault=stopped("simulator"),
         without_devices=(VICTIM,)),
    Case(row="Modbus network", how="cut off", what="agent and guard from the devices", fault=modbus("cut"),
         own_way=(VICTIM,)),
    Case(row="Modbus network", how="taken over", what="three bits of every answer are changed", fault=garbled_modbus,
         own_way=(VICTIM,)),
    Case(row="clock (NTP)", how="taken over", what="a home's clock is set 20 minutes ahead",
         fault=clock_off(timedelta(minutes=20)), touched=(WRONG_CLOCK,),
         says="ahead of most"),
    Case(row="clock (NTP)", how="taken over", what="a home's clock is set 20 minutes back",
         fault=clock_off(timedelta(minutes=-20)), touched=(WRONG_CLOCK,),
         says="behind most"),
)  # fmt: skip
