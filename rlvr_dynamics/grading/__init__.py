"""Answers, compared with their golds by exact rules."""
