"""Our own cost against plain references: same machine, same files, same run.

Run `python -m perf` from the root of the repository. Every statement about speed or memory is a
ratio of two measurements taken side by side; nothing here passes or fails.
"""
