"""The home's convex program and what it wants to trade."""
