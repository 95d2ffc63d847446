"""Task data, the demo's base model, and reinforcement learning with verl."""
