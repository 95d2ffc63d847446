"""A run's directory on disk: its folders and the records in them."""
