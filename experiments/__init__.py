"""What to run for which question of the papers; the grid of models and algorithms."""
