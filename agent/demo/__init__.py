"""A whole neighbourhood on one machine: every home with its own devices, broker, key, ledger and agent."""
