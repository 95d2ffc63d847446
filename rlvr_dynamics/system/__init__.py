"""Files, threads, processes, progress and the command line: what knows nothing of models."""
