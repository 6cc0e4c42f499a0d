"""Homes of a community folder as the product's planning and forecasts see them: the study's, for benchmarks."""

from agent.study.homes import battery_of, captured, past_rows, planner_of, tariff_of
from agent.study.walk import forecaster_of

__all__ = ["battery_of", "captured", "forecaster_of", "past_rows", "planner_of", "tariff_of"]
