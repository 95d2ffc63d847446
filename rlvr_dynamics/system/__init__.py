"""Files, threads, processes, progress and the command line; independent of models."""
