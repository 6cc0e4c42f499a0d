"""Between homes: messages, negotiation, contracts, settlement. Knows nothing of any device."""
