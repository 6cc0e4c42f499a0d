"""What the home will use and produce."""
