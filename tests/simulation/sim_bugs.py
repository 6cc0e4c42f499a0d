"""All planted bugs, by name."""

import sim_bugs_evidence
import sim_bugs_memory
import sim_bugs_rules
from sim_plants import PLANTS

__all__ = ["PLANTS", "sim_bugs_evidence", "sim_bugs_memory", "sim_bugs_rules"]
