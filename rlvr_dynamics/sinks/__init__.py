"""Where a run's metrics, tables and figures go in addition to the run directory's own files."""
