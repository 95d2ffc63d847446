"""Running cells of the grid on a Slurm cluster: arrays, dependencies, requeues, merged tables."""
