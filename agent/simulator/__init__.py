"""Simulated homes behind real Modbus servers."""
