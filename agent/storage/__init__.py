"""What one home remembers, in SQLite."""
