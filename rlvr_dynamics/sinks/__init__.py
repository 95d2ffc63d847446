"""Copies of a run's metrics, tables and figures outside the run directory's own files."""
