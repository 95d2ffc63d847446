"""A run's directory on disk: its folders and what is recorded in each."""
