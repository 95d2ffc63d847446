"""Measure a trajectory's weights and write tidy tables; each tensor is read once."""

from rlvr_dynamics.measurement.measure import measure
from rlvr_dynamics.measurement.settings import AccuracySeries, MeasureSettings, OptimizerRecord

__all__ = ["AccuracySeries", "MeasureSettings", "OptimizerRecord", "measure"]
