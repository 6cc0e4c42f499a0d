"""One home: devices, forecast, plan, control, and what its people see."""
