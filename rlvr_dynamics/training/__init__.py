"""Task data, the base model of the demo, and reinforcement learning through verl."""
