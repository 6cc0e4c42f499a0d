"""What `commonwatt init` writes into a first home's settings. `@NAME@` stands for a value.

A line `#key = value` is an option that works when the `#` is taken away; its value is the default unless the line above
says "for example". "Instead of x" means that x must go then. Prose has a blank after its `#`.
"""

CONFIG = """\
# One home of Commonwatt. `commonwatt check --config THIS_FILE` explains what is wrong with it, `commonwatt run --config
# THIS_FILE` runs it. Relative paths are relative to this file. Take the # away from a line like `#key = value` to set
# it; where no other hint is given, the value shown is what holds without it. Any key can also come from the
# environment: COMMONWATT_MQTT__OWN__URL is `url` in [mqtt.own].

[home]
# This home's name as the charter has it. Neighbours see it.
name = @NAME@
# The zone of your clock: days, tariffs and forecasts follow it.
timezone = @TIMEZONE@
# Where the ledger, what was metered and what was learned are kept. Back it up together with the key.
data_dir = "data"
# Installed power of the panels, in kWp; 0 without. Forecasts stay below it.
pv_kwp = 6.0
# Two letters of the country whose public holidays you keep: on them, forecasts expect a day off. For example:
#country = "DE"
# Where the home stands, degrees north and east: forecasts then know how high the sun is. For example:
#location = [52.5, 13.4]
# Ask Open-Meteo for the weather at this place, told to a tenth of a degree; needs pip install "commonwatt[weather]".
#weather = false
# Limit of the grid connection in both directions, in kW; without it, none is assumed. For example:
#connection_kw = 17.0
# The main fuse of each phase, in A, where the meter shows power and voltage of its phases: none is ever pushed over it.
# For example:
#fuse_a = 25.0
# Bills count from here and up to here; without them, from the first metered slot and for ever. For example:
#since = 2026-01-01T00:00:00Z
#until = 2027-01-01T00:00:00Z

[community]
# The members and rules, signed by the members. Yours has one member: `commonwatt charter` founds and joins communities.
charter = "charter.json"
# This home's private key: who has it, is this home. Never share it.
key_file = "key.pem"
# Who is proved to have told different neighbours different things is not traded with, but for these names.
#forgiven = []

[mqtt]
# Neighbours are told this often that this home is there, in seconds.
#heartbeat_s = 20.0
# A broker that is silent for about twice this time counts as away, in seconds.
#keepalive_s = 10
# The longest pause between two attempts to reach a broker, in seconds.
#retry_max_s = 15.0

# This home's own broker: everything it says, it says there.
[mqtt.own]
url = @BROKER@
# The user that may do everything on it.
username = "owner"
# The password is the first line of this file.
password_file = "owner.password"
# Instead of password_file, the password itself; then keep this file from other eyes. For example:
#password = "a long password of your own"

# How this home is let into a neighbour's broker, where not by the password that both have from their keys: neighbours
# that `commonwatt charter` brought together need nothing here. For example:
#[[mqtt.peers]]
#member = "home-2"
# The password they gave you: in a file, or as `password = "..."` here.
#password_file = "home-2.password"
# Only where it differs from the address in the charter. For example:
#url = "mqtts://192.168.1.52:8883"
# Only where they gave you another user than this home's id.
#username = "@HOME@"

# This home's broker, started together with the agent. Take the whole section out (down to [devices]) when Mosquitto
# runs by itself: then `url` above says where.
[broker]
# mosquitto, embedded, or auto: Mosquitto where it is installed.
kind = "auto"
# Where it listens for this machine: not encrypted, so leave it at 127.0.0.1.
host = "127.0.0.1"
# The same port as in mqtt.own.url.
port = 1883
# Where Mosquitto keeps retained messages over a restart; without it, nowhere. For example:
#data_dir = "data"

# Where it listens for neighbours: encrypted, with a certificate by this home's key, which the agent renews.
[broker.tls]
# 127.0.0.1 is for this machine only; 0.0.0.0 lets your network reach it. Members come in by keys, others do not.
host = "127.0.0.1"
# The same port as in the charter: mqtts://ADDRESS:8883.
port = 8883
# The key that signs the certificate; without it, this home's own. For example:
#key_file = "key.pem"

# Who may connect: yourself, for this agent and your own screens.
[[broker.users]]
name = "owner"
# The same file as in [mqtt.own]. `password = "..."` is possible here too.
password_file = "owner.password"
# The topics this user may write and read; # is all of them.
publish = ["#"]
subscribe = ["#"]

# Each neighbour reads what is meant for it and writes nothing. Its user name is the id of its home. Members of a
# charter that `commonwatt charter` made are let in without being written here. For example:
#[[broker.users]]
#name = "aaaaaaaaaaaaaaaa"
#password = "a long password for this neighbour"
#subscribe = ["cw/1/@COMMUNITY@/@HOME@/pub", "cw/1/@COMMUNITY@/@HOME@/to/aaaaaaaaaaaaaaaa"]

# The devices, each with a name of your own; exactly one is the meter at the grid connection. These are the addresses
# of `commonwatt simulator`: put your own in.
[devices.inverter]
# Which registers it has: a profile that comes with Commonwatt, or the path of your own (a .yaml file).
profile = "sunspec_hybrid"
# tcp:// is Modbus TCP; a serial port is serial:///dev/ttyUSB0, its frames in TCP rtu+tcp://192.168.1.20:8899.
url = "tcp://127.0.0.1:5020"
# Modbus unit id; without it, the profile's.
unit = 1
# Speed of a serial line, where it is not the profile's. For example:
#baud = 9600
# Its data bits, parity and stop bits, likewise. For example:
#bits = "8N1"
# Whether the serial adapter hears what it sends itself.
#echo = false
# Answers to the questions that some profiles ask; docs/devices.md lists them. For example:
#parameters = { meter = "other" }
# Command a device by a profile that nobody has tested on hardware: test it yourself first.
#unlock_control = false
# Command a device that has no timer to end our command when this computer fails: write the whole sentence. For example:
#unlock_no_reversion = "I know that nothing ends the last command when this computer or its link fails"

[devices.meter]
profile = "eastron_sdm630"
url = "tcp://127.0.0.1:5021"
unit = 1

# What the grid charges and pays, in @CURRENCY@ per kWh.
[tariff.fixed]
import_per_kwh = 0.30
export_per_kwh = 0.08

# Instead of [tariff.fixed], a price by time of day. `to` is exclusive; all day must be covered. For example:
#[tariff]
#time_of_use = [
#  { from = "22:00", to = "06:00", import_per_kwh = 0.15 },
#  { from = "06:00", to = "17:00", import_per_kwh = 0.28 },
#  { from = "17:00", to = "22:00", import_per_kwh = 0.42 },
#]
#export_per_kwh = 0.06

# Instead of [tariff.fixed], a CSV file with the lines time_utc,import_price_per_kwh,export_price_per_kwh. For example:
#[tariff]
#file = "tariff.csv"
# Rows may be added while the home runs. Past the end of the file the day before's prices hold, and you are told.

[poll]
# Devices are read this often, in seconds.
#interval_s = 2.0
# A value older than this is not acted upon, in seconds.
#stale_after_s = 15.0

# The battery. Without one, take the whole section out.
[battery]
capacity_kwh = 10.0
charge_kw = 5.0
discharge_kw = 5.0
# Of what goes in, this share comes out again.
#round_trip_efficiency = 0.9
# Never discharged below this charge and never charged above that one, in percent.
#reserve_pct = 20.0
#max_pct = 95.0
# What wears off per kWh that goes in and out again, in @CURRENCY@.
#wear_per_kwh = 0.01

# An electric car that is here every day. Nothing steers it yet: the plan counts with it and says when charging is best.
# The load forecast learns from the meter, so tell here only what its record does not show yet. For example:
#[[wishes.vehicles]]
#name = "car"
#capacity_kwh = 40.0
#charge_kw = 11.0
# Above 0 for a car that can give energy back.
#discharge_kw = 0.0
# One way, of what goes in.
#efficiency = 0.92
# Local times of a usual day.
#arrives = "18:00"
# See above.
#leaves = "07:00"
# What is usually left in it then.
#arrives_with_kwh = 15.0
# What must be in it when it leaves.
#needed_kwh = 25.0
# It never gives energy below this.
#reserve_kwh = 0.0

# A load that must run once a day and does not mind when, between two local times. For example:
#[[wishes.shiftables]]
#name = "laundry"
# What it needs in all, and at most at once.
#energy_kwh = 2.0
# See above.
#power_kw = 2.0
# It may start then.
#from = "09:00"
# It must be done by then.
#to = "17:00"

# A hot water tank with a heater or a heat pump. For example:
#[[wishes.tanks]]
#name = "hot water"
# What it holds.
#litres = 200.0
# Electric power of the heater.
#heater_kw = 2.0
# Heat per electric energy: 1 for a heater, about 3 for a heat pump.
#cop = 1.0
# The band it should stay in.
#lowest_c = 45.0
# See above.
#highest_c = 60.0
# How warm it is when planning begins; without it, the middle of the band.
#initial_c = 52.0
# What it cools down to when left alone.
#surroundings_c = 20.0
# How much of its heat a day takes, in percent.
#loss_pct_per_day = 15.0
# Heat drawn per day, in equal parts at these local times.
#drawn_kwh_per_day = 4.0
# See above.
#drawn_at = ["07:00", "19:00"]

# A new home observes only: nothing is written to any device. The battery is commanded when `enabled` is true and
# `commonwatt commission` has checked signs and effect with you, on this very installation; the inverter then forgets
# each command by itself when this program ends. `commonwatt stop` ends all control at once, until you resume it.
[control]
# Do you want the battery commanded?
enabled = false
# After how many seconds without a word the inverter is on its own again.
#reversion_s = 60
# How long one wish of the plan's holds, in seconds.
#lease_s = 15.0
# A reading older than this is not acted upon, in seconds; from a third of it on, power only shrinks.
#stale_after_s = 15.0
# Changes of the setpoint below this wait for the next refresh, in W.
#deadband_w = 50.0
# The least time between two setpoints, in seconds.
#min_write_s = 5.0
# How fast the battery's power may grow, in percent of its limit per second. It may always shrink at once.
#ramp_pct_per_s = 10.0
# At the start of a slot this home goes on as before for a random part of so many seconds, so that a street does not
# change all at once; at most a fifteenth of the slot.
#jitter_s = 60.0
# After a power cut (this computer started, or the inverter was silent for a minute) the battery stays on its own for a
# random part of so many seconds, for the same reason.
#return_s = 600.0
# How often the guard looks when nothing happens, in seconds.
#tick_s = 0.5
# After so many readings in a row that show the battery elsewhere, control is given up until you reset it.
#misses = 3
# Within a slot, neighbours tell each other every few seconds how far they are from their plans, and batteries share
# what remains in sum. They see that something large was switched on here, not what. false: tell and share nothing.
#share = true
# The most that this battery moves per day for neighbours, on top of what it moves for this home, in Wh. For example:
#share_wh_per_day = 2000.0

# Only where your network operator may limit the battery (in Germany by section 14a): a program on this machine tells
# the guard the limit, docs/safety.md says how. For example:
#[control.external]
# It repeats the limit within this many seconds.
#heartbeat_s = 120.0
# The most it charges while the operator is silent, in W.
#failsafe_charge_w = 0.0
# The most it gives then; without it, there is no limit. For example:
#failsafe_discharge_w = 5000.0

# A simulated clock, for trying out only: it was start_at when the wall showed anchor_at, and runs speed times as fast.
# Real homes leave it out. For example:
#[clock]
#start_at = 2026-06-01T06:00:00Z
#anchor_at = 2026-06-01T06:00:00Z
#speed = 60.0
"""

PAGE = """\
# The page of this home: `commonwatt dashboard --config THIS_FILE` serves it at host and port below, and `commonwatt
# watch --config THIS_FILE` shows the same in a terminal. It reads the home's own broker, so it can run on any machine
# that reaches it. Holds the broker's password: keep it to yourself. `demo` says whether times are simulated.

"""
