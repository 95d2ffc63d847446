"""The tests, and what they are tested by (`python -m tests.mutants`)."""
