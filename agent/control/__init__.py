"""What the battery is told, and by whom."""
