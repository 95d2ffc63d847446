"""The runs that each question of the papers needs, and the grid of models and algorithms."""
