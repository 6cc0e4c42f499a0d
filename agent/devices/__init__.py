"""Devices of one home: profiles, registers, SunSpec, Modbus links, the poller."""
