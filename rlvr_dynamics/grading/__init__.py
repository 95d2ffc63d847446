"""Compares answers with gold answers by exact rules."""
