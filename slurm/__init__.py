"""Cells of the grid on a Slurm cluster: arrays, dependencies, requeues, and the merged tables."""
