"""Where a run's metrics, tables and figures go beside its own files."""
