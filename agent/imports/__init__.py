"""Records that people already have, turned into a community folder."""
